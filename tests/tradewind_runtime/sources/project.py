"""A project with files in it, and runs that ingest them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tradewind_runtime.steprun import end_of, ingest, rows

from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.contract.sources import ObjectsSource, Source

OWN = ("mode", "format", "connection", "nulls", "delimiter", "lookback", "wait")


def objects(uri: str, **more: Any) -> Source:
    """A source of objects; what is not an option of theirs is one of every source."""
    chosen = {key: more.pop(key) for key in OWN if key in more}
    return Source(objects=ObjectsSource(uri=uri, **chosen), **more)


class Project:
    """Its folder, and the lake into which it is read."""

    def __init__(self, path: Path, lake: str) -> None:
        path.mkdir()
        self.path, self.lake, self.runs = path, lake, 0

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def end(self, of: Source, window: Window | None = None) -> dict[str, Any]:
        return end_of(self.lake, of, project=self.path, window=window)

    def ingest(self, of: Source, end: Any = None, window: Window | None = None, **more: Any) -> StepResult:
        self.runs += 1
        end = self.end(of, window) if end is None else end
        return ingest(self.lake, of, end, project=str(self.path), window=window, run=f"r{self.runs}", **more)

    def column(self, name: str = "n") -> list[Any]:
        return sorted(row[name] for row in rows(self.lake))
