"""Parsing 100 pipelines: compiled by Tradewind, written by hand, and by dag-factory, in one run.

Each file is loaded as Airflow's DAG processor does: in a process of its own that was forked after
`airflow.sdk` was imported. What is measured is the processor time of that child.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.results import write

PIPELINES = 100
TASKS = 10

YAML = """\
version: 1
pipeline: bench-{n}
schedule: "@daily"
sources:
  rows: {{sample: {{name: breast_cancer}}}}
transform: {{sql: {{query: "select * exclude (_source, _position, _ingested) from rows"}}}}
tune: {{hyperopt: {{trials: 4, space: {{max_iter: {{int: [10, 50]}}}}}}}}
train: {{estimator: sklearn.HistGradientBoostingClassifier, label: target}}
promote: {{model: bench-{n}, when: {{roc_auc: {{min: 0.5}}}}}}
"""

HAND = """\
from datetime import datetime, timedelta
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG("hand_{n}", schedule="@daily", start_date=datetime(2024, 1, 1), catchup=False,
         default_args={{"owner": "team", "retries": 2, "retry_delay": timedelta(seconds=30)}}) as dag:
    tasks = [BashOperator(task_id=f"task_{{i}}", bash_command="true") for i in range({tasks})]
    for left, right in zip(tasks, tasks[1:]):
        left >> right
"""

FACTORY = """\
from airflow.sdk import DAG
from dagfactory import load_yaml_dags

load_yaml_dags(globals_dict=globals(), config_filepath={path!r}, defaults_config_path="")
"""

FACTORY_YAML = """\
factory_{n}:
  default_args: {{owner: team, retries: 2, start_date: 2024-01-01}}
  schedule: "@daily"
  catchup: false
  tasks:
"""


def main() -> None:
    """Make the files, load each in a forked child, keep all figures."""
    import airflow.sdk  # noqa: F401 - what the DAG processor has imported before it forks
    from airflow.providers.standard.operators.bash import BashOperator  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        kinds = {"hand-written": _hand(root), "Tradewind": _tradewind(root), "dag-factory": _factory(root)}
        raw = {kind: [_load(path) for path in files] for kind, files in kinds.items()}
    median = {kind: statistics.median(seconds) for kind, seconds in raw.items()}
    ratios = {
        "to hand-written": median["Tradewind"] / median["hand-written"],
        "to dag-factory": median["Tradewind"] / median["dag-factory"],
    }
    for kind, seconds in median.items():
        print(f"{kind:<14} {seconds * 1000:7.2f} ms CPU a file (median of {PIPELINES})")
    print(", ".join(f"{ratio:.2f} {name}" for name, ratio in ratios.items()), "(goals: 1.5, 0.3)")
    write("parsing", {"median_cpu_seconds": median, "ratios": ratios, "raw": raw, "tasks": TASKS})


def _load(path: Path) -> float:
    """Processor seconds of a child that runs one DAG file."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        import time

        before = time.process_time()
        scope: dict[str, Any] = {"__file__": str(path), "__name__": "dag"}
        exec(compile(path.read_text(), str(path), "exec"), scope)  # noqa: S102 - as Airflow does
        spent = time.process_time() - before
        from airflow.sdk import DAG

        assert any(isinstance(value, DAG) for value in scope.values()), path
        os.write(writing, repr(spent).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return float(text)


def _hand(root: Path) -> list[Path]:
    return [_put(root / "hand" / f"d{n}.py", HAND.format(n=n, tasks=TASKS)) for n in range(PIPELINES)]


def _tradewind(root: Path) -> list[Path]:
    from tradewind.compiler import compile_project
    from tradewind.factory import warm
    from tradewind.profile import load_profile

    project = root / "project"
    for n in range(PIPELINES):
        _put(project / "dags" / "pipelines" / f"p{n}.yaml", YAML.format(n=n))
    _put(project / "profiles" / "local.yaml", "profile: local\nenvironments: {steps: {python: /usr/bin/python3}}\n")
    warm()  # as the bundle does in the DAG processor
    done = compile_project(project, root / "stubs", load_profile("local", project=project), version="bench")
    wrong = [problem for one in done for problem in one.problems]
    assert not wrong, wrong
    return [one.stub for one in done]


def _factory(root: Path) -> list[Path]:
    import dagfactory  # noqa: F401 - as kind to the peer as to us

    files = []
    for n in range(PIPELINES):
        tasks = "".join(
            f"    - task_id: task_{i}\n      operator: airflow.providers.standard.operators.bash.BashOperator\n"
            f"      bash_command: 'true'\n" + (f"      dependencies: [task_{i - 1}]\n" if i else "")
            for i in range(TASKS)
        )
        config = _put(root / "factory" / f"d{n}.yaml", FACTORY_YAML.format(n=n) + tasks)
        files.append(_put(root / "factory" / f"d{n}.py", FACTORY.format(path=str(config))))
    return files


def _put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


if __name__ == "__main__":
    main()
