"""CSV: whether Arrow types the fields or we do, rows and refusals are the same."""

from __future__ import annotations

import csv as csvs
import io
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources.columns import known
from tradewind_runtime.sources.files import Origin, csv, open_rows
from tradewind_runtime.sources.newcolumns import Columns
from tradewind_runtime.sources.objects import dialect_of, objects_of

COLUMNS = {
    "n": "long", "i": "integer", "x": "double", "f": "float", "yes": "boolean", "day": "date", "at": "timestamp",
    "s": "string", "b": "binary", "d": "decimal(9,2)",
}  # fmt: skip
Found = tuple[list[dict[str, Any]], list[tuple[int, str, bytes]]]


def read(path: Path, columns: dict[str, str] | None, **more: Any) -> Found:
    """Rows without what ingestion adds but their numbers, and what was refused."""
    source = Source.model_validate({"objects": {"uri": "a.csv", **more}, "columns": columns})
    dialect, origin = dialect_of(objects_of(source)), Origin("a.csv", "id", 1)
    rows = open_rows(path, "csv", Columns.of(source, known(source, None)), dialect=dialect, origin=origin)
    table = pa.Table.from_batches(list(rows.batches()), rows.schema).drop_columns(["_source", "_ingested"])
    return table.to_pylist(), sorted((bad.position, bad.reason, bad.content) for bad in rows.bad)


def both(path: Path, columns: dict[str, str] | None, **more: Any) -> Found:
    """The same, which bytes give too."""
    found = read(path, columns, **more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv, "_typed", lambda *_: {})
        assert repr(read(path, columns, **more)) == repr(found)  # NaN is not itself
    return found


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


FIELDS = {
    "n": ["1", "-1", "0x1F", "+5", " 5 ", "5.0", "1e3", "007", "9223372036854775808", "\u00a05"],
    "i": ["1", "2147483648", "-2147483648", " 3"],
    "x": ["1", "nan", "inf", "-Infinity", "1e400", ".5", "5.", "1d", " 0.1", "0.1\t"],
    "f": ["0.1", "1e39", "16777217"],
    "yes": ["true", "TRUE", "tRuE", "1", "0", "F", "yes", " true"],
    "day": ["2013-01-31", "2013-02-30", "0000-01-01", "9999-12-31", " 2013-01-01", "2013-1-1", "2013-01-01T00:00"],
    "at": [
        "2013-01-01", "2013-01-01 05:00", "2013-01-01T05:00:00Z", "2013-01-01T05Z", "2013-01-01T05:00:00+02", "now",
        "2013-01-01T05:00:00.123456Z", "2013-01-01T05:00:00.1234567Z", " 2013-01-01T05:00Z", "9999-12-31T23:00-05:00",
        "0000-01-01T00:00Z", "2013-01-01T05:00:00-0330", "2013-01-01-05", "2013-01-01 05:00:00.5",
    ],
    "s": ["", "NA", " NA", "x", '"', "a,b", "a\nb", "\u00e9", "\0"],
    "b": ["", "x", "\u00e9"],
    "d": [
        "1.5", "1.500", "1.555", "1e3", " 1.5", "12345678901", "+1.5", "9999999.99", "99999999", "-10000000", "NaN",
    ],
}  # fmt: skip


@pytest.mark.parametrize("column", FIELDS)
@pytest.mark.parametrize("first", [0, 1, 2])
def test_each_field_is_the_same_by_both(tmp_path: Path, column: str, first: int) -> None:
    """Alone, so that it is the one that is typed, and among others."""
    fields = [*FIELDS[column], "", "NA"]
    for field in fields:
        out = io.StringIO()
        csvs.writer(out).writerows([[column, "k"], [fields[first], 1], [field, 2]])
        both(written(tmp_path, out.getvalue()), {column: COLUMNS[column], "k": "long"})


def _fields() -> st.SearchStrategy[list[list[str]]]:
    field = {
        name: st.one_of(st.sampled_from([*FIELDS[name], "", "NA"]), st.text(max_size=5)) for name in COLUMNS
    } | {
        "x": st.one_of(st.floats().map(repr), st.sampled_from(FIELDS["x"])),
        "at": st.one_of(st.datetimes().map(lambda at: f"{at.isoformat()}Z"), st.sampled_from(FIELDS["at"])),
    }  # fmt: skip
    return st.lists(st.tuples(*field.values()).map(list), max_size=5)


@given(rows=_fields())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_fields_are_the_same_by_both(tmp_path: Path, rows: list[list[str]]) -> None:
    out = io.StringIO()
    csvs.writer(out).writerows([[*COLUMNS], *rows])
    both(written(tmp_path, out.getvalue().encode("utf-8", "surrogatepass")), COLUMNS)


