"""A fragment of a pod's spec, laid over the one that was made, and what it must leave as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.resources import checked_folder, checked_variable
from tradewind_runtime.launchers.pod.settings import PodSettings
from tradewind_runtime.launchers.pod.standard import Spec, broken, containers, misshapen

#: Lists whose items are told apart by a key, as in Kubernetes' strategic merge; other lists are replaced.
_MERGED_BY = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
#: Of the pod and of the step's container: the plan and the profile say these.
_POD = (
    "serviceAccountName", "serviceAccount", "automountServiceAccountToken", "restartPolicy", "activeDeadlineSeconds",
    "nodeName", "ephemeralContainers", "enableServiceLinks",
)  # fmt: skip
_STEP = (
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "terminationMessagePath",
    "terminationMessagePolicy",
)
#: Where a Secret, a claim or a ConfigMap is named.
_SECRET = ("secretKeyRef", "secretRef", "secret", "nodePublishSecretRef")
_CLAIM = ("persistentVolumeClaim",)
_CONFIG_MAP = ("configMapKeyRef", "configMapRef", "configMap")


def overridden(made: Spec, fragment: Spec, settings: PodSettings) -> Spec:
    """The spec with the fragment merged in, the step's container first.

    Raises:
        StepError: TW164 where it is no longer the step's, or no longer restricted.
    """
    spec: Spec = merged(made, fragment)
    reasons = list(dict.fromkeys(_reasons(made, fragment, spec, settings)))
    if reasons:
        raise StepError(
            "TW164", f"with its pod_override the pod is not one that may run: {'; '.join(reasons)}", retryable=False,
            path="resources.pod_override",
            expected="a part of a pod's spec that keeps the restricted Pod Security Standard and what the step is",
        )  # fmt: skip
    return spec


def merged(under: Any, over: Any, key: str = "") -> Any:
    """As Kubernetes merges strategically: mappings by key, known lists by item, null removes."""
    if isinstance(under, dict) and isinstance(over, dict):
        found = {name: value for name, value in under.items() if name not in over}
        for name, value in over.items():
            if value is not None:
                found[name] = merged(under.get(name), value, name)
        return found
    by = _MERGED_BY.get(key)
    if by and _keyed(under, by) and _keyed(over, by):
        items = {item[by]: item for item in under}
        for item in over:
            items[item[by]] = merged(items.get(item[by]), item)
        return list(items.values())
    return over


def _keyed(value: Any, by: str) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get(by), str | int) for one in value
    )


def _reasons(made: Spec, fragment: Spec, spec: Spec, settings: PodSettings) -> Iterator[str]:
    if whole := sorted({"apiVersion", "kind", "metadata", "spec", "status"} & set(fragment)):
        yield f"{whole[0]} is not of a pod's spec: name and labels are the step's, and the namespace is the profile's"
    if "$" in "".join(_keys(fragment)):
        yield "$patch and its like are not understood"
    if shape := list(misshapen(spec)):
        yield from shape  # nothing else can be said of it
        return
    yield from broken(spec)
    yield from _ours(made, spec)
    yield from _closed(made, spec, settings)


def _ours(made: Spec, spec: Spec) -> Iterator[str]:
    """What the step needs to be the step."""
    yield from (f"{key} is not to be changed" for key in _POD if spec.get(key) != made.get(key))
    if str(spec.get("priorityClassName", "")).startswith("system-"):
        yield "a priority of Kubernetes' own pods"
    if changed := _missing(made.get("nodeSelector", {}).items(), spec.get("nodeSelector", {}).items()):
        yield f"nodeSelector {changed[0][0]} is not to be changed"
    yield from (f"volume {one['name']} is not to be changed" for one in _missing(made["volumes"], spec["volumes"]))
    was, step = made["containers"][0], spec["containers"][0]
    yield from (f"{key} of the step's container is not to be changed" for key in _STEP if step.get(key) != was.get(key))
    variables, mounts = step.get("env", []), step.get("volumeMounts", [])
    yield from (f"variable {one['name']} is not to be changed" for one in _missing(was["env"], variables))
    yield from (f"what is at {one['mountPath']} is not to be changed" for one in _missing(was["volumeMounts"], mounts))
    for one in _missing(variables, was["env"]):
        yield from _refused(checked_variable, one.get("name"))
    for one in _missing(mounts, was["volumeMounts"]):
        yield from _refused(checked_folder, one.get("mountPath"))


def _closed(made: Spec, spec: Spec, settings: PodSettings) -> Iterator[str]:
    """What the profile allows a YAML to name, also in this way."""
    step = made["containers"][0]["image"]
    for one in containers(spec):
        if (image := one.get("image")) != step and not settings.allows_image(str(image)):
            yield f"the profile does not allow the image {image!r}"
    for what, keys, allows in (
        ("Secret", _SECRET, settings.allows_secret),
        ("claim", _CLAIM, settings.allows_claim),
        ("ConfigMap", _CONFIG_MAP, settings.allows_config_map),
    ):
        new = _named(spec, keys) - _named(made, keys)
        names = sorted({name for name, _ in new})
        yield from (f"the profile does not allow the {what} {name!r}" for name in names if not allows(name))
    pulls = _missing(spec.get("imagePullSecrets", []), made.get("imagePullSecrets", []))
    yield from (f"the profile does not name the Secret {one.get('name')!r} for images" for one in pulls)


def _named(node: Any, keys: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """Every object that is named below a key, at any depth, and what of it is asked for."""
    if isinstance(node, list):
        return frozenset().union(*(_named(one, keys) for one in node))
    if not isinstance(node, dict):
        return frozenset()
    own = {
        (str(value[field]), json.dumps(value, sort_keys=True))
        for key, value in node.items()
        if key in keys and isinstance(value, dict)
        for field in ("name", "secretName", "claimName")
        if field in value
    }
    return frozenset(own).union(*(_named(one, keys) for one in node.values()))


def _keys(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from map(str, node)
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _keys(one)


def _missing(items: Any, among: Any) -> list[Any]:
    there = list(among)
    return [one for one in items if one not in there]


def _refused(check: Any, value: Any) -> Iterator[str]:
    try:
        check(str(value))
    except ValueError as error:
        yield str(error)
