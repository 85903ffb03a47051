import io
import shutil
import tarfile
from pathlib import Path

import pytest

from tradewind.plan.code import UserCode
from tradewind_runtime.execute import unpack


@pytest.fixture
def project(tmp_path: Path) -> Path:
    models = tmp_path / "include" / "models"
    (models / "shared").mkdir(parents=True)
    (tmp_path / "spark_jobs").mkdir()
    (models / "flights.py").write_text("import numpy\nfrom shared.encode import encode\n")
    (models / "shared" / "__init__.py").write_text("")
    (models / "shared" / "encode.py").write_text("from . import tables\n")
    (models / "shared" / "tables.py").write_text("A = 1\n")
    (models / "other.py").write_text("B = 1\n")
    (tmp_path / "spark_jobs" / "job.py").write_text("X = 1\n")
    return tmp_path


def test_the_archive_is_the_same_for_the_same_files_and_holds_them_all(project: Path) -> None:
    first = UserCode.of(project)
    assert first.archive == UserCode.of(project).archive
    with tarfile.open(fileobj=io.BytesIO(first.archive)) as tar:
        assert set(tar.getnames()) == set(first.files)
    unpack(first.archive, project / "unpacked")
    assert len(first.files) == 6
    shutil.make_archive(str(project / "zipped"), "zip", project / "unpacked")  # Spark ships Python files as a zip


@pytest.mark.parametrize("edited", ["flights.py", "shared/encode.py", "shared/tables.py", "shared/__init__.py"])
def test_an_edit_within_the_closure_changes_it(project: Path, edited: str) -> None:
    entry = "flights:train"
    before = UserCode.of(project).closure(entry)
    path = project / "include" / "models" / edited
    path.write_text(path.read_text() + "\nC = 3\n")
    assert UserCode.of(project).closure(entry) != before


@pytest.mark.parametrize(
    ("entry", "edited"),
    [
        ("shared:train", "shared/__init__.py"),
        ("shared.encode:train", "shared/encode.py"),
        ("shared.encode:train", "shared/__init__.py"),
        ("shared.encode:train", "shared/tables.py"),
    ],
)
def test_a_function_may_be_in_a_package(project: Path, entry: str, edited: str) -> None:
    before = UserCode.of(project).closure(entry)
    path = project / "include" / "models" / edited
    path.write_text(path.read_text() + "\nC = 3\n")
    assert UserCode.of(project).closure(entry) != before


@pytest.mark.parametrize("entry", ["missing:train", "spark_jobs/missing.py"])
def test_what_is_not_there_has_no_closure(project: Path, entry: str) -> None:
    with pytest.raises(FileNotFoundError):
        UserCode.of(project).closure(entry)


def test_an_edit_elsewhere_retrains_nothing(project: Path) -> None:
    entry = "flights:train"
    before = UserCode.of(project)
    (project / "include" / "models" / "other.py").write_text("B = 2\n")
    (project / "spark_jobs" / "job.py").write_text("X = 2\n")
    after = UserCode.of(project)
    assert after.closure(entry) == before.closure(entry)
    assert after.digest != before.digest


def test_a_file_that_does_not_parse_still_has_a_closure(project: Path) -> None:
    (project / "include" / "models" / "flights.py").write_text("def (:\n")
    assert UserCode.of(project).closure("flights:train")


@pytest.mark.parametrize(
    ("edited", "changes"), [("flights.proto", True), ("shared/places.proto", True), ("a.avsc", False)]
)
def test_a_schema_takes_in_those_that_it_imports(project: Path, edited: str, changes: bool) -> None:
    schemas = project / "include" / "schemas"
    (schemas / "shared").mkdir(parents=True)
    (schemas / "flights.proto").write_text(
        'syntax = "proto3";\nimport public "shared/places.proto";\nimport "google/protobuf/timestamp.proto";\n'
    )
    (schemas / "shared/places.proto").write_text('syntax = "proto3";\n')
    (schemas / "a.avsc").write_text("{}")
    before = UserCode.of(project).closure("include/schemas/flights.proto")
    (schemas / edited).write_text((schemas / edited).read_text() + "\n")
    assert (UserCode.of(project).closure("include/schemas/flights.proto") != before) == changes
