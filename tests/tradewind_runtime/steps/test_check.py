"""The step `check`: new rows only, nothing twice, nothing lost, and errors that say what to mend."""

import json
import re
import shutil
from datetime import timedelta

import pyarrow as pa
import pytest
from tests.tradewind_runtime.checkable import SCHEMA, START, House, rows

from tradewind_runtime import expectations, quarantine, sifting
from tradewind_runtime.compaction import compact
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.execute import execute
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.replacing import Replace
from tradewind_runtime.retention import expire
from tradewind_runtime.steps import check
from tradewind_runtime.widening import fit


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path / "a lake")


NOT_NULL = {"expect_column_values_to_not_be_null": {"column": "carrier", "mostly": 0.5}}
SHORT = {"expect_column_values_to_be_between": {"column": "delay", "max_value": 100, "mostly": 0.5}}


def test_files_that_were_put_together_are_not_checked_again(house):
    for n in range(4):
        house.add(rows(2, 2 * n))
    house.check()
    before = house.raw.snapshot()
    assert compact(house.raw, before.version) > 0
    house.add(rows(1, 8))
    result = house.check()
    assert result.metrics["rows"] == 1
    assert house.positions() == list(range(9))


def test_rows_that_went_by_their_age_are_checked_once_and_no_other_is_checked_again(house):
    house.add(rows(24))
    house.check()
    house.add(rows(24, 24))
    expire(house.raw, "at", START + timedelta(hours=30))
    assert house.check().metrics["rows"] == 18
    assert house.positions() == [*range(24), *range(30, 48)], "how long they are kept here is for this table to say"


def test_a_run_that_is_pinned_to_an_older_version_checks_what_it_has(house):
    version = house.add(rows(24))
    expire(house.raw, "at", START + timedelta(hours=30))
    assert house.check(version=version).metrics["rows"] == 24
    house.add(rows(1, 40))
    assert house.check().metrics["rows"] == 1


def test_where_all_rows_are_checked_again_those_that_went_of_the_raw_ones_stay(house):
    house.add(rows(24))
    house.check()
    expire(house.raw, "at", START + timedelta(hours=20))
    house.add(rows(2, 40), replace="all")
    assert house.check().metrics["rows"] == 2
    assert house.positions() == [*range(20), 40, 41]


def test_a_column_that_was_widened_is_wider_there_too_and_no_row_comes_twice(house):
    house.add(rows(3, carrier=["AA", None, "AA"]))
    house.check(NOT_NULL)
    schema = fit(house.raw, SCHEMA.set(3, pa.field("n", pa.float64())))
    more = rows(2, 3).cast(schema)
    house.raw.commit(house.raw.stage(more.to_batches(), schema), schema=schema)
    assert house.check(NOT_NULL).metrics["rows"] == 2, "the new ones alone"
    assert house.positions() == [0, 2, 3, 4]
    assert [row["position"] for row in house.quarantined()] == [1]
    found = house.checked.snapshot()
    assert found.schema.field("n").type == pa.float64()
    assert sorted(found.to_arrow()["n"].to_pylist()) == [0.0, 0.0, 1.0, 2.0]


def test_without_expectations_rows_pass_as_they_are_cut_by_day(house):
    house.add(rows(50))
    result = house.check()
    assert result.metrics == {"rows": 50, "failed_rows": 0, "expectations": 0, "failed": 0}
    assert result.outputs["rows"] == DatasetRef(table="p/flights", version=house.checked.version())
    assert house.checked.snapshot().to_arrow().sort_by("_position").equals(rows(50))
    assert len(house.checked.snapshot().files) == 3
    assert house.checked.position("check") == house.raw.version()


def test_failing_rows_are_quarantined_with_reason_and_content(house):
    house.add(rows(4, carrier=["AA", None, "UA", None], delay=[1.0, 2.0, 300.0, 400.0]))
    result = house.check(NOT_NULL, SHORT)
    assert house.positions() == [0]
    assert result.metrics == {"rows": 1, "failed_rows": 3, "expectations": 2, "failed": 0}
    found = {row["position"]: row for row in house.quarantined()}
    assert {row["stage"] for row in found.values()} == {"check"}
    assert {row["source"] for row in found.values()} == {"flights-0"}
    assert found[2]["reason"] == "expect_column_values_to_be_between: delay = 300.0"
    assert found[3]["reason"] == (
        "expect_column_values_to_not_be_null: carrier = None; expect_column_values_to_be_between: delay = 400.0"
    )
    assert json.loads(found[2]["content"]) == {
        "at": "2013-01-01T02:00:00+00:00",
        "carrier": "UA",
        "delay": 300.0,
        "n": 2,
    }
    assert [fact["failing_rows"] for fact in result.facts["expectations"]] == [2, 2]
    docs = result.links["Data docs"].removesuffix("index.html")
    site = {name: house.lake.documents.get(name).decode() for name in house.lake.documents.names(docs.rstrip("/"))}
    shown = next(name for name in site if "/validations/" in name)
    assert f'url={shown.removeprefix(docs)}"' in site[result.links["Data docs"]]
    assert "carrier" in site[shown]
    assert "fa-check-circle" in site[shown]  # these expectations hold for as many rows as they must
    assert not any(re.search(r"<(script|link|img)[^>]*(src|href)=.https?:", page) for page in site.values())
    assert sum(map(len, site.values())) < 300_000


