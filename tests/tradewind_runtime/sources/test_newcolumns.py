"""What becomes of columns that begin to come: of messages and of files, as the YAML says."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tradewind_runtime.steprun import end_of, ingest, rows

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources.columns import PROVENANCE, known
from tradewind_runtime.sources.messages.json import Decoder
from tradewind_runtime.sources.newcolumns import Columns, NewColumnError

KNOWN = pa.schema([("n", pa.int64())])
OLD, NEW, NULL = b'{"n": 1}', b'{"n": 2, "gate": "A"}', b'{"n": 3, "gate": null}'


def decoded(policy: str, *messages: bytes, first: bool = False) -> tuple[list[dict], dict[int, str]]:
    columns = Columns(pa.schema([]) if first else KNOWN, policy, first)
    found, kept, refused = Decoder(columns).decode(messages)
    assert sorted([*kept.tolist(), *refused]) == list(range(len(messages)))
    return found.to_pylist(), refused


def test_they_are_added_or_ignored() -> None:
    both = [{"n": 1, "gate": None}, {"n": 2, "gate": "A"}]
    assert decoded("add", OLD, NEW) == (both, {})
    assert decoded("ignore", OLD, NEW) == ([{"n": 1}, {"n": 2}], {})


def test_rows_that_have_them_are_put_aside_and_no_others() -> None:
    assert decoded("quarantine", OLD, NEW, NULL) == ([{"n": 1}, {"n": 3}], {1: "the column gate is new"})


def test_the_first_of_them_stops_the_run() -> None:
    assert decoded("strict", OLD, NULL)[0] == [{"n": 1}, {"n": 3}]
    with pytest.raises(NewColumnError) as caught:
        decoded("strict", b"broken", OLD, NEW, NEW)
    assert (caught.value.row, caught.value.column) == (2, "gate")


@pytest.mark.parametrize("policy", ["add", "ignore", "quarantine", "strict"])
def test_before_there_is_a_row_whatever_comes_is_known(policy: str) -> None:
    both = [{"n": 1, "gate": None}, {"n": 2, "gate": "A"}]
    assert decoded(policy, OLD, NEW, first=True) == (both, {})


def test_names_that_are_taken_are_no_columns() -> None:
    columns = Columns(KNOWN, "strict", taken=("key",))
    found, _, refused = Decoder(columns).decode([b'{"n": 1, "key": 5, "_source": "x"}'])
    assert (found.to_pylist(), refused) == ([{"n": 1}], {})
    assert columns.left_out == {"_source"}


@given(st.lists(st.sampled_from([OLD, NEW, NULL, b"broken"]), max_size=40))
def test_no_row_is_lost_whatever_the_policy(messages: list[bytes]) -> None:
    for policy in ("add", "ignore", "quarantine"):
        decoded(policy, *messages)


def landed(folder: Path, name: str, table: pa.Table) -> None:
    folder.mkdir(exist_ok=True)
    if name.endswith("csv"):
        columns = table.to_pydict()
        lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        (folder / name).write_text("\n".join(lines) + "\n")
    elif name.endswith("parquet"):
        pq.write_table(table, folder / name)
    else:
        (folder / name).write_text("".join(f"{row}\n".replace("'", '"') for row in table.to_pylist()))


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_files_are_under_the_same_policy(kind: str, tmp_path: Path, lake_uri: str) -> None:
    folder = tmp_path / "landing"

    def source(policy: str) -> Source:
        objects = {"uri": f"{folder.as_uri()}/*.{kind}"}
        return Source.model_validate({"objects": objects, "new_columns": policy, "max_bad": 9})

    def taken_in(policy: str) -> tuple[set[str], int]:
        ingest(lake_uri, source(policy), end_of(lake_uri, source(policy)), run=policy)
        found = rows(lake_uri)
        return set(found[0]) - {"_source", "_position", "_ingested"}, len(found)

    landed(folder, f"1.{kind}", pa.table({"n": [1, 2]}))
    assert taken_in("strict") == ({"n"}, 2)
    landed(folder, f"2.{kind}", pa.table({"n": [3, 4], "gate": ["A", "B"]}))
    with pytest.raises(StepError, match="TW529") as caught:
        taken_in("strict")
    assert not caught.value.retryable
    assert f"2.{kind} at 0" in str(caught.value)
    assert len(rows(lake_uri)) == 2
    assert taken_in("quarantine") == ({"n"}, 2)
    refused = rows(lake_uri, "flights_quarantine")
    assert [(row["position"], row["reason"]) for row in refused] == [(n, "the column gate is new") for n in (0, 1)]
    landed(folder, f"3.{kind}", pa.table({"n": [5], "gate": ["C"]}))
    assert taken_in("ignore") == ({"n"}, 3)
    landed(folder, f"4.{kind}", pa.table({"n": [6], "gate": ["D"]}))
    assert taken_in("add") == ({"n", "gate"}, 4)


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
@pytest.mark.parametrize("policy", ["strict", "quarantine", "ignore", "add"])
def test_and_so_are_several_small_ones_that_are_read_at_once(
    kind: str, policy: str, tmp_path: Path, lake_uri: str
) -> None:
    folder = tmp_path / "landing"
    source = Source.model_validate(
        {"objects": {"uri": f"{folder.as_uri()}/*.{kind}"}, "columns": {"n": "long"}, "new_columns": policy,
         "max_bad": 9}
    )  # fmt: skip
    for number in (1, 2):
        landed(folder, f"{number}.{kind}", pa.table({"n": [number], "gate": ["A"]}))
    if policy == "strict":
        with pytest.raises(StepError, match="TW529"):
            ingest(lake_uri, source, end_of(lake_uri, source))
        return
    ingest(lake_uri, source, end_of(lake_uri, source))
    gates = {"quarantine": [], "ignore": [None, None], "add": ["A", "A"]}
    assert [row.get("gate") for row in rows(lake_uri)] == gates[policy]
    refused = [row["reason"] for row in rows(lake_uri, "flights_quarantine")] if policy == "quarantine" else []
    assert refused == ["the column gate is new"] * len(refused)
    assert len(refused) == 2 - len(gates[policy])


@pytest.mark.parametrize("policy", ["add", "quarantine", "strict"])
def test_a_column_that_the_table_has_gained_is_no_new_one(policy: str) -> None:
    named = Source.model_validate({"kafka": {"topic": "t"}, "columns": {"n": "long"}, "new_columns": policy})
    table = pa.schema([*KNOWN, ("gate", pa.int64()), *PROVENANCE])
    columns = Columns.of(named, known(named, table))
    found, _, refused = Decoder(columns).decode(
        [b'{"n": 1, "gate": 7}', b'{"n": 2, "gate": 1.5}', b'{"n": 3, "gate": "x"}']
    )
    assert found.to_pylist() == [{"n": 1, "gate": 7}]
    assert set(refused) == {1, 2}
    assert columns.schema.field("gate").type == pa.int64()
