"""Files of this machine under names of all kinds, and links that lead anywhere."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import ObjectsSource
from tradewind_runtime.sources.listing import Way, matching
from tradewind_runtime.sources.stores.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in/deep/er").mkdir(parents=True)
    for name in ("a.csv", "deep/b.csv", "deep/er/c d%20é.csv", "empty.csv"):
        (tmp_path / "in" / name).write_text("" if name.startswith("empty") else "n\n1\n")
    return tmp_path


def found(folder: Path, pattern: str) -> list[str]:
    return list(matching(ObjectsSource(uri=pattern), Way(project=folder)))


def test_it_says_what_obstore_says(folder: Path) -> None:
    """Versions that a former Tradewind pinned and took in are the same."""
    os.utime(folder / "in/a.csv", ns=(1, 1_357_000_000_123_456_789))
    (folder / "in/link").symlink_to(folder / "in/deep/er")
    (folder / "in/nowhere").symlink_to("gone")
    os.mkfifo(folder / "in/pipe")
    theirs = {one["path"]: one for batch in LocalStore(folder).list("in") for one in batch}
    ours = {one["path"]: one for batch in Folder(folder).list("in") for one in batch}
    assert ours.keys() == theirs.keys()
    for key, one in ours.items():
        assert (one["size"], one["last_modified"]) == (theirs[key]["size"], theirs[key]["last_modified"])
        assert Folder(folder).head(key) == one
    assert found(folder, "in/*") == ["in/a.csv", "in/empty.csv"]


@pytest.mark.parametrize("name", ["a\tb.csv", "new\nline.csv", "run.csv#12"])
def test_names_that_obstore_refuses_are_names(folder: Path, name: str) -> None:
    (folder / "in" / name).write_text("n\n2\n")
    assert f"in/{name}" in found(folder, "in/*")
    assert f"in/{name}" in found(folder, "**")
    assert found(folder, f"in/{name}") == [f"in/{name}"]


def test_a_name_that_is_not_utf_8_is_told_where_it_matches(folder: Path) -> None:
    (folder / "in/bad\udcff.csv").write_text("n\n2\n")
    assert found(folder, "in/a*.csv") == ["in/a.csv"]
    with pytest.raises(StepError) as caught:
        found(folder, "in/*.csv")
    assert not caught.value.retryable
    (problem,) = caught.value.problems
    assert problem.code == "TW525"
    assert r"'in/bad\xff.csv'" in problem.message
    assert "rename it" in str(problem.fix)


def test_links_that_lead_back_are_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "in/self").symlink_to("self")
    (folder / "in/deep/up").symlink_to("..")
    (folder / "in/other").symlink_to("deep")
    with caplog.at_level(logging.WARNING, "tradewind"):
        assert [key for key in found(folder, "in/**/*.csv") if "other" not in key] == [
            "in/a.csv", "in/deep/b.csv", "in/deep/er/c d%20é.csv", "in/empty.csv",
        ]  # fmt: skip
        assert "in/other/b.csv" in found(folder, "in/**")
    assert "in/self is left out" in caplog.text
    assert "in/deep/up is left out" in caplog.text


@pytest.mark.parametrize("pattern", ["none/*.csv", "in/a.csv/*", "in/a.csv/b", "in/deep", "none.csv"])
def test_what_is_not_there_is_nothing(folder: Path, pattern: str) -> None:
    assert found(folder, pattern) == []


def test_a_folder_that_may_not_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = os.scandir

    def forbidden(path: Path) -> Any:
        """Root may read all, so that a mode alone would not do."""
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scanned(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    assert found(folder, "in/*.csv") == ["in/a.csv", "in/empty.csv"]
    with pytest.raises(StepError, match=r"TW525: the store cannot be listed: .*Permission denied"):
        found(folder, "in/**")
