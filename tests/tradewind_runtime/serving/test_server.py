import os
import re
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import httpx
import numpy as np
import psutil
import pyarrow.compute as pc
import pytest
from tests.servers.model_server import PYTHON, ModelServer, model_server, request, start, wait

from tradewind.dev import ports
from tradewind_runtime import endpoints
from tradewind_runtime.contract.deploy import Abort, Stage
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.endpoints import moves
from tradewind_runtime.execute import execute
from tradewind_runtime.judging import judge
from tradewind_runtime.lake import Lake

pytestmark = pytest.mark.server
WHO = {"by": "test", "reason": "because"}
NAME = "flight-delays"


def rows(n=5, seed=9):
    return np.random.default_rng(seed).normal(size=(n, 3))


def body(x, id=None, **more):
    named = {name: [float(v) for v in x[:, i]] for i, name in enumerate("abc")}
    return request({**named, **more}, id)


def serving(server: ModelServer, generation: int) -> bool:
    answer = server.infer(NAME, body(rows(1)))
    return answer.status_code == 200 and answer.json()["parameters"]["generation"] == generation


def captured(documents) -> int:
    from tradewind_runtime.steps.ingest_capture import read_segment

    return sum(read_segment(documents.get(path)).num_rows for path in documents.names("capture"))


def step(lake, kind, config, refresh):
    return execute(
        StepRequest(step=kind, id=kind, pipeline="demo", run_id=refresh, lake=lake, config=config, refresh=refresh)
    )


class Load:
    """Requests without a pause, each counted by arm or by failure."""

    def __init__(self, server: ModelServer) -> None:
        self.server, self.arms, self.failures = server, Counter(), []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(20)

    def _run(self) -> None:
        sent, number = [body(rows(1, seed)) for seed in range(50)], 0
        with httpx.Client(base_url=self.server.address, timeout=10, trust_env=False) as client:
            while not self.stopping.is_set():
                number += 1
                try:
                    answer = client.post(f"/v2/models/{NAME}/infer", json={**sent[number % 50], "id": f"load-{number}"})
                    time.sleep(0.002)
                    if answer.status_code == 200:
                        self.arms[answer.json()["parameters"]["arm"]] += 1
                    else:
                        self.failures.append(answer.text)
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    time.sleep(0.05)


def test_what_was_asked_for_by_name_is_waited_for(models, tmp_path):
    with model_server(models.folder, tmp_path / "log", "--endpoint", NAME, ready=False) as server:
        assert server.client.get("/v2/health/ready").status_code == 503


