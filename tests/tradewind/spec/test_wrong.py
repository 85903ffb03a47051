"""Every wrong YAML of `wrong/` and its problems, word by word. `TRADEWIND_GOLDEN=write` writes them anew."""

import json
import os
from pathlib import Path

import pytest

from tradewind.errors import CODES, Problem, TradewindError
from tradewind.spec import load_text

WRONG = Path(__file__).parent / "wrong"
FILES = sorted(WRONG.glob("*.yaml"))


USER_CODE = {
    "include/models/model.py": "def train(ctx):\n    return ctx\n",
    "include/models/broken.py": "def train(ctx:\n",
    "include/schemas/flights.avsc": "{}",
    "spark_jobs/features.py": "def transform(spark, tables, context):\n    return tables\n",
    "spark_jobs/no_transform.py": "def features(spark, tables, context):\n    return tables\n",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for name, text in USER_CODE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def problems_of(path: Path, project: Path) -> list[Problem]:
    with pytest.raises(TradewindError) as caught:
        load_text(path.read_text(), path.name, root=project)
    return list(caught.value.problems)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_problems_are_as_kept(path: Path, project: Path) -> None:
    found = [problem.model_dump(mode="json", exclude_none=True) for problem in problems_of(path, project)]
    golden = path.with_suffix(".json")
    if os.environ.get("TRADEWIND_GOLDEN") == "write":
        golden.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    assert found == json.loads(golden.read_text())


def test_every_code_has_a_wrong_file(project: Path) -> None:
    seen = {problem.code for path in FILES for problem in problems_of(path, project)}
    elsewhere = {
        "TW100",
        "TW105",
        "TW106",
        "TW149",
        "TW160",
        "TW161",
        "TW162",
        "TW163",
        "TW164",
    }  # of (several) files: test_load.py; of a profile: test_fit.py, test_pods.py
    assert seen | elsewhere == set(CODES)


def test_no_secret_is_repeated(project: Path) -> None:
    assert "hunter2" not in str([problem.model_dump() for problem in problems_of(WRONG / "secrets.yaml", project)])
