"""An incremental transform computes what is new or has changed, and its table is as if all had been computed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tradewind_runtime.transformable import SCHEMA, START, House, window

from tradewind_runtime import incremental, retention
from tradewind_runtime.compaction import compact
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.execute import execute
from tradewind_runtime.history import Advance
from tradewind_runtime.replacing import Replace
from tradewind_runtime.widening import fit

#: The rows of a day and the day before, so that a row depends on its lookback.
QUERY = """
SELECT r.t, r.n, (SELECT sum(o.n) FROM rows o WHERE o.t >= date_trunc('day', r.t) - INTERVAL 1 DAY
                  AND o.t < date_trunc('day', r.t) + INTERVAL 1 DAY)::BIGINT AS two_days
FROM rows r
"""


def request(
    house: House, day: int = 10, *, query: str = QUERY, whole: bool = False, lookback: str = "1d", **more
) -> StepRequest:
    transform = {"sql": {"query": query}} | ({} if whole else {"incremental": {"lookback": lookback}})
    asked = house.request(transform, day, **more)
    config = asked.config | {"times": {"rows": "t"}, "output": "whole" if whole else "features"}
    return asked.model_copy(update={"config": config, "engine": "duckdb"})


def run(house: House, day: int = 10, **more):
    return execute(request(house, day, **more))


def computed(result) -> list[tuple[str, str]]:
    """Days, in short."""
    return [(one["start"][5:13], one["end"][5:13]) for one in result.facts["computed"]]


def rows(*given: tuple[float, int]) -> pa.Table:
    """Of (day, n)."""
    times = [START + timedelta(days=day - 1) for day, _ in given]
    numbers = [n for _, n in given]
    blank = {"s": ["é"] * len(given), "_source": ["x"] * len(given), "_position": numbers}
    return pa.table({"t": times, "n": numbers} | blank, SCHEMA)


def content(house: House, result, name: str = "features") -> list[dict]:
    """The rows of a result's own span."""
    found = house.lake.table(f"p/{name}").snapshot(result.outputs["features"].version).to_arrow().to_pylist()
    low, high = (result.facts["range"][end] for end in ("start", "end"))
    inside = [row for row in found if low <= row["t"].strftime("%Y-%m-%dT%H:%M:%SZ") < high]
    return sorted(inside, key=lambda row: (row["t"], row["n"]))


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path / "a lake")


def test_the_next_days_run_computes_a_day(house):
    first = run(house, 10)
    assert computed(first) == [("01-05T00", "01-11T00")]
    second = run(house, 11)
    assert computed(second) == [("01-11T00", "01-12T00")]
    assert content(house, second) == content(house, run(house, 11, whole=True), "whole")
    assert second.metrics["rows"] == 144


def test_an_attempt_that_adopts_anothers_rows_tells_what_that_one_computed(house):
    run(house, 10)
    asked = request(house, 11)
    first = execute(asked)
    house.lake.documents.delete(asked.result_path)  # as if it had been killed just before
    again = execute(asked)
    assert computed(again) == [("01-11T00", "01-12T00")]
    assert again.facts == first.facts
    assert "computed" not in run(house, 11, whole=True).facts


def test_late_rows_bring_their_day_and_those_that_look_back_at_it(house):
    run(house, 10)
    house.add(rows((7.5, 1000)))
    again = run(house, 10)
    assert computed(again) == [("01-07T00", "01-09T00")], "the 8th looks back at the 7th"
    assert content(house, again) == content(house, run(house, 10, whole=True), "whole")


def test_a_lookback_of_half_a_day_is_one_of_the_whole_next_day(house):
    query = QUERY.replace("INTERVAL 1 DAY\n", "INTERVAL 12 HOUR\n")
    run(house, 10, query=query, lookback="12h")
    house.add(rows((7.75, 1000)))
    again = run(house, 10, query=query, lookback="12h")
    assert computed(again) == [("01-07T00", "01-09T00")]
    assert content(house, again) == content(house, run(house, 10, query=query, whole=True), "whole")


def test_many_far_days_are_one_part(house):
    query = "SELECT t, n FROM rows"
    wide = {"split": {"time": "t", "train": "16d", "valid": "1d", "test": "1d"}}
    run(house, 18, query=query, lookback="0d", **wide)
    house.add(rows(*((day + 0.5, 1000 + day) for day in (3, 6, 9, 12))))
    assert len(computed(run(house, 18, query=query, lookback="0d", **wide))) == 4
    house.add(rows(*((day + 0.5, 2000 + day) for day in (3, 6, 9, 12, 15))))
    again = run(house, 18, query=query, lookback="0d", **wide)
    assert computed(again) == [("01-03T00", "01-16T00")]
    whole = run(house, 18, query=query, whole=True, **wide)
    assert content(house, again) == content(house, whole, "whole")


