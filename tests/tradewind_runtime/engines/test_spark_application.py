"""Which application of Spark's a step was: in its log and its result, and a link to Spark's history server."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.servers.spark_history import SparkHistory
from tests.tradewind_runtime.steprun import started, wait_for
from tests.tradewind_runtime.transformable import SETTINGS, House

from tradewind.dev.running import start
from tradewind.dev.servers.base import answer
from tradewind_runtime.engines.spark import events
from tradewind_runtime.execute import execute
from tradewind_runtime.launchers.exchange import Exchange

GOOD = "def transform(spark, tables, context):\n    return tables['rows'].select('t', 'n')\n"
BAD = "def transform(spark, tables, context):\n    return tables['rows'].selectExpr('t', 'n DIV raise_error(s) AS n')\n"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "a lake")


@pytest.fixture
def history(house: House, tmp_path: Path) -> Iterator[SparkHistory]:
    """It reads what lies in the house's lake."""
    house.lake.documents.put(f"{events.FOLDER}/.keep", b"")
    logs = f"{unquote(house.lake.root)}/{events.FOLDER}"
    with start(SparkHistory.at(tmp_path / "history", logs=logs)) as running:
        yield running.server


def request(house: House, job: str, **spark: Any) -> Any:
    given = {"spark": SETTINGS["spark"] | spark}
    return house.request({"spark": {"job": "spark_jobs/job.py"}}, code=house.code(job=job), settings=given)


@pytest.mark.server
def test_its_page_is_behind_the_link(house: House, history: SparkHistory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tradewind")
    result = execute(request(house, GOOD, history=f"{history.address}/"))
    (told,) = result.facts["spark"]
    id = told["application"]
    assert result.links == {"Spark": f"{history.address}/history/{id}/jobs/"}
    assert f"Spark application {id}: {result.links['Spark']}" in caplog.messages
    assert Path(unquote(told["event_log"].removeprefix("file:"))).is_dir()
    wait_for(lambda: history.application(id), 60)
    assert history.application(id)["name"] == "p.transform r"
    page = answer(result.links["Spark"], timeout=60)
    assert "<title>p.transform r - Spark Jobs</title>" in page, page[:5000]


@pytest.mark.server
def test_the_link_is_there_where_the_step_fails(house: House, history: SparkHistory) -> None:
    asked = Exchange(request(house, BAD, history=history.address), house.lake.documents)
    asked.begin()
    step = started(house.lake.root, asked.path)
    said = step.communicate(timeout=250)[1].decode()
    assert step.returncode == 3, said[-3000:]
    (problem,) = asked.reason("failed").problems
    assert problem.code == "TW545"
    assert problem.links is not None
    link = problem.links["Spark"]
    id = re.fullmatch(rf"{history.address}/history/([^/]+)/jobs/", link)
    assert id
    wait_for(lambda: history.application(id[1]), 60)
    jobs = answer(f"{history.address}/api/v1/applications/{id[1]}/jobs", timeout=60)
    assert "FAILED" in {one["status"] for one in jobs}


def test_without_a_log_of_events_there_is_nothing_to_look_at(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tradewind")
    asked = request(house, GOOD, history="http://127.0.0.1:1", event_log=False)
    result = execute(asked)
    assert "spark" not in result.facts
    assert result.links == {}
    assert any(re.fullmatch(r"Spark application local-\d+", one) for one in caplog.messages)


def test_without_a_history_server_its_log_of_events_is_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tradewind")
    one_file = {"spark.eventLog.rolling.enabled": "false"}
    found = [
        execute(request(house, GOOD + "\n" * number, event_log=True, options=options))
        for number, options in enumerate(({}, one_file))
    ]
    (folder,), (file,) = (result.facts["spark"] for result in found)
    assert folder["event_log"].endswith(f"/spark-events/eventlog_v2_{folder['application']}")
    assert file["event_log"].endswith("/spark-events")
    assert [result.links for result in found] == [{}, {}]
    assert f"Spark application {file['application']}: {file['event_log']}" in caplog.messages
    assert any(file["application"] in name for name in house.lake.documents.names("spark-events"))
