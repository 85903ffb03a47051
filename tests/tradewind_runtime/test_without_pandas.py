"""What a step does without pandas, which pyarrow imports to tell whether it was given a series."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.tradewind_runtime.sources.project import Project, objects
from tests.tradewind_runtime.steprun import ingest_request, start

FRAMES = """\
import sys
import pyarrow as pa
from tradewind_runtime import without_pandas
from tradewind_runtime.sources.columns import shown

without_pandas.leave_out()
table = pa.table({"a": [1.5, None], "b": [b"x", b"y"]})
fine = pa.scalar(1_356_998_400_000_000_001, pa.timestamp("ns", "UTC"))
assert str(shown(fine)) == "2013-01-01 00:00:00+00:00"
assert "pandas" not in sys.modules

frame = table.to_pandas()
import pandas as pd

assert isinstance(frame, pd.DataFrame)
assert pa.Table.from_pandas(frame)["a"].null_count == 1
"""


def test_a_step_that_has_no_data_frames_imports_none(tmp_path: Path, lake_uri: str) -> None:
    project = Project(tmp_path / "project", lake_uri)
    project.write("in/a.csv", "n\n1\nmany\n")
    source = objects("in/*.csv", columns={"n": "long"}, max_bad=1)
    request = ingest_request(lake_uri, source, project.end(source), project=str(project.path))
    process = start(request, "r1", PYTHONPROFILEIMPORTTIME="1")
    _, told = process.communicate(timeout=120)
    imported = {line.rpartition(b"|")[2].strip().decode() for line in told.splitlines()}
    assert process.returncode == 0, told.decode()
    assert "pyarrow.lib" in imported
    assert "pandas.core" not in imported  # the name alone is told of a module that is looked for in vain, too
    assert project.column() == [1]


def test_who_wants_data_frames_has_them() -> None:
    done = subprocess.run([sys.executable, "-c", FRAMES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
