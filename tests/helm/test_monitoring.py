"""Alerts and dashboards name metrics that there are: ours, and those of the exporters that they ask for."""

from __future__ import annotations

import ast
import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.helm.chart import CHART, ROOT, of_kind, rendered, usual

from tradewind_runtime.launchers.pod import CONTAINER, LABEL

FOLDER = CHART / "monitoring"
DASHBOARDS = sorted(FOLDER.glob("*.json"))
#: Of Prometheus, kube-state-metrics, the kubelet and NVIDIA's DCGM exporter.
EXPORTERS = {
    "up",
    "kube_deployment_status_replicas_available",
    "kube_pod_labels",
    "kube_pod_status_phase",
    "kube_pod_container_resource_limits",
    "kube_pod_container_status_terminated_reason",
    "kube_resourcequota",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "container_cpu_usage_seconds_total",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_memory_working_set_bytes",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_FB_USED",
}


@lru_cache
def ours() -> dict[str, set[str]]:
    """The model server's metrics, by what /metrics calls them, with their labels; read from its source."""
    suffixes = {"Counter": ["_total"], "Gauge": [""], "Histogram": ["_bucket", "_sum", "_count"]}
    found = {}
    for path in (ROOT / "include/tradewind_runtime/serving").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in suffixes):
                continue
            if not (len(node.args) == 3 and isinstance(node.args[0], ast.Constant)):
                continue  # collections.Counter
            labels = set(ast.literal_eval(node.args[2]))
            for suffix in suffixes[node.func.id]:
                found[f"{node.args[0].value}{suffix}"] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


@lru_cache
def airflows() -> set[str]:
    """Airflow's own list, as its StatsD exporter names them."""
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations
    listed = Path(spec.submodule_search_locations[0]) / "_shared/observability/metrics/metrics_template.yaml"
    names = [one["name"] for one in yaml.safe_load(listed.read_text())["metrics"]]
    return {f"airflow_{name.replace('.', '_')}" for name in names}


def metrics(expression: str) -> set[str]:
    """Names that stand before braces or are compared; what is in braces, brackets and after `by` is none."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", expression)
    bare = re.sub(r"\b(by|on|ignoring|group_left|group_right)\s*(\([^)]*\))?", " ", bare)
    words = set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_]*(?!\s*\(|\w)", bare))
    return words - {"or", "and", "unless", "bool"}


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Metric and the labels that it is chosen by."""
    return [
        (name, set(re.findall(r"(\w+)\s*[=!]~?", inside)))
        for name, inside in re.findall(r"(\w+)\{([^}]*)\}", expression)
    ]


def grouped(expression: str) -> set[str]:
    return {label for labels in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in re.split(r"[,\s]+", labels)}


def rules() -> list[dict[str, Any]]:
    (rule,) = of_kind(rendered("team", {"airflow": {"enabled": True}}), "PrometheusRule").values()
    return [one for group in rule["spec"]["groups"] for one in group["rules"]]


def expressions() -> list[tuple[str, str]]:
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            found += [(f"{path.stem}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    return found


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_every_metric_is_one_that_is_there(where, expression):
    named = metrics(expression)
    assert named
    assert named <= set(ours()) | airflows() | EXPORTERS


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_our_metrics_have_the_labels_that_they_are_asked_for(where, expression):
    target = {"namespace", "pod", "service", "job", "instance"}  # Prometheus adds them
    for name, labels in selectors(expression):
        if name in ours():
            assert labels <= ours()[name] | target
            assert grouped(expression) <= ours()[name] | target | {"le"}


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ('sum by (a, b) (rate(x_total{le="1"}[5m])) / on (c) group_left (d) y > 0.1', {"x_total", "y"}),
        ("absent(up == 1) or z", {"up", "z"}),
    ],
)
def test_names_are_found(expression, named):
    assert metrics(expression) == named


def test_our_metrics_are_found():
    assert ours()["tradewind_requests_total"] == {"endpoint", "arm", "digest", "outcome"}
    assert ours()["tradewind_generation"] == {"endpoint"}


def test_each_of_our_metrics_is_shown_or_watched():
    used = {name for _, expression in expressions() for name in metrics(expression)}
    assert set(ours()) <= used


def test_rules_are_filled_in_and_say_what_to_do():
    for rule in rules():
        assert not re.search(r"\b(NAMESPACES?|RELEASE|ERRORS|SECONDS)\b", json.dumps(rule))
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    text = json.dumps(rules())
    assert 'namespace=~\\"tradewind|ml-fraud|ml-marketing\\"' in text
    for name in re.findall(r'deployment=\\"([^\\]+)', text):
        assert name in of_kind(usual("team"), "Deployment")
    assert f'container=\\"{CONTAINER}\\"' in text


def test_rules_are_of_what_is_installed():
    (rule,) = of_kind(
        rendered("team", {"mlflow": {"enabled": False, "postgresql": {"enabled": False}}}), "PrometheusRule"
    ).values()
    assert [group["name"] for group in rule["spec"]["groups"]] == ["tradewind.serving", "tradewind.steps"]


def test_the_server_is_scraped_as_it_wants_to_be():
    documents = usual("hardened")
    (monitor,) = of_kind(documents, "ServiceMonitor").values()
    (service,) = [
        s for s in of_kind(documents, "Service").values()
        if monitor["spec"]["selector"]["matchLabels"].items() <= s["metadata"]["labels"].items()
    ]  # fmt: skip
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["authorization"]["credentials"] == {"name": "tradewind-serving", "key": "token"}
    assert {"action": "labeldrop", "regex": "endpoint"} in endpoint["relabelings"]
    jobs = re.findall(r'job=\\?"([^"\\]+)', json.dumps([d for d in documents if d["kind"] == "PrometheusRule"]))
    assert set(jobs) == {service["metadata"]["name"]}  # Prometheus calls a job by its service


def test_your_prometheus_chooses_them():
    documents = rendered("team", {"airflow": {"enabled": True}})
    found = [d for d in documents if d["apiVersion"] == "monitoring.coreos.com/v1"]
    assert sorted(d["kind"] for d in found) == ["PrometheusRule", "ServiceMonitor", "ServiceMonitor"]
    assert {d["metadata"]["labels"]["release"] for d in found} == {"prometheus"}


def test_nothing_is_watched_unasked():
    assert not [d for d in usual("small") if d["apiVersion"] == "monitoring.coreos.com/v1"]
    assert not [name for name in of_kind(usual("small"), "ConfigMap") if "dashboard" in name]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_ones(path):
    (config,) = [
        c for name, c in of_kind(usual("team"), "ConfigMap").items() if name == f"ml-dashboard-{path.stem}"
    ]  # fmt: skip
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = config["data"].values()
    board = json.loads(text)
    assert board == json.loads(path.read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    known = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
    assert set(re.findall(r"\$\{?(\w+)", text)) <= known
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}
    assert len(places) == len(board["panels"])


def test_pods_of_steps_are_found_by_their_labels():
    """kube-state-metrics makes `label_tradewind_dev_pipeline` of `tradewind.dev/pipeline`."""
    text = (FOLDER / "steps.json").read_text()
    asked = set(re.findall(r"label_[a-z_]*?dev_\w+", text))
    assert asked == {f"label_{re.sub(r'[^a-z]', '_', LABEL)}_{name}" for name in ("pipeline", "step")}