def test_good_blocks_before_a_bad_field_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row once, whether its fields are few, bad or good, in whichever block."""
    monkeypatch.setattr(csv, "BLOCK", 256)
    monkeypatch.setattr(csv, "SMALL", 0)
    lines = ["n,s"] + [f"{n},{'x' * 20}" for n in range(100)]
    lines[11], lines[61], lines[91] = "10", "sixty,", "90,a,b"
    rows, bad = both(written(tmp_path, "\n".join(lines)), {"n": "long", "s": "string"})
    assert [row["n"] for row in rows] == [n for n in range(100) if n not in (10, 60, 90)]
    assert [row["_position"] for row in rows] == [row["n"] for row in rows]
    assert [position for position, _, _ in bad] == [10, 60, 90]
    assert bad[1] == (60, "column n: 'sixty' is not of type long", b"sixty,")


def test_arrow_types_what_is_as_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what makes it quick; a time without a zone is in UTC."""
    asked, real = [], pcsv.ConvertOptions

    def options(**words: Any) -> Any:
        asked.append(words["column_types"])
        return real(**words)

    monkeypatch.setattr(pcsv, "ConvertOptions", options)
    for at in ("2013-01-01T05:00:00Z", "2013-01-01 05:00:00", ""):
        rows, bad = read(written(tmp_path, f"n,at,other\n1,{at},x\n"), {"n": "long", "at": "timestamp"})
        assert (len(rows), bad) == (1, [])
        assert [str(row["at"]) for row in rows] == (["2013-01-01 05:00:00+00:00"] if at else ["None"])
    assert [[*map(str, types.values())] for types in asked] == [
        ["int64", "timestamp[us, tz=UTC]"], ["int64", "timestamp[us]"], ["int64", "timestamp[us]"],
    ]  # fmt: skip


def test_a_number_that_only_a_double_holds(tmp_path: Path) -> None:
    rows, _ = both(written(tmp_path, "f,x\n0.1,0.1\n1e39,1e400\n"), {"f": "float", "x": "double"})
    assert [row["x"] for row in rows] == [0.1, math.inf]


def test_a_decimal_of_too_many_digits_is_none_also_where_nothing_else_is_wrong(tmp_path: Path) -> None:
    rows, bad = both(written(tmp_path, "d,k\n1.25,1\n100000,2\n9999.99,3\n"), {"d": "decimal(6,2)", "k": "long"})
    assert [row["k"] for row in rows] == [1, 3]
    assert bad == [(1, "column d: '100000' is not of type decimal(6,2)", b"100000,2")]


def test_a_first_field_may_be_very_long(tmp_path: Path) -> None:
    rows, bad = both(written(tmp_path, f"s,k\n{'x' * 200_000},1\ny,2\n"), {"s": "string", "k": "long"})
    assert ([len(row["s"]) for row in rows], bad) == ([200_000, 1], [])


@pytest.mark.parametrize("columns", [{"a": "long", "b": "string"}, None], ids=["named", "inferred"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("before", ["", "\n", "\r\n\n", "\ufeff\n"], ids=["nothing", "a line", "two", "BOM"])
def test_empty_lines_before_the_header_and_each_end_of_a_line(
    tmp_path: Path, columns: dict[str, str] | None, end: str, before: str
) -> None:
    text = before + "a,b\n1,x\n2\n3,z\n".replace("\n", end)
    found, bad = both(written(tmp_path, text), columns)
    assert [(row["a"], row["b"], row["_position"]) for row in found] == [(1, "x", 0), (3, "z", 2)]
    assert [position for position, _, _ in bad] == [1]


@pytest.mark.parametrize("kind", ["long", "string"])
def test_a_line_s_end_within_the_header_is_no_row(tmp_path: Path, kind: str) -> None:
    found, bad = both(written(tmp_path, '"a\nc",b\n1,2\n3\n4,5\n'), {"a_c": kind, "b": kind})
    assert [(str(row["a_c"]), row["_position"]) for row in found] == [("1", 0), ("4", 2)]
    assert [position for position, _, _ in bad] == [1]


@pytest.mark.parametrize("text", ['id,name,"note\n1,x,y\n2,a,b\n', 'id,"name\n1,"x"\n2,y\n3,z\n'])
def test_quotes_of_a_header_that_are_not_closed_hold_no_rows(tmp_path: Path, text: str) -> None:
    for columns in ({"id": "long"}, None):
        with pytest.raises(StepError, match=r"TW527: a\.csv cannot be read"):
            read(written(tmp_path, text), columns)
    assert read(written(tmp_path, '"id" ,na"me\n1,x\n'), None)[0][0]["na_me"] == "x", "of one line they may be anything"


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " "])
def test_fields_stand_apart_by_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    lines = [["a", "b", "s"], ["1", "2", f'"x{delimiter}y"'], ["", "", ""], ["3", "4", "z"], ["5"]]
    text = "".join(delimiter.join(line) + "\n" for line in lines)
    found, bad = both(written(tmp_path, text), {"a": "long", "b": "long", "s": "string"}, delimiter=delimiter)
    assert [(row["a"], row["s"]) for row in found] == [(1, f"x{delimiter}y"), (None, None), (3, "z")]
    assert [position for position, _, _ in bad] == [3]
    wrong = delimiter.join(("x", f'"y{delimiter}z"', ""))
    [(_, _, content)] = read(written(tmp_path, text + wrong + "\n"), {"a": "long"}, delimiter=delimiter)[1][1:]
    assert content.decode() == wrong, "as it is in the file"
    inferred, _ = both(written(tmp_path, text), None, delimiter=delimiter)
    assert [row["b"] for row in inferred] == [2, None, 4]