def test_only_new_rows_are_checked(house):
    house.add(rows(10))
    house.check(NOT_NULL)
    house.add(rows(5, first=10))
    result = house.check(NOT_NULL)
    assert result.metrics["rows"] == 5
    assert house.positions() == list(range(15))
    versions = house.checked.version()
    again = house.check(NOT_NULL, refresh="r2")  # the same rows: nothing is added
    assert (again.metrics["rows"], house.checked.version()) == (0, versions)
    older = house.check(NOT_NULL, version=1, refresh="r3")  # a cleared task of an older run
    assert house.lake.table("p/flights").snapshot(older.outputs["rows"].version).count() == 10


def test_a_failing_suite_stops_and_commits_nothing_until_it_is_mended(house):
    house.add(rows(4, carrier=["AA", None, None, "UA"]))
    strict = {"expect_column_values_to_not_be_null": {"column": "carrier", "mostly": 0.9}}
    mean = {"expect_column_mean_to_be_between": {"column": "delay", "min_value": 10}}
    with pytest.raises(StepError) as caught:
        house.check(strict, mean)
    problem = caught.value.problems[0]
    assert (problem.code, caught.value.retryable) == ("TW540", False)
    assert "2 of 4 values fail (50 %)" in problem.got
    assert "observed 1.5" in problem.got
    assert not house.checked.exists()
    assert house.quarantined() == []
    page = problem.fix.split("see ")[1]
    assert house.lake.documents.get(page) is not None
    assert house.check(NOT_NULL).metrics["rows"] == 2


def test_two_of_a_kind_on_one_column_are_both_asked(house):
    house.add(rows(4, carrier=["AA", "AB", "B", "AA"]))
    patterns = [{"expect_column_values_to_match_regex": {"column": "carrier", "regex": r, "mostly": 0.5}} for r in "AB"]
    low = {"expect_column_values_to_match_regex": {"column": "carrier", "regex": "..", "mostly": 0.5}}
    result = house.check(
        low, *[{name: {**given, "severity": "warn"}} for one in patterns for name, given in one.items()]
    )
    assert [(fact["arguments"]["regex"], fact["failing_rows"]) for fact in result.facts["expectations"]] == [
        ("..", 1), ("A", 1), ("B", 2),
    ]  # fmt: skip
    assert house.positions() == [0, 1, 3]


def test_warnings_report_and_let_rows_pass(house):
    house.add(rows(4, carrier=["AA", None, None, "UA"]))
    warn = {"expect_column_values_to_not_be_null": {"column": "carrier", "severity": "warn"}}
    result = house.check(warn)
    assert result.verdict.passed
    assert "2 of 4" in result.verdict.reasons[0]
    assert (result.metrics["rows"], result.metrics["failed"]) == (4, 1)
    assert house.quarantined() == []


def test_a_source_that_replaces_its_rows_is_checked_again_as_a_whole(house):
    house.add(rows(10, carrier=["AA"] * 9 + [None]))
    house.check(NOT_NULL)
    house.add(rows(6, first=100, carrier=["AA"] * 5 + [None]), replace="all")
    assert house.check(NOT_NULL).metrics["rows"] == 5
    assert house.positions() == [100, 101, 102, 103, 104]
    assert sorted(row["position"] for row in house.quarantined()) == [9, 105]


