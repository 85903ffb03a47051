"""The control plane imports nothing heavy: a DAG processor and a command line pay for it each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tradewind.compiler import compile_project
from tradewind.profile import load_profile

ROOT = Path(__file__).parents[2]
HEAVY = {
    "pandas",
    "numpy",
    "pyspark",
    "mlflow",
    "evidently",
    "great_expectations",
    "hyperopt",
    "optuna",
    "kubernetes",
    "airflow",
    "pyarrow",
    "deltalake",
    "polars",
    "duckdb",
    "sklearn",
    "xgboost",
    "apache_beam",
}


BARE = """\
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
with DAG("bare"):
    EmptyOperator(task_id="one")
"""


def imported(code: str) -> set[str]:
    """Which of them a new process has after it ran this."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return HEAVY & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "module", ["tradewind.spec", "tradewind.cli", "tradewind.cli.validate", "tradewind.cli.schema", "tradewind.runner"]
)
def test_light(module: str) -> None:
    assert not imported(f"import {module}")


@pytest.fixture(scope="module")
def bare() -> set[str]:
    """What a DAG file written by hand costs: Airflow itself, and whatever it brings."""
    found = imported(BARE)
    assert "airflow" in found
    return found


@pytest.mark.parametrize(
    "module", ["tradewind.factory", "tradewind.operators", "tradewind.operators.step", "tradewind.bundle"]
)
def test_what_knows_airflow_brings_nothing_else(module: str, bare: set[str]) -> None:
    assert imported(f"import {module}") <= bare


def test_parsing_a_pipeline_brings_nothing_else(tmp_path: Path, bare: set[str]) -> None:
    compiled = compile_project(ROOT, tmp_path, load_profile("local", project=ROOT), version="v1")
    [stub] = [str(one.stub) for one in compiled if one.source.endswith("flight_delays.yaml")]
    code = f"""\
import runpy
scope = runpy.run_path({stub!r})
assert "flight-delays" in {{getattr(value, "dag_id", None) for value in scope.values()}}
"""
    assert imported(code) <= bare


def test_help_imports_no_command() -> None:
    code = (
        "import sys; sys.argv = ['tradewind', '--help']\n"
        "from tradewind.cli import COMMANDS, main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "loaded = [name for name in COMMANDS if f'tradewind.cli.{name}' in sys.modules]\n"
        "print('LOADED', *loaded, 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "LOADED False"
