"""The second demo is held against the first by what each kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tradewind.demo.again import differences, main
from tradewind.demo.lines import Line, as_json


def demo(seconds: float, **kept: dict[str, Any]) -> str:
    lines = [Line(what, "the lake", "as it is", True, values) for what, values in kept.items()]
    return as_json([*lines, Line("time", "this machine", f"{seconds} s", ok=True)], seconds=seconds)


def told(first: str, second: str) -> list[str]:
    return list(differences(json.loads(first), json.loads(second)))


def test_quicker_and_the_same() -> None:
    assert told(demo(300, tables={"t": 5}), demo(7, tables={"t": 5})) == []


def test_slower_is_told() -> None:
    assert told(demo(300, tables={"t": 5}), demo(300, tables={"t": 5})) == ["it took 300 s, and the first one 300 s"]


def test_what_is_new_changed_or_gone_is_told() -> None:
    first = demo(300, tables={"t": 5, "u": 1}, runs={"r1": "success"})
    second = demo(7, tables={"t": 10, "u": 1}, runs={"r1": "success", "r2": "success"})
    assert told(first, second) == ["runs: r2: nothing before, success now", "tables: t: 5 before, 10 now"]
    assert told(second, first)[1] == "runs: r2: success before, nothing now"


def test_demos_that_kept_nothing_cannot_be_compared() -> None:
    assert told(demo(300), demo(7)) == ["the first one has kept nothing that could be compared"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / name for name in ("first.json", "second.json")]
    for path, text in zip(paths, (demo(300, tables={"t": 5}), demo(7, tables={"t": 6})), strict=True):
        path.write_text(text)
    assert main([str(path) for path in paths]) == 1
    assert capsys.readouterr().out == "the second demo: tables: t: 5 before, 6 now\n"
    paths[1].write_text(demo(7, tables={"t": 5}))
    assert main([str(path) for path in paths]) == 0