def test_far_days_are_computed_alone(house):
    run(house, 10)
    house.add(rows((5.5, 1000), (9.5, 2000)))
    again = run(house, 10)
    assert computed(again) == [("01-05T00", "01-07T00"), ("01-09T00", "01-11T00")]
    assert content(house, again) == content(house, run(house, 10, whole=True), "whole")


def test_a_backfill_computes_its_own_days_and_no_other(house):
    latest = run(house, 18)
    before = content(house, latest)
    back = run(house, 10)
    assert computed(back) == [("01-05T00", "01-11T00")]
    assert content(house, latest) == before
    after = run(house, 18, pins={"asked": "again"})
    assert computed(after) == [], "what was there is still there"
    assert content(house, after) == before


def test_nothing_new_computes_nothing(house):
    run(house, 10)
    again = run(house, 10, pins={"asked": "again"})
    assert computed(again) == []
    assert again.metrics["rows"] == 144


def test_rows_that_went_away_change_their_day(house):
    run(house, 10)
    table = house.lake.table("p/rows")
    span = Replace("t", START + timedelta(days=6), START + timedelta(days=6, hours=5))
    table.commit([], schema=SCHEMA, replace=span)
    again = run(house, 10)
    assert computed(again) == [("01-07T00", "01-09T00")]
    assert again.metrics["rows"] == 139


def test_days_that_retention_took_away_are_computed_where_they_are_wanted_again(house):
    run(house, 10)
    run(house, 18)
    retention.expire(house.features, "t", START + timedelta(days=7))
    assert computed(run(house, 18, pins={"asked": "again"})) == []
    back = run(house, 10, pins={"asked": "back"})
    assert computed(back) == [("01-05T00", "01-08T00")]
    assert content(house, back) == content(house, run(house, 10, whole=True), "whole")


def test_rows_that_a_source_keeps_no_longer_change_nothing(house):
    before = content(house, run(house, 10))
    retention.expire(house.lake.table("p/rows"), "t", START + timedelta(days=6, hours=5))
    again = run(house, 10)
    assert computed(again) == []
    assert content(house, again) == before


def test_compaction_changes_nothing(house):
    house.add(rows((7.5, 1000)))
    run(house, 10)
    table = house.lake.table("p/rows")
    compact(table, table.version())
    assert computed(run(house, 10)) == []


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"query": QUERY.replace("r.n,", "-r.n AS n,")}, "configuration, code or environment is another"),
        ({"refresh": "r2"}, "the run is told to do it anew"),
        ({"environment": "another"}, "configuration, code or environment is another"),
    ],
)
def test_another_recipe_computes_all_of_it(house, more, why):
    run(house, 10)
    other = run(house, 10, **more)
    assert computed(other) == [("01-05T00", "01-11T00")]
    assert other.facts["why"] == why
    assert computed(run(house, 10, pins={"asked": "again"})) == (
        [] if "refresh" in more else [("01-05T00", "01-11T00")]
    )


def test_rows_of_another_transform_are_not_taken_for_its_own(house):
    run(house, 10)
    other = request(house, 10, whole=True)
    execute(other.model_copy(update={"config": other.config | {"output": "features"}}))
    assert computed(run(house, 10, pins={"asked": "again"})) == [("01-05T00", "01-11T00")]


def test_rows_without_a_time_change_all(house):
    run(house, 10)
    blank = rows((1, 5)).set_column(0, "t", pa.array([None], SCHEMA.field("t").type))
    house.add(blank)
    again = run(house, 10)
    assert computed(again) == [("01-05T00", "01-11T00")]
    assert again.facts["why"] == "rows has changed, and on which days cannot be told"


def test_one_row_without_a_time_in_a_file_changes_all(house):
    run(house, 10)
    times = pa.array([START + timedelta(days=8), None], SCHEMA.field("t").type)
    table, mixed = house.lake.table("p/rows"), rows((9, 5), (9, 6)).set_column(0, "t", times)
    table.commit(table.stage(mixed.to_batches(), SCHEMA), schema=SCHEMA)
    assert computed(run(house, 10)) == [("01-05T00", "01-11T00")]


