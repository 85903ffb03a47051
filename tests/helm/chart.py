"""The chart, rendered as several kinds of user would."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "tradewind"
KUBERNETES = "1.34"
RELEASE, NAMESPACE = "ml", "tradewind"
#: Files of ci/, one laid over the other.
USERS = {
    "small": ("small",),
    "team": ("team",),
    "hardened": ("hardened",),
    "openshift": ("hardened", "openshift"),
}
Document = dict[str, Any]


def merged(under: Document, over: Document) -> Document:
    """As Helm does: mappings by key, all else replaced."""
    found = deepcopy(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if both else deepcopy(value)
    return found


def values(user: str) -> Document:
    """What a user gives."""
    found: Document = {}
    for name in USERS[user]:
        found = merged(found, yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text()))
    return found


def rendered(
    user: str, more: Document | None = None, *, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[Document]:
    """Kubernetes' objects."""
    return [
        document
        for text in texts(user, more, release, namespace).values()
        for document in yaml.safe_load_all(text)
        if document
    ]


def texts(
    user: str, more: Document | None = None, release: str = RELEASE, namespace: str = NAMESPACE
) -> dict[str, str]:
    """Template → what it renders; without the notes."""
    with helm_python.Chart.load(CHART) as chart:
        found = chart.render(merged(values(user), more or {}), name=release, namespace=namespace)
    return {name: text for name, text in found.items() if name.endswith(".yaml")}


@lru_cache
def usual(user: str) -> tuple[Document, ...]:
    """A user's objects, with nothing besides; not to be changed."""
    return tuple(rendered(user))


def checked(given: Document) -> None:
    """By the schema, over the chart's own values."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(given))


def of_kind(documents: Any, kind: str, namespace: str = NAMESPACE) -> dict[str, Document]:
    """Objects of one namespace, by name."""
    return {
        document["metadata"]["name"]: document
        for document in documents
        if document["kind"] == kind and document["metadata"].get("namespace", NAMESPACE) == namespace
    }


def pods(documents: Any) -> dict[str, Document]:
    """Every pod or its template, by namespace and name."""
    found = {}
    for document in documents:
        where = f"{document['metadata'].get('namespace', NAMESPACE)}/{document['metadata']['name']}"
        if document["kind"] in {"Deployment", "StatefulSet"}:
            found[where] = document["spec"]["template"]
        elif document["kind"] == "Pod":
            found[where] = document
    return found


def containers(pod: Document) -> list[Document]:
    """All of a pod."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
