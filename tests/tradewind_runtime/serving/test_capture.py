import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tradewind_runtime.documents import Documents
from tradewind_runtime.serving.capture import Capture, Captured


def captured(rows=2, **extra):
    columns = {"hour": np.array([1.5, np.nan][:rows]), **extra}
    return Captured(columns, np.full(rows, 0.25), "a" * 64, "stable", 3, "request-1", datetime(2024, 1, 1, tzinfo=UTC))


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return Documents(tmp_path.as_uri())


def read(documents, path):
    return pa.ipc.open_file(io.BytesIO(documents.get(path))).read_all()


def test_segments_hold_what_was_asked_and_answered_and_go_on_after_a_restart(documents):
    capture = Capture(documents, "m", "one", every=0)
    capture.add(captured(key=np.array(["x", None], dtype=object)))
    capture.add(captured(1))  # other columns: a segment of its own
    assert capture.due()
    capture.close(lambda: True)
    again = Capture(documents, "m", "one", every=0)
    again.add(captured())
    again.close(lambda: True)
    paths = list(documents.names("capture"))
    assert [path.rpartition("/")[2] for path in paths] == [f"{n:012d}.arrow" for n in (1, 2, 3)]
    first = read(documents, paths[0])
    assert first.to_pylist()[1] == {
        "hour": None,
        "key": None,
        "_prediction": 0.25,
        "_digest": "a" * 64,
        "_arm": "stable",
        "_generation": 3,
        "_time": datetime(2024, 1, 1, tzinfo=UTC),
        "_request": "request-1",
        "_row": 1,
    }
    assert (capture.captured, again.captured) == (3, 2)


def test_what_cannot_be_written_waits_and_what_does_not_fit_is_dropped_and_counted(documents, monkeypatch):
    capture = Capture(documents, "m", "one", every=0, waiting=5)
    capture.add(captured())
    began = capture.until()
    capture.close(lambda: False)
    assert capture.until() == began
    monkeypatch.setattr(documents, "create", lambda *_: (_ for _ in ()).throw(OSError("away")))
    with pytest.raises(OSError, match="away"):
        capture.close(lambda: True)
    capture.add(captured())
    capture.add(captured())
    assert (capture.captured, capture.dropped) == (0, 2)
    monkeypatch.undo()
    capture.close(lambda: True)
    assert (capture.captured, capture.dropped) == (4, 2)
    assert sum(read(documents, path).num_rows for path in documents.names("capture")) == 4
    assert not capture.due()
    assert capture.until() > began