def test_of_a_source_that_replaces_a_span_that_span_alone_is_checked_again(house):
    house.add(rows(30, carrier=["AA"] * 29 + [None]))
    house.check(NOT_NULL)
    before = set(house.checked.snapshot().files)
    last = Replace("at", START + timedelta(hours=28), START + timedelta(hours=30))
    as_it_was = {"n": [28, 29, 30, 31], "delay": [28.0, 29.0, 30.0, 31.0]}
    house.add(rows(4, first=28, carrier=["AA", None, "UA", None], **as_it_was), replace=last)
    result = house.check(NOT_NULL)
    assert (result.metrics["rows"], result.metrics["failed_rows"]) == (2, 2)
    assert house.positions() == [*range(29), 30]
    assert sorted(row["position"] for row in house.quarantined()) == [29, 31]
    assert len(before & set(house.checked.snapshot().files)) == 1, "the first day's rows are those that were there"


def test_a_time_of_dates_cuts_files_too_so_that_a_replaced_day_leaves_the_others_alone(house):
    days = pa.array([(START + timedelta(hours=n)).date() for n in range(72)])
    dated = rows(72).set_column(0, "at", days)
    house.add(dated)
    house.check()
    before = set(house.checked.snapshot().files)
    assert len(before) == 3
    last = Replace("at", START + timedelta(days=1, microseconds=1), START + timedelta(days=2, microseconds=1))
    house.add(dated.slice(48), replace=last)
    assert house.check().metrics["rows"] == 24
    assert house.positions() == list(range(72))
    assert len(before & set(house.checked.snapshot().files)) == 2


def test_what_gave_way_of_the_raw_rows_gives_way_in_those_that_passed_though_none_comes(house):
    house.add(rows(6))
    house.check()
    house.raw.commit(
        [], schema=SCHEMA, positions={"a": Advance(None, 1)},
        replace=Replace("at", START + timedelta(hours=4), START + timedelta(hours=6)),
    )  # fmt: skip
    assert house.check().metrics["rows"] == 0
    assert house.positions() == [0, 1, 2, 3]


@pytest.mark.parametrize("stage", ["before quarantine", "after quarantine", "after commit"])
def test_a_killed_attempt_is_taken_up_with_nothing_twice_and_nothing_lost(house, monkeypatch, stage):
    house.add(rows(6, carrier=["AA", None, "AA", "AA", None, "AA"]))
    commit, calls = Table.commit, []

    def dying(self, *args, **kwargs):
        if self.name.endswith("/checks"):
            return commit(self, *args, **kwargs)
        calls.append(self.name)
        if stage == "before quarantine" or (stage == "after quarantine" and not self.name.endswith("_quarantine")):
            raise KeyboardInterrupt
        result = commit(self, *args, **kwargs)
        if stage == "after commit" and not self.name.endswith("_quarantine"):
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Table, "commit", dying)
        with pytest.raises(KeyboardInterrupt):
            house.check(NOT_NULL)
    assert calls[0] == "p/flights_quarantine"
    house.add(rows(3, first=6, carrier=["AA", None, "AA"]))  # the retry comes with the next run's rows
    house.check(NOT_NULL)
    assert house.positions() == [0, 2, 3, 5, 6, 8]
    assert sorted(row["position"] for row in house.quarantined()) == [1, 4, 7]


def test_a_mended_suite_after_a_kill_still_loses_nothing(house, monkeypatch):
    house.add(rows(4, carrier=["AA", None, "AA", "AA"], delay=[0.0, 1.0, 900.0, 3.0]))
    with monkeypatch.context() as patch:
        patch.setattr(check, "_take", lambda *_: (_ for _ in ()).throw(StepError("TW542", "killed")))
        with pytest.raises(StepError, match="killed"):
            house.check(NOT_NULL)
    house.check(NOT_NULL, SHORT)
    assert house.positions() == [0, 3]
    assert sorted(row["position"] for row in house.quarantined()) == [1, 2]


def test_an_ingest_quarantine_is_shared_and_left_alone(house):
    other = quarantine.to_arrow([quarantine.Bad("flights-0", 1, "not JSON", b"{")], "ingest")
    house.refused.commit(
        house.refused.stage(other.to_batches(), other.schema),
        schema=other.schema,
        positions={"kafka:flights:0": Advance(None, 2)},
    )
    house.add(rows(4, carrier=["AA", None, "AA", "AA"]))
    house.check(NOT_NULL)
    assert sorted((row["position"], row["stage"]) for row in house.quarantined()) == [(1, "check"), (1, "ingest")]


