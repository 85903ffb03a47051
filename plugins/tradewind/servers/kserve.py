"""A server as KServe's InferenceService, whose predictor is our own image: a canary is split in each replica."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.servers.parts import Object, Wanted

CONTAINER = "kserve-container"  # by this name KServe knows it


def objects(wanted: Wanted) -> Iterator[Object]:
    """One."""
    replicas = wanted.own.replicas
    yield {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": wanted.metadata(),
        "spec": {
            "predictor": {
                "minReplicas": replicas.min,
                "maxReplicas": replicas.max,
                "scaleMetric": "cpu",
                "scaleTarget": replicas.cpu,
                "labels": wanted.labels | wanted.revision,
                **wanted.pod(CONTAINER),
            },
        },
    }
