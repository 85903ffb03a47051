"""Rows may be kept for a while of every table that a pipeline has, by every column that says how old a row is."""

from __future__ import annotations

import pytest
import yaml

from tradewind.spec import load_text

BODY = {
    "version": 1,
    "pipeline": "p",
    "sources": {
        "orders": {
            "kafka": {"topic": "orders", "keep": {"timestamp": "sent"}},
            "columns": {"id": "long", "at": "timestamp", "day": "date"},
            "time": "at",
        }
    },
    "checks": {"orders": [{"volume": {"min": 1}}]},
    "train": {"estimator": "sklearn.LogisticRegression", "label": "id"},
    "split": {"time": "at", "train": "9d", "valid": "1d", "test": "1d"},
    "promote": {"model": "m"},
    "deploy": {},
    "monitor": {},
    "score": {"keep": []},
}


@pytest.mark.parametrize(
    "retain",
    [
        {"orders_raw": {"rows": "1d", "by": "at"}, "orders": {"rows": "1d", "by": "day"}},
        {"orders_raw": {"rows": "1d", "by": "_ingested"}, "orders": {"rows": "1d", "by": "_timestamp"}},
        {"orders_raw": {"rows": "1d", "by": "sent"}, "orders_quarantine": {"rows": "1d", "by": "time"}},
        {"orders_raw": "2w", "orders": 864000, "orders_quarantine": "90d", "features": "1d", "checks": "1d"},
        {"predictions": "1d", "m_requests": "1d"},
    ],
)
def test_no_false_alarm(retain: dict[str, object]) -> None:
    pipeline = load_text(yaml.safe_dump(BODY | {"maintenance": {"retain": retain}}), file="p.yaml")
    assert pipeline.maintenance is not None
    assert pipeline.maintenance.retain.keys() == retain.keys()
