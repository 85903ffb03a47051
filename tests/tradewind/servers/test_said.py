"""What controllers say of a server's own object."""

from __future__ import annotations

from typing import Any

from tradewind.servers.said import Said, of_deployment, of_inference_service

QUOTA = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
         "message": 'pods "serve-m-x" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=2'}  # fmt: skip


def told(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "serve-m"}, "status": {"conditions": list(conditions)}}


def one(type: str, status: str, **more: str) -> dict[str, str]:
    return {"type": type, "status": status} | more


def test_a_deployment_says_what_keeps_its_pods_away() -> None:
    said = of_deployment(told(one("Available", "False", message="no minimum"), QUOTA))
    assert said == Said(why=f"its pods are refused: {QUOTA['message']}")
    assert of_deployment(told(QUOTA | {"status": "False"})) == Said()
    assert of_deployment(told(one("Available", "False", message="no minimum"))) == Said(), "it is but coming up"
    assert of_deployment({"metadata": {}}) == Said()


def test_of_an_inference_service_the_part_that_fails_is_told() -> None:
    why = one("PredictorReady", "False", reason="RevisionFailed", message="no\n image")
    found = told(one("IngressReady", "Unknown"), one("Ready", "False", reason="RevisionFailed"), why)
    said = of_inference_service(found)
    assert said == Said(why="KServe says PredictorReady is false: RevisionFailed: no image")
    found = told(one("PredictorReady", "True"), one("IngressReady", "False", reason="NoGateway"), one("Ready", "False"))
    assert of_inference_service(found).why == "KServe says IngressReady is false: NoGateway"


def test_an_inference_service_that_is_ready_needs_no_pod() -> None:
    assert of_inference_service(told(one("PredictorReady", "True"), one("Ready", "True"))) == Said(well=True)
    assert of_inference_service(told(one("PredictorReady", "Unknown"), one("Ready", "Unknown"))) == Said()


def test_where_nobody_fills_in_the_status_nothing_is_said() -> None:
    assert of_inference_service({"metadata": {}}) == Said(silent=True)
    assert of_inference_service({"metadata": {}, "status": None}) == Said(silent=True)
