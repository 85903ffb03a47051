"""Evidently's page on two bounded samples: for people. The decision was taken elsewhere, from all rows."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pandas as pd
import pyarrow as pa

from tradewind_runtime.drift.profile import Profile

os.environ["DO_NOT_TRACK"] = "1"  # before Evidently is imported: it says nothing to anybody

PREDICTION = "_prediction"


def html(profile: Profile, reference: pa.Table, current: pa.Table, *, psi: float, share: float) -> bytes:
    """A page that needs no network, with each column then and now.

    Args:
        profile: says which columns are numbers and which are texts.
        reference: a sample of training, with the answers to it.
        current: a sample of what was served, with its answers.
        psi: above which a column drifts.
        share: of drifting columns, from which the window drifts.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    kinds = {feature.name: feature.kind for feature in profile.features}
    before, now = _frame(reference, kinds), _frame(current, kinds)
    # Evidently fails on a column that is empty on either side; the exact figures tell of it.
    shown = [name for name in kinds if before[name].notna().any() and now[name].notna().any()]
    definition = DataDefinition(
        numerical_columns=[name for name in shown if kinds[name] == "number"],
        categorical_columns=[name for name in shown if kinds[name] == "text"],
    )
    preset = DataDriftPreset(
        columns=shown, num_method="psi", cat_method="psi", num_threshold=psi, cat_threshold=psi, drift_share=share
    )
    found = Report([preset]).run(
        Dataset.from_pandas(now[shown], data_definition=definition),
        Dataset.from_pandas(before[shown], data_definition=definition),
    )
    return str(found.get_html_str(as_iframe=False)).encode()


def _frame(table: pa.Table, kinds: Mapping[str, str]) -> pd.DataFrame:
    frame: pd.DataFrame = table.select(list(kinds)).to_pandas()
    for name, kind in kinds.items():
        if kind == "number":
            frame[name] = frame[name].astype("float64")
    return frame