def test_a_run_that_pinned_an_older_version_has_its_own_rows(house):
    older = request(house, 10)
    house.add(rows((7.5, 1000)))
    newer = run(house, 11)
    slow = execute(older)
    assert computed(slow) == [("01-05T00", "01-09T00")], "near ones are one"
    assert 1000 not in [row["n"] for row in content(house, slow)]
    again = run(house, 11, pins={"asked": "again"})
    assert computed(again) == [("01-07T00", "01-09T00")]
    assert content(house, again) == content(house, newer)


def test_a_source_without_a_time_changes_all(house):
    asked = request(house, 10)
    plain = asked.config | {"times": {}}
    execute(asked.model_copy(update={"config": plain}))
    house.add(rows((19.5, 1000)))
    later = request(house, 10)
    assert computed(execute(later.model_copy(update={"config": plain}))) == [("01-05T00", "01-11T00")]


def test_a_day_without_rows_is_covered_too(house):
    last = run(house, 19)
    assert last.metrics["rows"] == 144
    beyond = run(house, 21)
    assert computed(beyond) == [("01-20T00", "01-22T00")]
    assert computed(run(house, 21, pins={"asked": "again"})) == []


def test_a_killed_step_leaves_nothing_and_is_done_once(house, tmp_path):
    run(house, 10)
    asked = request(house, 12)
    path = "requests/one.json"
    house.lake.documents.create_model(path, asked)
    script = (
        "import os, signal, sys\n"
        "from tradewind_runtime import lake\n"
        "lake.Table.commit = lambda *given, **more: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from tradewind_runtime.contract.request import StepRequest\n"
        "from tradewind_runtime.execute import execute\n"
        f"execute(StepRequest.model_validate_json(open({str(tmp_path / 'one.json')!r}).read()))\n"
    )
    (tmp_path / "one.json").write_text(asked.model_dump_json())
    done = subprocess.run([sys.executable, "-c", script], env=os.environ, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = execute(asked)
    assert computed(again) == [("01-11T00", "01-13T00")]
    assert content(house, again) == content(house, run(house, 12, whole=True), "whole")


def test_two_runs_at_once_leave_a_table_that_tells_the_truth(house, monkeypatch):
    run(house, 10)
    house.add(rows((7.5, 1000)))
    meanwhile(monkeypatch, lambda: run(house, 12))
    slow = run(house, 10)
    assert computed(slow) == [], "the other has computed what had changed"
    assert content(house, slow) == content(house, run(house, 10, whole=True), "whole")


def meanwhile(monkeypatch, act):
    """Something that happens between a run's look and its commit."""
    real, once = incremental.todo, []

    def todo(*given, **more):
        found = real(*given, **more)
        if not once:
            once.append(1)
            act()
        return found

    monkeypatch.setattr(incremental, "todo", todo)


def test_days_that_retention_takes_away_meanwhile_are_not_covered(house, monkeypatch):
    run(house, 10)
    meanwhile(monkeypatch, lambda: retention.expire(house.features, "t", START + timedelta(days=7)))
    run(house, 19)
    back = run(house, 10, pins={"asked": "back"})
    assert computed(back) == [("01-05T00", "01-08T00")]
    assert content(house, back) == content(house, run(house, 10, whole=True), "whole")


def test_rows_that_another_transform_commits_meanwhile_are_not_taken_for_its_own(house, monkeypatch):
    run(house, 10)
    other = request(house, 10, whole=True, query="SELECT t, -n AS n, n AS two_days FROM rows")
    other = other.model_copy(update={"config": other.config | {"output": "features"}})
    meanwhile(monkeypatch, lambda: execute(other))
    slow = run(house, 11)
    assert computed(slow) == [("01-06T00", "01-12T00")]
    assert content(house, slow) == content(house, run(house, 11, whole=True), "whole")


def test_a_time_at_the_end_of_all_time_is_one(house):
    end = pa.array([datetime(9999, 12, 31, 12, tzinfo=UTC)], SCHEMA.field("t").type)
    house.add(rows((1, 5)).set_column(0, "t", end))
    run(house, 10)
    assert computed(run(house, 11)) == [("01-11T00", "01-12T00")]
    house.add(rows((1, 6)).set_column(0, "t", end))
    assert computed(run(house, 11, pins={"asked": "again"})) == []


def of_python(house, day, text, **more) -> StepRequest:
    transform = {"python": {"function": "m_own:features"}, "incremental": {}}
    asked = house.request(transform, day, code=house.code(m_own=text), **more)
    return asked.model_copy(update={"config": asked.config | {"times": {"rows": "t"}}})


def test_a_part_without_a_value_has_the_tables_type(house):
    text = (
        "import pyarrow as pa\n"
        "def features(tables, context):\n"
        "    rows = tables['rows'].select(['t', 'n'])\n"
        "    late = ['yes' if t.day < 11 else None for t in rows['t'].to_pylist()]\n"
        "    return rows.append_column('late', pa.array(late))\n"
    )
    execute(of_python(house, 10, text))
    result = execute(of_python(house, 11, text))
    assert computed(result) == [("01-11T00", "01-12T00")]
    assert house.rows(result).schema.field("late").type == pa.string()


def test_parts_of_different_columns_are_refused(house):
    text = (
        "def features(tables, context):\n"
        "    rows = tables['rows'].select(['t', 'n'])\n"
        "    return rows.rename_columns(['t', 'm']) if context.range.start.day == 9 else rows\n"
    )
    execute(of_python(house, 10, text))
    house.add(rows((5.5, 1000), (9.5, 2000)))
    with pytest.raises(StepError, match=r"TW547.*has other columns for other days"):
        execute(of_python(house, 10, text))


def test_a_table_that_was_made_again_is_another(house):
    run(house, 10)
    table = house.lake.table("p/rows")
    version, given = table.version(), table.snapshot().to_arrow()
    shutil.rmtree(table.uri)
    new = house.lake.table("p/rows")
    negative = given.set_column(1, "n", pc.negate(given["n"]))
    new.commit(new.stage(negative.to_batches(), SCHEMA, cut_by="t"), schema=SCHEMA)
    while new.version() < version:
        at = new.position("x")
        new.commit([], schema=SCHEMA, positions={"x": Advance(at, (at or 0) + 1)})
    assert computed(run(house, 10, pins={"asked": "again"})) == [("01-05T00", "01-11T00")]


def test_a_column_that_was_widened_changes_all(house):
    table = house.lake.table("p/narrow")
    narrow = rows((6, 1), (7, 2)).cast(
        pa.schema([one.with_type(pa.int32()) if one.name == "n" else one for one in SCHEMA])
    )
    table.commit(table.stage(narrow.to_batches(), narrow.schema, cut_by="t"), schema=narrow.schema)
    before = table.version()
    fit(table, pa.schema([SCHEMA.field("t"), SCHEMA.field("n")]))
    assert incremental.changed(table.snapshot(), before, "t") is None


def test_a_source_that_was_widened_is_computed_anew_and_widens_the_features(house):
    query = "SELECT t, n FROM rows"
    first = run(house, 10, query=query)
    fit(house.lake.table("p/rows"), pa.schema([("n", pa.float64())]))
    second = run(house, 11, query=query)
    assert computed(second) == [("01-06T00", "01-12T00")]
    assert content(house, second) == content(house, run(house, 11, query=query, whole=True), "whole")
    assert computed(run(house, 12, query=query)) == [("01-12T00", "01-13T00")]
    assert [row["n"] for row in content(house, first)] == [*range(96, 240)]
    found = house.features.snapshot().to_arrow()
    assert (found.schema.field("n").type, sorted(found["n"].to_pylist())) == (pa.float64(), [*range(96, 288)])


def test_a_run_that_pinned_rows_which_are_kept_no_longer_has_them(house):
    older = request(house, 10)
    retention.expire(house.lake.table("p/rows"), "t", START + timedelta(days=6))
    run(house, 11)
    slow = execute(older)
    assert slow.metrics["rows"] == 144
    transform = {"sql": older.config["transform"]["sql"]}
    whole = execute(older.model_copy(update={"config": older.config | {"transform": transform, "output": "whole"}}))
    assert content(house, slow) == content(house, whole, "whole")


def test_a_late_row_of_days_that_are_kept_no_longer_takes_none_of_their_features(house):
    before = content(house, run(house, 10))
    retention.expire(house.lake.table("p/rows"), "t", START + timedelta(days=7, hours=5))
    house.add(rows((6.5, 1000)))
    again = run(house, 10)
    assert computed(again) == []
    assert content(house, again) == before


JOINED = "SELECT r.t, r.n, o.n AS other FROM rows r JOIN other o ON o.t = r.t"


def joined(house: House, day: int = 10, **times: str):
    """Of two sources."""
    asked = request(house, day, query=JOINED)
    version = house.lake.table("p/other").version()
    inputs = asked.inputs | {"other": DatasetRef(table="p/other", version=version)}
    config = asked.config | {"times": {"rows": "t", **times}}
    return execute(asked.model_copy(update={"config": config, "inputs": inputs}))


def test_a_late_row_of_one_source_takes_no_features_of_days_that_another_keeps_no_longer(house):
    every = house.lake.table("p/rows").snapshot().to_arrow()
    house.add(every, "other")
    before = content(house, joined(house, other="t"))
    retention.expire(house.lake.table("p/other"), "t", START + timedelta(days=7))
    assert computed(joined(house, other="t")) == []
    house.add(rows((6.5, 1000)))
    again = joined(house, other="t")
    assert computed(again) == []
    assert content(house, again) == before


def test_where_days_cannot_be_told_those_that_are_kept_no_longer_stay_too(house):
    every = house.lake.table("p/rows").snapshot().to_arrow()
    house.add(every, "other")
    before = content(house, joined(house))
    retention.expire(house.lake.table("p/rows"), "t", START + timedelta(days=7))
    house.add(rows((8.5, 1000)), "other")
    again = joined(house)
    assert computed(again) == [("01-10T00", "01-11T00")], "the day after the last of which rows look back at what went"
    assert content(house, again) == before
    house.add(rows((6.5, 1000)).set_column(0, "t", pa.array([None], SCHEMA.field("t").type)))
    last = joined(house)
    assert computed(last) == [("01-10T00", "01-11T00")]
    assert content(house, last) == before


def test_no_rows_at_all_is_an_error_as_ever(house):
    run(house, 19)
    with pytest.raises(StepError, match=r"TW547.*has no rows"):
        run(house, 40)


days = st.integers(1, 19)
acts = st.one_of(
    st.tuples(st.just("rows"), st.lists(st.tuples(st.floats(1, 20), st.integers(1000, 2000)), min_size=1, max_size=3)),
    st.tuples(st.just("gone"), days),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("run"), st.integers(8, 20)),
    st.tuples(st.just("old"), st.integers(8, 20)),
)


