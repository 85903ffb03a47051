"""Pods before there is a run: what they name, and where that is said."""

from __future__ import annotations

from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind.pods.probes import Probe, Reference, probes
from tradewind.pods.refusals import problem_of
from tradewind.pods.trial import trial_pod

TRAIN = PlanStep(id="train", kind="train", runner="kubernetes", connections={"registry": "mlflow_default"})
INGEST = PlanStep(id="ingest_a", kind="ingest", runner="kubernetes", resources={"memory": "4Gi"})
PIN = PlanStep(id="pin", kind="pin")


def plan(*steps: PlanStep, **kubernetes: object) -> Plan:
    return Plan(
        pipeline="p", profile="cluster", file="p.yaml", lake="s3://lake", pool="x",
        kubernetes={"secrets": {"mlflow_default": "team/mlflow"}, **kubernetes},
        environments={"steps": {"image": "i:1"}}, dags=(PlanDag(dag_id="p", flow="train", steps=steps),),
    )  # fmt: skip


def only(step: PlanStep, **kubernetes: object) -> Probe:
    (found,), problems = probes(plan(step, **kubernetes))
    assert problems == []
    return found


def test_steps_in_pods_are_asked_about_and_no_others() -> None:
    found, _ = probes(plan(PIN, INGEST, TRAIN))
    assert [probe.name for probe in found] == ["p.ingest_a", "p.train"]
    assert probes(plan(TRAIN), {"rollout"}) == ([], [])


def test_what_a_pod_names_has_its_place() -> None:
    probe = only(TRAIN, image_pull_secrets=["registry"])
    assert list(probe.references()) == [
        (Reference("Secret", "team", "mlflow"), "profiles/cluster.yaml", "kubernetes.secrets.mlflow_default"),
        (Reference("Secret", "registry"), "profiles/cluster.yaml", "kubernetes.image_pull_secrets"),
    ]


def test_of_a_stage_the_replays_pod_is_asked_about_with_its_token() -> None:
    config = {"endpoint": "m", "weight": 10, "deploy": {}, "server": "http://serve-m.ml.svc"}
    secrets = {"TRADEWIND_SERVING_TOKEN": "callers/token"}
    stage = PlanStep(id="canary_10", kind="stage", runner="kubernetes", config=config, secrets=secrets)
    probe = only(stage, resources={"replay": {"cpu": 0.25}})
    assert probe.name == "p.canary_10_replay"
    assert probe.resources_at() == ("profiles/cluster.yaml", "kubernetes.resources.replay")
    assert list(probe.references()) == [
        (Reference("Secret", "callers", "token"), "profiles/cluster.yaml", "serving.own.token"),
    ]
    assert probes(plan(stage.model_copy(update={"runner": "process"}))) == ([], [])


def test_volumes_are_looked_for_too() -> None:
    probe = only(INGEST)
    probe.pod["spec"]["volumes"] += [
        {"name": "a", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "b", "configMap": {"name": "rules"}},
    ]  # fmt: skip
    assert [found for found, _, _ in probe.references()] == [
        Reference("PersistentVolumeClaim", "data"), Reference("ConfigMap", "rules"),
    ]  # fmt: skip


def test_what_it_asks_for_is_said_in_the_yaml_or_by_the_profile() -> None:
    assert only(INGEST).resources_at() == ("p.yaml", "defaults.steps.ingest.resources")
    assert only(TRAIN).resources_at() == ("profiles/cluster.yaml", "kubernetes.resources.train")
    own = TRAIN.model_copy(update={"resources": {"cpu": 2}})
    assert only(own).resources_at() == ("p.yaml", "train.resources")


def test_pods_that_cannot_be_made_are_problems_each_once() -> None:
    lost = {"environment": "torch"}
    found, problems = probes(plan(TRAIN.model_copy(update=lost), INGEST.model_copy(update=lost), secrets={}))
    assert found == []
    assert [problem.code for problem in problems] == ["TW593"]
    assert [problem.code for problem in probes(plan(TRAIN, secrets={}))[1]] == ["TW592"]


def test_any_other_refusal_is_told_in_kubernetes_words() -> None:
    problem = problem_of(only(TRAIN), 403, 'violates PodSecurity "restricted:latest": runAsNonRoot != true')
    assert problem is not None
    assert (problem.code, problem.message) == ("TW578", "Kubernetes would not take the pod of p.train")
    assert problem.got == '403 violates PodSecurity "restricted:latest": runAsNonRoot != true'
    assert problem_of(only(TRAIN), 409, "already exists") is None


def test_one_small_pod_stands_for_all_of_an_image() -> None:
    big = TRAIN.model_copy(update={"resources": {"cpu": 8, "memory": "64Gi"}})
    pod = trial_pod([only(INGEST), only(big)])
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["python", "-c", "pass"]
    assert container["resources"]["limits"]["memory"] == "128Mi"
    assert "AIRFLOW_CONN_MLFLOW_DEFAULT" in {variable["name"] for variable in container["env"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