@pytest.mark.parametrize(
    ("expectation", "says", "suggestion"),
    [
        (
            {"expect_column_values_to_not_be_nul": {"column": "carrier"}},
            "no expectation",
            "expect_column_values_to_not_be_null",
        ),
        ({"expect_column_values_to_not_be_null": {"column": "carier"}}, "no column 'carier'", "carrier"),
        ({"expect_column_values_to_be_between": {"column": "delay", "maximum": 3}}, "maximum: extra fields", None),
        ({"expect_column_values_to_be_in_set": {"column": "delay"}}, "value_set: field required", None),
        ({"expect_column_values_to_match_regex": {"column": "carrier", "regex": "("}}, "cannot be computed", None),
        ({"expect_column_mean_to_be_between": {"column": "carrier", "min_value": 1}}, "cannot be computed", None),
    ],
)
def test_a_wrong_expectation_is_said_in_a_line(house, expectation, says, suggestion):
    house.add(rows(3, carrier=["AA", "UA", "b"]))
    with pytest.raises(StepError, match=says) as caught:
        house.check(expectation)
    assert caught.value.problems[0].code == "TW541"
    assert caught.value.problems[0].suggestion == suggestion
    assert not caught.value.retryable
    assert not house.checked.exists()


SUITES = [
    {"expect_column_values_to_be_between": {"column": "delay", "max_value": 50, "mostly": 0.3}},
    {"expect_column_values_to_be_between": {"column": "at", "min_value": "2013-01-02", "mostly": 0.3}},
    {"expect_column_values_to_be_unique": {"column": "n", "mostly": 0.0}},
    {"expect_compound_columns_to_be_unique": {"column_list": ["carrier", "n"], "mostly": 0.3}},
    {"expect_column_values_to_be_in_set": {"column": "carrier", "value_set": ["AA"], "mostly": 0.3}},
    {
        "expect_column_pair_values_a_to_be_greater_than_b": {
            "column_A": "delay",
            "column_B": "n",
            "or_equal": True,
            "mostly": 0.3,
        }
    },
    {"expect_column_mean_to_be_between": {"column": "delay", "min_value": 1}},
    {"expect_table_row_count_to_be_between": {"min_value": 100, "max_value": 120}},
    {"expect_table_columns_to_match_set": {"column_set": [*SCHEMA.names]}},
    {"expect_column_to_exist": {"column": "delay"}},
    {"expect_column_values_to_be_of_type": {"column": "delay", "type_": "float64"}},
    {"expect_column_values_to_match_regex": {"column": "carrier", "regex": "^[A-Z]{2}$"}},
]


def test_chunks_add_up_to_what_one_validation_finds(house, monkeypatch):
    house.add(rows(60, carrier=["AA", "UA", None] * 20, n=[n % 50 for n in range(60)]))
    house.add(rows(51, first=60, delay=[None] + [float(n) for n in range(50)]))
    raw = house.raw.snapshot()
    asked = CheckConfig.model_validate({"source": "flights", "expectations": SUITES}).expectations

    def found():
        suite = expectations.Suite("flights", asked, raw.schema)
        return [
            (one.expectation.name, one.success, one.observed, one.failing.tolist())
            for one in suite.validate(lambda columns: sifting.chunks(raw, columns))
        ]

    whole = found()
    monkeypatch.setattr(sifting, "CHUNK", 17)
    monkeypatch.setattr(sifting, "VALUES", 17)
    assert found() == whole
    by_name = {name: (success, failing) for name, success, _, failing in whole}
    assert [name for name, (success, _) in by_name.items() if not success] == []
    assert by_name["expect_column_values_to_be_unique"][1][:3] == [0, 1, 2]
    assert len(by_name["expect_compound_columns_to_be_unique"][1]) > 0


def test_no_new_rows_move_the_position_only(house):
    house.add(rows(3))
    house.check(NOT_NULL)
    house.raw.commit([], schema=SCHEMA, positions={"kafka:flights:0": Advance(None, 9)})
    result = house.check({"expect_table_row_count_to_be_between": {"min_value": 1}})
    assert result.metrics["rows"] == 0
    assert house.checked.position("check") == house.raw.version()


def test_nothing_is_told_to_anyone(house, monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("a check opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    house.add(rows(3))
    context = StepContext(house.request(NOT_NULL), house.lake, house.root)
    assert check.run(context).metrics["rows"] == 3


def test_a_raw_table_that_was_made_again_is_told(house):
    for n in range(3):
        house.add(rows(2, first=2 * n))
        execute(house.request())
    shutil.rmtree(house.raw.uri)
    house = House(house.root)
    house.add(rows(5))
    with pytest.raises(StepError, match=r"TW542: p/flights_raw was made again") as caught:
        execute(house.request(refresh="r2"))
    assert not caught.value.retryable
    shutil.rmtree(house.checked.uri)
    house = House(house.root)
    execute(house.request(refresh="r3"))
    assert house.checked.snapshot().to_arrow()["_position"].to_pylist() == list(range(5))
