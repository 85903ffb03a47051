"""What the benchmark of pods makes of what it saw."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from bench.pods.figures import phases, shares, spread
from bench.pods.overhead import told
from bench.pods.plane import ENDS_AT, node, stages
from bench.pods.scale import bodies
from bench.pods.seen import CREATED, ENDED, NODE, RUNNING, SUCCEEDED, reached
from bench.pods.traffic import Traffic, kind
from bench.pods.watcher import end_of


def test_a_spread_is_of_what_was_measured():
    assert spread([float(n) for n in range(1, 101)]) == {"median": 50.5, "p95": 95.0}
    assert spread([3.0, 1.0]) == {"median": 2.0, "p95": 3.0}


def test_a_phase_ends_where_the_next_begins_and_one_unseen_counts_with_the_next():
    order = ("asked", "created", "node", "known")
    assert phases({"asked": 1.0, "created": 1.5, "node": 2.5, "known": 4.0}, order) == {
        "created": 0.5, "node": 1.0, "known": 1.5,
    }  # fmt: skip
    assert phases({"asked": 1.0, "known": 4.0, "node": 2.5}, order) == {"node": 1.5, "known": 1.5}


def test_phases_add_up_to_the_whole():
    order = ("asked", "created", "known")
    runs = [{"asked": 0.0, "created": 1.0, "known": 3.0}, {"asked": 5.0, "created": 8.0, "known": 9.0}]
    assert shares(runs, order) == {"created": {"median": 2.0, "p95": 3.0}, "known": {"median": 1.5, "p95": 2.0}}
    assert all(sum(phases(run, order).values()) == run["known"] - run["asked"] for run in runs)


def pod(phase: str, state: str | None, node: str | None) -> dict[str, Any]:
    status = {"phase": phase, "containerStatuses": [{"state": {state: {}}}] if state else None}
    return {"spec": {"nodeName": node}, "status": status}


@pytest.mark.parametrize(
    ("found", "stages"),
    [
        (pod("Pending", None, None), {CREATED}),
        (pod("Pending", "waiting", "a"), {CREATED, NODE}),
        (pod("Running", "running", "a"), {CREATED, NODE, RUNNING}),
        (pod("Running", "terminated", "a"), {CREATED, NODE, ENDED}),
        (pod("Succeeded", "terminated", "a"), {CREATED, NODE, ENDED, SUCCEEDED}),
    ],
)
def test_how_far_a_pod_has_come(found, stages):
    assert reached(found) == stages


def test_a_pod_says_in_its_log_when_it_got_where():
    log = 'starting\nTIMES {"container": 1.5}\nTIMESHARE {}\nMODULES ["json"]\n'
    assert told(log) == {"TIMES": {"container": 1.5}, "MODULES": ["json"]}


@pytest.mark.parametrize(
    ("url", "query", "what"),
    [
        ("https://a/api/v1/namespaces/n/pods/p/log", [("container", "step")], "log"),
        ("https://a/api/v1/namespaces/n/pods", [("watch", "True")], "watch"),
        ("https://a/api/v1/namespaces/n/pods/p", None, "pods"),
        ("https://a/api/v1/namespaces/n/events", [("fieldSelector", "a")], "events"),
        ("https://a/api/v1/nodes", [], "nodes"),
    ],
)
def test_what_is_asked_of_kubernetes(url, query, what):
    assert kind(url, query) == what


def test_traffic_since_then():
    now, then = Traffic(Counter(log=5, watch=2), 3, 900), Traffic(Counter(log=2), 3, 500)
    assert now.minus(then) == Traffic(Counter(log=3, watch=2), 0, 400)


def test_each_simulated_pod_is_the_factorys_with_a_name_and_an_end_of_its_own():
    ends = [datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in range(3)]
    made = bodies(ends, tag="t")
    assert [one["metadata"]["annotations"][ENDS_AT] for one in made] == [end.isoformat() for end in ends]
    assert len({one["metadata"]["name"] for one in made}) == 3
    assert made[0]["spec"]["containers"][0]["command"] == ["python", "-m", "tradewind_runtime"]


def test_a_simulated_node_tells_where_its_kubelet_is():
    status = node(7, 4711)["status"]
    assert status["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 4711
    assert node(7, 4711)["metadata"]["name"] == "node-0007"


def test_a_simulated_pod_ends_by_its_annotation():
    ends = next(stage for stage in stages() if stage["metadata"]["name"] == "ends")
    assert ENDS_AT in ends["spec"]["delay"]["durationFrom"]["expressionFrom"]
    assert "terminated" in ends["spec"]["next"]["statusTemplate"]


@pytest.mark.parametrize(
    ("message", "end"),
    [("2026-11-27T01:42:03.13818Z", 1795743723.13818), ("2026-11-27T01:42:03Z", 1795743723.0), ("", 0)],
)
def test_the_end_of_a_simulated_pod_is_by_its_own_clock(message, end):
    ended = {"terminated": {"message": message}}
    trigger = SimpleNamespace(_last={"status": {"containerStatuses": [{"state": ended}]}})
    assert end_of(trigger) == end
