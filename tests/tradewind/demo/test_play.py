"""What the demo itself adds to the closing table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.demo.play import _parts


def test_a_part_that_is_down_turns_the_table_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "local.yaml").write_text("profile: local\nstack: [mlflow]\n")
    monkeypatch.setenv("TRADEWIND_PROJECT", str(tmp_path))
    monkeypatch.delenv("TRADEWIND_HOME", raising=False)
    assert not _parts().ok
