"""Whether a node could ever have a pod."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.pods.capacity import lacking

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def node(
    name: str, *, labels: dict[str, str] | None = None, taints: tuple[Any, ...] = (), **has: str
) -> dict[str, Any]:
    allocatable = {"cpu": "2", "memory": "8Gi", "pods": "110"} | {k.replace("_", "/", 1): v for k, v in has.items()}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"taints": list(taints)},
            "status": {"allocatable": allocatable}}  # fmt: skip


def pod(selector: dict[str, str] | None = None, tolerations: tuple[Any, ...] = (), **requests: str) -> dict[str, Any]:
    asked = {name.replace("_", "/", 1): amount for name, amount in requests.items()}
    containers = [{"name": "step", "resources": {"requests": asked}}]
    return {"spec": {"containers": containers, "nodeSelector": selector or {}, "tolerations": list(tolerations)}}


def test_one_node_that_could_have_it_is_enough() -> None:
    nodes = [node("a"), node("b", memory="64Gi")]
    assert lacking(pod(cpu="2", memory="60Gi"), nodes) is None
    assert lacking(pod(cpu="2"), []) is None  # nobody to ask


def test_every_reason_is_told_with_its_nodes() -> None:
    nodes = [node("a"), node("b"), node("c", labels={"pool": "gpu"}, taints=(TAINT,), **{"nvidia.com_gpu": "1"})]
    wanted = pod({"pool": "gpu"}, **{"nvidia.com_gpu": "2"})
    assert lacking(wanted, nodes) == (
        "has no label pool=gpu, has nvidia.com/gpu 0 of 2 (a, b); "
        "is tainted nvidia.com/gpu, has nvidia.com/gpu 1 of 2 (c)"
    )
    assert "(n0, n1, n2, n3 and 6 more)" in str(lacking(pod(cpu="64"), [node(f"n{i}") for i in range(10)]))


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"key": "nvidia.com/gpu", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}, True),
        ({"key": "nvidia.com/gpu", "value": "other"}, False),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_are_kubernetes_own(toleration: dict[str, str], fits: bool) -> None:
    assert (lacking(pod(tolerations=(toleration,), cpu="1"), [node("a", taints=(TAINT,))]) is None) is fits


def test_a_node_that_is_away_for_now_comes_back() -> None:
    away = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    soft = {"key": "spot", "effect": "PreferNoSchedule"}
    assert lacking(pod(cpu="1"), [node("a", taints=(away, soft))]) is None


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_amounts_are_compared_as_amounts(asked: int, there: int) -> None:
    fits = lacking(pod(cpu=f"{asked}m"), [node("a", cpu=str(there / 1000))]) is None
    assert fits is (asked <= there)
