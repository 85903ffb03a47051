"""A kept figure can be judged later: by the machine, how busy it was, and when."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from bench import results
from bench.__main__ import NAMES


def test_a_result_says_where_and_when_it_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "__file__", str(tmp_path / "__init__.py"))
    path = results.write("some", {"ok": True})
    body = json.loads(path.read_text())
    assert (path, body["ok"]) == (tmp_path / "some.json", True)
    assert set(body["machine"]) == {"system", "cores", "python", "airflow", "load", "taken"}
    assert body["machine"]["load"] == results.LOAD
    assert datetime.fromisoformat(body["machine"]["taken"]) <= datetime.now(UTC)


def test_a_result_may_come_from_an_environment_of_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(results, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(results, "version", absent)
    assert json.loads(results.write("some", {}).read_text())["machine"]["airflow"] is None


@pytest.mark.parametrize("name", [*NAMES, "gpu", "pods", "soak"])
def test_every_benchmark_keeps_its_result_so(name: str) -> None:
    module = import_module(f"bench.{name}")
    main = import_module(f"bench.{name}.__main__") if hasattr(module, "__path__") else module
    assert main.write is results.write
