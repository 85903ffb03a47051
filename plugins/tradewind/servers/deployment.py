"""A server as a Deployment, with Service, autoscaler and disruption budget: any cluster has these."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.servers.parts import Object, Wanted

CONTAINER = "server"


def objects(wanted: Wanted) -> Iterator[Object]:
    """In the order in which they are applied."""
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": wanted.metadata(),
        "spec": {
            # How many is the autoscaler's.
            "selector": {"matchLabels": wanted.labels},
            # A new replica answers before an old one goes.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": wanted.labels | wanted.revision},
                "spec": wanted.pod(CONTAINER) | {"topologySpreadConstraints": [_spread(wanted)]},
            },
        },
    }
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": wanted.metadata(),
        "spec": {"selector": wanted.labels, "ports": [{"name": "http", "port": 80, "targetPort": "http1"}]},
    }
    yield {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": wanted.metadata(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": wanted.name},
            "minReplicas": wanted.own.replicas.min,
            "maxReplicas": wanted.own.replicas.max,
            "metrics": [_cores(wanted)],
        },
    }
    yield {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": wanted.metadata(),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": wanted.labels}},
    }


def _cores(wanted: Wanted) -> Object:
    target = {"type": "Utilization", "averageUtilization": wanted.own.replicas.cpu}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _spread(wanted: Wanted) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": wanted.labels},
    }
