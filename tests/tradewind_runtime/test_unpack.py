"""User code is unpacked: plain files, below their folder."""

from __future__ import annotations

import io
import tarfile

import pytest

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.execute import unpack


def archive(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, "/etc/passwd", 3 if kind == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(b"x=1"))
    return buffer.getvalue()


def test_files_lie_where_they_are_named(tmp_path):
    unpack(archive("include/models/a b.py"), tmp_path / "code")
    assert (tmp_path / "code/include/models/a b.py").read_text() == "x=1"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../out.py", tarfile.REGTYPE), ("/out.py", tarfile.REGTYPE), ("link", tarfile.SYMTYPE), ("dev", tarfile.CHRTYPE)],
)
def test_nothing_is_written_elsewhere(tmp_path, name, kind):
    with pytest.raises(StepError, match="TW530"):
        unpack(archive(name, kind), tmp_path / "code")
    assert [path.name for path in tmp_path.rglob("*")] == ["code"]
