"""The control plane imports nothing heavy: a DAG processor and a command line pay for it each time."""

import subprocess
import sys

import pytest

HEAVY = {
    "pandas",
    "numpy",
    "pyspark",
    "mlflow",
    "evidently",
    "great_expectations",
    "hyperopt",
    "kubernetes",
    "airflow",
    "pyarrow",
    "deltalake",
    "polars",
    "duckdb",
    "sklearn",
    "xgboost",
}


@pytest.mark.parametrize(
    "module", ["tradewind.spec", "tradewind.cli", "tradewind.cli.validate", "tradewind.cli.schema"]
)
def test_light(module: str) -> None:
    code = f"import {module}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not HEAVY & set(done.stdout.split())


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
