"""A Kubernetes API on the loopback, as far as model servers need it: objects as they were applied, and pods."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers.loopback import JsonHandler, served, write_kubeconfig

Object = dict[str, Any]
#: Plural → kind, by group and version.
KNOWN = {
    "v1": {"services": "Service", "pods": "Pod"},
    "apps/v1": {"deployments": "Deployment"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "serving.kserve.io/v1beta1": {"inferenceservices": "InferenceService"},
}
_ONE = re.compile(r"/apis?/(?P<group>.+)/namespaces/[^/]+/(?P<plural>[a-z]+)/(?P<name>[^/]+)$")


@dataclass
class Api:
    """What is on the cluster.

    Args:
        folder: where its kubeconfig lies.
        objects: by plural and name.
        pods: all that any selector finds.
        applied: kind and name, one for each time.
        refusal: of whatever is applied: status and message.
        denied: plurals that may not be read.
    """

    folder: Path
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    pods: list[Object] = field(default_factory=list)
    applied: list[tuple[str, str]] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    denied: set[str] = field(default_factory=set)

    def says(self, plural: str, name: str, *conditions: Object) -> None:
        """A controller tells of an object."""
        self.objects.setdefault((plural, name), {})["status"] = {"conditions": list(conditions)}

    @property
    def connection(self) -> str:
        """Airflow's, of this cluster."""
        extra = {"kube_config": (self.folder / "kubeconfig").read_text()}
        return json.dumps({"conn_type": "kubernetes", "extra": extra})

    def get(self, path: str) -> tuple[int, Object]:
        if path in {"/version", "/api"}:
            return 200, {"major": "1", "minor": "34", "versions": ["v1"]}
        if path == "/apis":
            return 200, {"kind": "APIGroupList", "groups": [_group(one) for one in KNOWN if "/" in one]}
        if (found := _ONE.match(path)) is not None:
            one = self.objects.get((found["plural"], found["name"]))
            if found["plural"] in self.denied:
                return _status(403, f"{found['plural']} is forbidden")
            return (200, one) if one is not None else _status(404, f'{found["name"]} "not found"')
        if path.endswith("/pods"):
            return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [*map(_whole, self.pods)]}
        if path.endswith("/events"):
            return 200, {"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []}
        name = path.removeprefix("/apis/").removeprefix("/api/")
        if name not in KNOWN:
            return _status(404, path)
        verbs = {"namespaced": True, "verbs": ["get", "patch"]}
        resources = [{"name": plural, "kind": kind} | verbs for plural, kind in KNOWN[name].items()]
        return 200, {"kind": "APIResourceList", "groupVersion": name, "resources": resources}

    def patch(self, path: str, body: Object) -> tuple[int, Object]:
        found = _ONE.match(path)
        assert found is not None, path
        if self.refusal is not None:
            return _status(*self.refusal)
        self.applied.append((body["kind"], found["name"]))
        self.objects[found["plural"], found["name"]] = body
        return 200, body


def _whole(pod: Object) -> Object:
    """With what each real one has, and the client asks for."""
    common = {"image": "i", "imageID": "i", "restartCount": 0, "ready": False}
    statuses = [common | one for one in pod["status"].get("containerStatuses") or ()]
    for one in statuses:
        if not (one.get("lastState") or {}).get("terminated"):
            one.pop("lastState", None)
    return pod | {"status": pod["status"] | {"containerStatuses": statuses}}


def _group(name: str) -> Object:
    group, _, version = name.partition("/")
    one = {"groupVersion": name, "version": version}
    return {"name": group, "versions": [one], "preferredVersion": one}


def _status(code: int, message: str) -> tuple[int, Object]:
    return code, {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


class _Handler(JsonHandler):
    api: Api

    def do_GET(self) -> None:
        self.say(*self.api.get(urlsplit(self.path).path))

    def do_PATCH(self) -> None:
        assert self.headers["Content-Type"] == "application/apply-patch+yaml"
        self.say(*self.api.patch(urlsplit(self.path).path, self.body()))


@contextmanager
def opened(folder: Path) -> Iterator[Api]:
    """One on a free port, with a kubeconfig that names it."""
    found = Api(folder)
    with served(_Handler, api=found) as address:
        write_kubeconfig(folder, address)
        yield found