def test_spark_computes_the_next_day_too(house):
    job = "def transform(spark, tables, context):\n    return tables['rows'].selectExpr('t', 'n', 'n * 2 AS m')\n"
    code = house.code(features=job)
    results = []
    for day in (10, 11):
        transform = {"spark": {"job": "spark_jobs/features.py"}, "incremental": {}}
        asked = house.request(transform, day, code=code)
        asked = asked.model_copy(update={"config": asked.config | {"times": {"rows": "t"}}, "engine": "spark"})
        results.append(execute(asked))
    assert [computed(one) for one in results] == [[("01-05T00", "01-11T00")], [("01-11T00", "01-12T00")]]
    assert results[1].metrics["rows"] == 144
    assert all(row["m"] == 2 * row["n"] for row in content(house, results[1]))


@settings(max_examples=15)
@given(st.lists(acts, min_size=2, max_size=8), st.sampled_from([12, 24, 36]))
def test_whatever_happens_it_is_as_if_all_had_been_computed(steps, hours):
    how = {"query": QUERY.replace("INTERVAL 1 DAY\n", f"INTERVAL {hours} HOUR\n"), "lookback": f"{hours}h"}
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        table = house.lake.table("p/rows")
        versions = [table.version()]
        for number, (act, what) in enumerate([*steps, ("run", 14)]):
            if act == "rows":
                house.add(rows(*what))
            elif act == "gone":
                low = START + timedelta(days=what - 1)
                table.commit([], schema=SCHEMA, replace=Replace("t", low, low + timedelta(hours=7)))
            elif act == "compact":
                compact(table, table.version())
            else:  # of the newest version, or an older one, as a backfill's run that pinned it long ago
                version = versions[0] if act == "old" else table.version()
                inputs = {"rows": DatasetRef(table="p/rows", version=version)}
                update = {"inputs": inputs, "window": window(what), "pins": {"n": number}}
                ours = execute(request(house, what, **how).model_copy(update=update))
                all_of_it = execute(request(house, what, whole=True, **how).model_copy(update=update))
                assert content(house, ours) == content(house, all_of_it, "whole")
            versions.append(table.version())