def test_why_it_cannot_begin_is_its_last_line():
    words = [str(PYTHON), "-m", "tradewind_runtime.serving", "--lake", "nowhere://lake", "--port", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert re.search(r"^TW602: the server cannot begin: .*nowhere://lake", done.stderr.splitlines()[-1])


def test_the_protocol(models, tmp_path):
    digest, own = models.train(1)
    with model_server(models.folder, tmp_path / "log", "--grpc-port", "0", "--limit", "100000", ready=False) as server:
        assert server.client.get("/v2/health/live").status_code == 200
        assert server.client.get("/v2/health/ready").status_code == 200  # the lake asks for nothing yet
        moves.promote(models.documents, NAME, digest, expected=0, version="1", **WHO)
        wait(lambda: serving(server, 1), "serving generation 1", server.log)
        assert server.client.get("/v2/health/ready").status_code == 200

        x = rows(7)
        answer = server.infer(NAME, body(x, id="one", flight_id=[f"f{n}" for n in range(7)])).json()
        output = answer["outputs"][0]
        assert (output["name"], output["datatype"], output["shape"], answer["id"]) == ("predict", "FP64", [7], "one")
        assert np.abs(np.array(output["data"]) - own(x)).max() <= 1e-12
        assert answer["parameters"] == {"digest": digest, "generation": 1, "arm": "stable", "version": "1"}
        whole = {"inputs": [{"name": "x", "shape": [7, 3], "datatype": "FP64", "data": x.ravel().tolist()}]}
        assert server.infer(NAME, whole).json()["outputs"][0]["data"] == output["data"]

        about = server.client.get(f"/v2/models/{NAME}").json()
        assert [column["name"] for column in about["inputs"]] == ["a", "b", "c"]
        assert about["outputs"] == [{"name": "predict", "datatype": "FP64", "shape": [-1]}]

        wrong = server.infer(NAME, request({"a": [1.0], "bb": [1.0], "c": [1.0]}))
        assert wrong.status_code == 400
        assert "'b' is missing" in wrong.json()["error"]
        assert "'bb'" in wrong.json()["error"]
        json = {"content-type": "application/json"}
        for text in (b"{", b'{"inputs": 3}', b'{"inputs": []}', b"[]"):
            answer = server.client.post(f"/v2/models/{NAME}/infer", content=text, headers=json)
            assert (answer.status_code, set(answer.json())) == (400, {"error"}), text
        assert server.client.post(f"/v2/models/{NAME}/infer", content=b"x" * 100_001, headers=json).status_code == 413
        chunks = (b"x" * 50_000 for _ in range(3))
        assert server.client.post(f"/v2/models/{NAME}/infer", content=chunks, headers=json).status_code == 413
        assert server.infer("other", body(x)).status_code == 404
        assert server.client.post(f"/v2/repository/models/{NAME}/unload").status_code == 501
        echoed = server.client.post(f"/v2/models/{NAME}/infer", json=body(x), headers={"x-secret": "s"})
        assert "x-secret" not in echoed.headers
        assert 'tradewind_requests_total{arm="stable"' in server.client.get("/metrics").text

        bound = {
            c.laddr.ip.removeprefix("::ffff:")
            for c in psutil.Process(server.process.pid).net_connections()
            if c.status == "LISTEN"
        }
        assert bound == {"127.0.0.1"}
        assert server.grpc is not None
        _grpc(server.grpc, x, output["data"])

        result = step(models.folder.as_uri(), "ingest_capture", {"endpoint": NAME, "time": None}, "r1")
        asked = endpoints.merged(endpoints.statuses(models.documents, NAME), digest).rows
        table = Lake(models.folder.as_uri()).table("demo/flight_delays_requests").snapshot().to_arrow()
        assert table.num_rows == result.metrics["rows"] == asked
        one = table.filter(pc.equal(table["_request"], "one"))
        assert one["flight_id"].to_pylist() == [f"f{n}" for n in range(7)]
        assert step(models.folder.as_uri(), "ingest_capture", {"endpoint": NAME}, "r2").metrics["rows"] == 0
    assert server.process.returncode == 0


def _grpc(address, x, expected):
    """By the client that KServe ships, in the serving environment."""
    import json
    import subprocess

    from tests.servers.model_server import PYTHON

    code = """
import asyncio, json, sys
import numpy as np
from kserve import InferInput, InferRequest, InferenceGRPCClient
address, rows = json.loads(sys.argv.pop())
async def main():
    client, x = InferenceGRPCClient(address), np.array(rows)
    inputs = []
    for i, name in enumerate("abc"):
        column = InferInput(name, [len(x)], "FP64")
        column.set_data_from_numpy(np.ascontiguousarray(x[:, i]))
        inputs.append(column)
    answer = await client.infer(InferRequest("flight-delays", inputs))
    print(json.dumps([answer.outputs[0].as_numpy().tolist(), answer.parameters["arm"].string_param]))
    try:
        await client.infer(InferRequest("flight-delays", inputs[:1]))
    except Exception as error:
        print(json.dumps(str(error)))
asyncio.run(main())
"""
    done = subprocess.run(
        [str(PYTHON), "-c", code, json.dumps([address, x.tolist()])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr[-2000:]
    assert json.loads(lines[0]) == [expected, "stable"]
    assert "is missing" in lines[1]


def test_who_asks_while_it_starts_waits_for_the_models(models, tmp_path):
    digest, own = models.train(1)
    moves.promote(models.documents, NAME, digest, expected=0, **WHO)
    x, port = rows(3), ports.choose({"serving": None})["serving"]
    with ThreadPoolExecutor(1) as pool:
        address = f"http://127.0.0.1:{port}/v2/models/{NAME}/infer"

        def ask():
            """As soon as it listens."""
            while True:
                try:
                    return httpx.post(address, json=body(x), timeout=20, trust_env=False)
                except httpx.ConnectError:
                    time.sleep(0.001)

        asked = pool.submit(ask)
        with model_server(models.folder, tmp_path / "log", "--port", str(port), ready=False):
            answer = asked.result(30)
    assert answer.status_code == 200, answer.text
    assert np.abs(np.array(answer.json()["outputs"][0]["data"]) - own(x)).max() <= 1e-12


def test_it_ends_when_it_is_told_to_also_while_its_models_load(models, tmp_path):
    digest, _ = models.train(1)
    moves.promote(models.documents, NAME, digest, expected=0, **WHO)
    file = next(path for path in models.folder.rglob("*.ubj"))
    file.unlink()
    os.mkfifo(file)  # which gives nothing
    words = ["-m", "tradewind_runtime.serving", "--lake", models.folder.as_uri(), "--port", "0"]
    with subprocess.Popen([str(PYTHON), *words]) as process:
        writing = None

        def loads():
            """Nobody may write before somebody reads."""
            nonlocal writing
            with suppress(OSError):
                writing = os.open(file, os.O_WRONLY | os.O_NONBLOCK)
            return writing is not None

        try:
            wait(loads, "loading", seconds=60)
            process.terminate()
            assert process.wait(15) == 0
        finally:
            process.kill()
    os.close(writing)


def test_a_rollout_by_canary_and_back_under_load(models, tmp_path):
    old, _ = models.train(1)
    new, own = models.train(2)
    documents, lake = models.documents, models.folder.as_uri()
    moves.promote(documents, NAME, old, expected=0, **WHO)
    with model_server(models.folder, tmp_path / "log", "--replica", "one") as server, Load(server) as load:
        for number, weight in ((2, 10), (3, 50)):
            generation = moves.promote(documents, NAME, new, expected=number - 1, weight=weight, **WHO)
            wait(lambda n=number: endpoints.statuses(documents, NAME)[0].generation == n, "observed", server.log)
            load.arms.clear()
            wait(lambda: sum(load.arms.values()) >= 400, "400 answers", server.log)
            arms = dict(load.arms)
            assert abs(arms["canary"] / sum(arms.values()) - weight / 100) < 0.08, arms
            wait(lambda g=generation: _verdict(documents, g).state == "pass", "passed", server.log)
            counted = endpoints.statuses(documents, NAME)[0].arms
            assert abs(counted[new].rows / (counted[new].rows + counted[old].rows) - weight / 100) < 0.08
        key = [
            server.client.post(
                f"/v2/models/{NAME}/infer", json=body(rows(1)), headers={"x-tradewind-key": "me"}
            ).json()["parameters"]["arm"]
            for _ in range(8)
        ]
        assert len(set(key)) == 1
        moves.promote(documents, NAME, new, expected=3, weight=100, **WHO)
        wait(lambda: serving(server, 4), "serving generation 4", server.log)
        answer = server.infer(NAME, body(rows(3))).json()
        assert answer["parameters"]["digest"] == new
        assert np.abs(np.array(answer["outputs"][0]["data"]) - own(rows(3))).max() <= 1e-12
        moves.rollback(documents, NAME, expected=4, **WHO)
        wait(lambda: serving(server, 5), "serving generation 5", server.log)
        assert server.infer(NAME, body(rows(1))).json()["parameters"]["digest"] == old

        # The same again with no traffic of its own: replayed, through both arms, and not captured again.
        load.stopping.set()
        load.thread.join()
        wait(lambda: step(lake, "ingest_capture", {"endpoint": NAME}, str(time.time())).metrics["rows"] == 0, "drained")
        again = moves.promote(documents, NAME, new, expected=5, weight=10, **WHO)
        wait(lambda: endpoints.statuses(documents, NAME)[0].generation == 6, "observed", server.log)
        before = captured(documents)
        metrics = step(lake, "replay", {"endpoint": NAME, "requests": 60}, "r3").metrics
        assert metrics == {"rows": 60, "stable_sent": 60, "stable_failed": 0, "canary_sent": 60, "canary_failed": 0}
        status = endpoints.statuses(documents, NAME)[0]
        assert (status.arms[old].rows, status.arms[new].rows) == (60, 60)
        verdict = _verdict(documents, again, replayed=True)
        assert verdict.state == "pass", verdict.reasons
    assert load.failures == []
    assert captured(documents) == before


def _verdict(documents, generation, **more):
    now = datetime.now(UTC)
    stage = Stage(min_requests=20, min_time=0, max_time=600)
    return judge(stage, Abort(), generation, endpoints.statuses(documents, NAME), generation.created, now, **more)


def test_the_last_good_state_is_kept(models, tmp_path):
    good, _ = models.train(1)
    bad, _ = models.train(2)
    narrow, _ = models.train(3, ("a", "b", "d"))
    documents = models.documents
    moves.promote(documents, NAME, good, expected=0, **WHO)
    with model_server(models.folder, tmp_path / "log", "--replica", "one", "--endpoint", NAME) as server:
        # A tampered artefact is refused, at once and with its reason.
        path = next(path for path in (models.folder / "models" / bad).iterdir() if path.name != "manifest.json")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        tampered = moves.promote(documents, NAME, bad, expected=1, weight=50, **WHO)
        wait(lambda: endpoints.statuses(documents, NAME)[0].refused == 2, "refused", server.log)
        assert serving(server, 1)
        verdict = _verdict(documents, tampered)
        assert verdict.state == "fail"
        assert "digest" in verdict.reasons[0]
        moves.abort_canary(documents, NAME, expected=2, **WHO)
        wait(lambda: serving(server, 3), "serving generation 3", server.log)

        # The lake goes away: answers go on, nothing is made in its place, and what was captured comes later.
        away = models.folder.with_name("away")
        wait(lambda: endpoints.statuses(documents, NAME)[0].arms, "told", server.log)
        count = endpoints.statuses(documents, NAME)[0].arms[good].rows
        models.folder.rename(away)
        for _ in range(20):
            assert server.infer(NAME, body(rows(1))).status_code == 200
            time.sleep(0.1)
        assert not models.folder.exists()
        away.rename(models.folder)
        wait(lambda: endpoints.statuses(documents, NAME)[0].arms[good].rows >= count + 20, "told", server.log)
        wait(lambda: endpoints.statuses(documents, NAME)[0].problems == (), "well", server.log)

        # A canary that cannot take what clients send: they are answered by the stable one, and it fails.
        strange = moves.promote(documents, NAME, narrow, expected=3, weight=90, **WHO)
        wait(lambda: serving(server, 4), "serving generation 4", server.log)
        for number in range(60):
            assert server.infer(NAME, body(rows(1), id=f"r{number}")).json()["parameters"]["arm"] == "stable"
        wait(lambda: _verdict(documents, strange).state == "fail", "failed", server.log)
        assert _verdict(documents, strange).reasons[0].startswith("errors")
        # Started again while the newest one is tampered with: the newest that verifies.
        moves.promote(documents, NAME, bad, expected=4, **WHO)
        server.kill()
    with model_server(models.folder, tmp_path / "log", "--replica", "one", "--endpoint", NAME) as server:
        assert serving(server, 4)
        assert endpoints.statuses(documents, NAME)[0].refused == 5


def test_kill_9_under_load_loses_at_most_the_open_segment(models, tmp_path):
    digest, _ = models.train(1)
    documents = models.documents
    moves.promote(documents, NAME, digest, expected=0, **WHO)
    server = start(models.folder, tmp_path / "log", "--replica", "one")
    try:
        wait(lambda: serving(server, 1), "serving", server.log)
        with Load(server) as load:
            wait(lambda: captured(documents) > 50, "segments", server.log)
            answered_before = load.arms["stable"]
            time.sleep(1.2)  # more than a segment: what was answered before is closed
            server.kill()
        answered = load.arms["stable"]
        kept = captured(documents)
        assert answered_before <= kept <= answered + 2
    finally:
        server.stop()
    told = endpoints.statuses(documents, NAME)[0].arms[digest].rows
    with model_server(models.folder, tmp_path / "log", "--replica", "one") as server:
        assert serving(server, 1)
        wait(lambda: endpoints.statuses(documents, NAME)[0].arms[digest].rows > told, "counts go on", server.log)
        for _ in range(10):
            server.infer(NAME, body(rows(1)))
    final = captured(documents)  # SIGTERM closes the open segment
    assert final == kept + 10 + 1
    table = step(models.folder.as_uri(), "ingest_capture", {"endpoint": NAME}, "r1")
    assert table.metrics["rows"] == final


def test_a_token_and_a_shadow(models, tmp_path):
    digest, _ = models.train(1)
    other, _ = models.train(2, flip=True)
    moves.advance(models.documents, NAME, 0, stable=digest, shadow=other, **WHO)
    with model_server(models.folder, tmp_path / "log", env={"TRADEWIND_SERVING_TOKEN": "s3cret"}) as server:
        assert server.infer(NAME, body(rows(1))).status_code == 401
        server.client.headers["authorization"] = "Bearer s3cret"
        for _ in range(10):
            assert server.infer(NAME, body(rows(2))).json()["parameters"]["digest"] == digest

        def mirrored() -> bool:
            arms = endpoints.statuses(models.documents, NAME)[0].arms
            return other in arms and arms[other].rows == 20 == arms[digest].rows

        wait(mirrored, "mirrored", server.log)
    assert captured(models.documents) == 20
