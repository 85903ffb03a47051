"""Windows, durations, fingerprints; and that the contract is light."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tradewind_runtime.contract.base import canonical, parse_duration
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import CodeRef, StepRequest
from tradewind_runtime.contract.sources import KafkaSource, Source

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=zones)  # noqa: DTZ001
spans = st.integers(1, 20 * 86_400_000_000).map(lambda micro: timedelta(microseconds=micro))


@given(moments, spans)
def test_dates_are_those_that_a_window_touches(start, span):
    window = Window(start=start, end=start + span)
    wanted = {(start + n * timedelta(hours=12)).date() for n in range(int(span / timedelta(hours=12)) + 1)}
    wanted |= {(window.end - timedelta(microseconds=1)).date()}
    wanted -= {day for day in wanted if day > (window.end - timedelta(microseconds=1)).date()}
    assert list(window.dates()) == sorted(wanted)


@given(moments, spans, moments, spans)
def test_a_union_holds_both(a, long_a, b, long_b):
    one, other = Window(start=a, end=a + long_a), Window(start=b, end=b + long_b)
    both = one.union(other)
    assert both == other.union(one)
    assert both.start == min(a, b)
    assert both.end == max(one.end, other.end)


def test_windows_are_ordered_and_have_a_zone():
    with pytest.raises(ValidationError, match="not before"):
        Window(start=datetime(2013, 1, 2, tzinfo=UTC), end=datetime(2013, 1, 2, tzinfo=UTC))
    with pytest.raises(ValidationError):
        Window(start=datetime(2013, 1, 1), end=datetime(2013, 1, 2))  # noqa: DTZ001


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_durations_are_the_sum_of_their_parts(days, hours, minutes, seconds):
    wanted = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"{days}d{hours}h {minutes}m{seconds}s") == wanted
    assert parse_duration(wanted.total_seconds()) == wanted


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "m5", "-5m", "5mm", "1h-2m", "1.5.2h"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def request(**more):
    body = {"step": "train", "id": "train", "pipeline": "p", "run_id": "r1", "lake": "file:///a"}
    return StepRequest(**(body | more))


@given(st.dictionaries(st.text(), values, max_size=4))
def test_a_fingerprint_is_of_what_decides_and_survives_json(config):
    one = request(config=config)
    turned = request(
        config=dict(reversed(config.items())),
        run_id="r2",
        id="other",
        lake="s3://b",
        settings={"threads": 9},
        connections={"lake": "x"},
    )
    assert one.fingerprint == turned.fingerprint
    assert StepRequest.model_validate_json(one.model_dump_json()).fingerprint == one.fingerprint
    assert json.loads(canonical(config)) == config


def test_a_fingerprint_changes_with_all_that_decides():
    window = Window(start=datetime(2013, 1, 1, tzinfo=UTC), end=datetime(2013, 1, 2, tzinfo=UTC))
    different = [
        request(),
        request(step="tune"),
        request(pipeline="q"),
        request(config={"a": 1}),
        request(pins={"a": 1}),
        request(inputs={"a": DatasetRef(table="p/t", version=1)}),
        request(inputs={"a": DatasetRef(table="p/t", version=2)}),
        request(window=window),
        request(code=CodeRef(archive="x", closure="c")),
        request(environment="e"),
        request(refresh="r1"),
        request(engine="spark"),
    ]
    assert len({one.fingerprint for one in different}) == len(different)
    same = [request(code=CodeRef(archive=archive, closure="c")).fingerprint for archive in ("x", "y")]
    assert same[0] == same[1], "an edit elsewhere in the archive retrains nothing"


#: Kept for ever: a change here makes every finished step of every user run again.
def test_a_fingerprint_stays_what_it_was():
    assert request(config={"a": [1, 2.5, "ä"]}).fingerprint == (
        "3b780767a253776b86cf96b5bb6f2d9bb4280c6d44e691f0bd36f176cd726388"
    )


def test_a_source_is_of_one_kind():
    with pytest.raises(ValidationError, match="exactly one kind"):
        Source()
    with pytest.raises(ValidationError, match="exactly one kind"):
        Source(kafka=KafkaSource(topic="t"), sample={"name": "iris"})


HEAVY = {
    "pyarrow",
    "pandas",
    "numpy",
    "deltalake",
    "polars",
    "duckdb",
    "sklearn",
    "mlflow",
    "confluent_kafka",
    "airflow",
}
LIGHT = """
import importlib, pkgutil, sys, tradewind_runtime.contract as contract
for module in pkgutil.iter_modules(contract.__path__):
    importlib.import_module("tradewind_runtime.contract." + module.name)
for name in ("documents", "connections", "sources"):
    importlib.import_module("tradewind_runtime." + name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_contract_and_documents_import_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


ALL = """
import importlib, pkgutil, sys, tradewind_runtime
failed = []
for module in pkgutil.walk_packages(tradewind_runtime.__path__, "tradewind_runtime."):
    # Servers and Beam have environments of their own.
    if not module.name.endswith("__main__") and ".serving" not in module.name and ".beam." not in module.name:
        importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"airflow", "tradewind"}))
"""


def test_the_runtime_imports_no_airflow_and_no_control_plane():
    done = subprocess.run([sys.executable, "-c", ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == []
