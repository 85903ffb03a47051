"""What people read: every builder, whatever it is given, makes what Slack takes."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tradewind.dev.slack_receiver import _problem
from tradewind_runtime.contract import messages
from tradewind_runtime.contract.alerts import Message
from tradewind_runtime.contract.refs import Window

WINDOW = Window(start=datetime(2013, 6, 1, tzinfo=UTC), end=datetime(2013, 6, 8, 12, tzinfo=UTC))
TEXT = st.text(max_size=4000)


def words(message: Message) -> str:
    return str(message.blocks)


@given(TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=14))
def test_slack_takes_any_text(title: str, text: str, fields: dict[str, str]) -> None:
    made = messages.message(f"t{title}", text, fields, {"a": "http://a.test", "b": None})
    assert _problem({"text": made.text, "blocks": list(made.blocks)}) is None


def test_drift_says_which_features_and_where_to_look() -> None:
    found = {"columns": ["temp", "month"], "features": 12, "share": 2 / 12, "rows": 1234, "digest": "ab" * 32,
             "metrics": {"roc_auc": 0.7123456}}  # fmt: skip
    made = messages.drift("flights", WINDOW, found, link="http://a.test/run", report="http://a.test/report")
    for part in (
        "Most of all: temp, month",
        "2 of 12 features (17%)",
        "1,234",
        "2013-06-01 to 2013-06-08 12:00",
        "0.7123",
        "abababababab",
        "<http://a.test/run|Open in Airflow>",
        "<http://a.test/report|Drift report>",
    ):
        assert part in words(made)
    assert "ab" * 32 not in words(made)


def test_promotion_rollback_refusal_and_failure() -> None:
    promoted = messages.promotion("flights", "3", "c" * 64, generation=7, replaces="version 2", link="http://a.test")
    assert promoted.text.startswith("flights: version 3 is the champion")
    assert all(part in words(promoted) for part in ("cccccccccccc", "*Generation*\\n7", "version 2"))
    back = messages.rollback("flights", back_to="version 2", away_from="version 3", reason="errors: 7 %")
    assert "errors: 7 %" in words(back)
    refused = messages.refusal("flights", ["roc_auc 0.61 is below 0.65"], {"roc_auc": 0.61})
    assert "• roc_auc 0.61 is below 0.65" in words(refused)
    failed = messages.failure(
        "flights", "manual__1", [("train", "TW552: no <model>\nTraceback"), ("tune", "")], link=None
    )
    assert "• train: TW552: no &lt;model&gt;\\n• tune" in words(failed)
    assert "Traceback" not in words(failed)
    assert "Open in Airflow" not in words(failed)


def test_nobody_is_mentioned_by_a_text() -> None:
    assert "<!channel>" not in words(messages.message("t", "<!channel> now", {"a": "<@U1>"}))
