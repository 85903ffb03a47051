"""Asks a cluster, before anything expensive, whether it will have a plan's pods and what they need.

The surest question is a dry run: Kubernetes does with a pod all that it would do (rights, admission, quota, service
account), and keeps nothing. What that does not tell is looked up, where one may look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kubernetes.client import (  # type: ignore[import-untyped]
    ApiClient,
    ApiException,
    AuthenticationV1Api,
    AuthorizationV1Api,
    CoreV1Api,
)
from urllib3.exceptions import HTTPError

from tradewind.pods.capacity import lacking
from tradewind.pods.probes import Object, Probe
from tradewind.pods.refusals import problem_of, said
from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.launchers.pod import PodSettings

PATIENCE = 10  # seconds for one answer
#: Of Airflow's account: resource, subresource, verbs.
RIGHTS = (
    ("pods", "", ("create", "get", "list", "watch", "patch", "delete")),
    ("pods", "log", ("get",)),
    ("events", "", ("list",)),
)


@dataclass(frozen=True)
class Checked:
    """What one check found; what is wrong, and as warnings what could not be seen."""

    what: str
    found: str
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Without what only may go wrong."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


class UnseenError(Exception):
    """There is no right to look."""


@dataclass(frozen=True)
class Preflight:
    """One namespace, and the pods that are to run there.

    Args:
        client: of the cluster.
        settings: the profile's.
        probes: the pods.
        profile: the profile's file.
    """

    client: ApiClient
    settings: PodSettings
    probes: Sequence[Probe]
    profile: str
    core: CoreV1Api = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "core", CoreV1Api(self.client))

    def checks(self) -> Iterator[Checked]:
        """Each in its turn; without the namespace, no more than that.

        Raises:
            StepError: TW575 where the cluster gives no answer.
        """
        try:
            namespace = self._named("namespace", self.settings.namespace, self._namespace())
            yield namespace
            if namespace.errors:
                return
            rights = self._named("rights", f"{self._account()} may start, watch and end pods", self._rights())
            yield rights
            if not rights.errors:
                yield self._named("pods", f"{len(self.probes)} would be taken", self._dry_runs())
            yield self._named("secrets, claims", self._things(), self._references())
            if not self.settings.autoscaled:  # else the node may be one that is not there yet
                yield self._named("nodes", "each pod fits on one", self._nodes())
        except (HTTPError, OSError) as error:
            raise _no_answer(str(error)) from error
        except ApiException as error:
            raise _no_answer(f"{error.status} {said(error)}") from error

    def _named(self, what: str, found: str, problems: Iterator[Problem]) -> Checked:
        try:
            checked = Checked(what, found, tuple(dict.fromkeys(problems)))
        except UnseenError as error:
            return Checked(what, "not looked at", (self._unseen(str(error)),))
        return replace(checked, found="") if checked.errors else checked

    def _unseen(self, what: str) -> Problem:
        return Problem(
            code="TW576", severity="warning", message=f"{what} cannot be looked at: no right to", file=self.profile,
            path="kubernetes.connection", fix="`tradewind doctor` with the kubeconfig of one who may",
        )  # fmt: skip

    def _namespace(self) -> Iterator[Problem]:
        name = self.settings.namespace
        try:
            if self._read(self.core.read_namespace, "namespaces", name) is None:
                yield Problem(
                    code="TW575", message=f"the cluster has no namespace {name!r}", file=self.profile,
                    path="kubernetes.namespace", got=name, fix=f"kubectl create namespace {name}",
                )  # fmt: skip
        except UnseenError:
            return  # the dry run will tell

    def _account(self) -> str:
        try:
            review = AuthenticationV1Api(self.client).create_self_subject_review(
                {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, _request_timeout=PATIENCE
            )
            return str(review.status.user_info.username)
        except ApiException:  # Kubernetes before 1.28
            return "this account"

    def _rights(self) -> Iterator[Problem]:
        lacking = [
            f"{verb} {resource}{sub and '/'}{sub}"
            for resource, sub, verbs in RIGHTS for verb in verbs if not self._may(verb, resource, sub)
        ]  # fmt: skip
        if lacking:
            yield Problem(
                code="TW576",
                message=f"{self._account()} may not do in the namespace {self.settings.namespace!r} what Airflow must",
                file=self.profile, path="kubernetes.connection", got=f"no right to {', '.join(lacking)}",
                expected="the chart's role for launchers", fix="name Airflow's accounts in launchers: of the chart",
            )  # fmt: skip

    def _may(self, verb: str, resource: str, sub: str) -> bool:
        asked = {"namespace": self.settings.namespace, "verb": verb, "resource": resource, "subresource": sub}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": asked}}  # fmt: skip
        review = AuthorizationV1Api(self.client).create_self_subject_access_review(body, _request_timeout=PATIENCE)
        return bool(review.status.allowed)

    def _dry_runs(self) -> Iterator[Problem]:
        for probe in self.probes:
            try:
                self.core.create_namespaced_pod(
                    self.settings.namespace, probe.pod, dry_run="All", _request_timeout=PATIENCE
                )
            except ApiException as error:
                if (problem := problem_of(probe, int(error.status or 0), said(error))) is not None:
                    yield problem

    def _things(self) -> str:
        names = {reference.name for probe in self.probes for reference, _, _ in probe.references()}
        return ", ".join(sorted(names)) or "none asked for"

    def _references(self) -> Iterator[Problem]:
        """Each is read once, whoever needs which of its keys."""
        needed: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
        for probe in self.probes:
            for one, file, path in probe.references():
                needed.setdefault((one.kind, one.name), {}).setdefault(one.key or "", (file, path))
        unseen = set()
        for (kind, name), keys in needed.items():
            try:
                yield from self._missing(kind, name, keys)
            except UnseenError as error:
                unseen.add(str(error))
        if unseen:
            yield self._unseen(" and ".join(sorted(unseen)))

    def _missing(self, kind: str, name: str, keys: dict[str, tuple[str, str]]) -> Iterator[Problem]:
        readers: dict[str, Callable[..., Any]] = {
            "Secret": self.core.read_namespaced_secret,
            "ConfigMap": self.core.read_namespaced_config_map,
            "PersistentVolumeClaim": self.core.read_namespaced_persistent_volume_claim,
        }
        namespace, (file, path) = self.settings.namespace, next(iter(keys.values()))
        there = self._read(readers[kind], f"{kind}s", name, namespace)
        if there is None:
            literals = "".join(f" --from-literal={key}=…" for key in keys if key)
            fix = f"kubectl create secret generic {name} --namespace {namespace}{literals}"
            yield Problem(
                code="TW577", message=f"the namespace {namespace!r} has no {kind} {name!r}", file=file, path=path,
                got=name, fix=fix if kind == "Secret" and literals else "make it, or name another",
            )  # fmt: skip
            return
        if (there.get("status") or {}).get("phase") == "Lost":
            yield Problem(
                code="TW577", message=f"the volume of the claim {name!r} is lost", file=file, path=path, got="Lost",
                fix="restore it, or make the claim anew",
            )  # fmt: skip
        has = sorted({*(there.get("data") or {}), *(there.get("binaryData") or {})})
        for key, (file, path) in keys.items():
            if key and key not in has:
                yield Problem(
                    code="TW577", message=f"the {kind} {name!r} has no key {key!r}", file=file, path=path,
                    got=", ".join(has) or "no keys", fix=f"add the key, or name the one that holds it: {name}/KEY",
                )  # fmt: skip

    def _nodes(self) -> Iterator[Problem]:
        nodes = self._read(self.core.list_node, "nodes")
        for probe in self.probes:
            reason = lacking(probe.pod, (nodes or {}).get("items", ()))
            if reason is not None:
                file, path = probe.resources_at()
                yield Problem(
                    code="TW578", message=f"no node could have {probe.name}: {reason}", file=file, path=path,
                    got=_asked(probe), fix="ask for less, or add such a node (autoscaled: true where nodes come)",
                )  # fmt: skip

    def _read(self, read: Callable[..., Any], what: str, *names: str) -> Object | None:
        """In the API's own form; None where there is none."""
        try:
            found: Object = self.client.sanitize_for_serialization(read(*names, _request_timeout=PATIENCE))
        except ApiException as error:
            if error.status == 404:
                return None
            if error.status == 403:
                raise UnseenError(what) from error
            raise
        return found


def _asked(probe: Probe) -> str:
    return ", ".join(f"{name} {amount}" for name, amount in probe.container["resources"]["requests"].items())


def _no_answer(why: str) -> StepError:
    return StepError(
        "TW575", f"Kubernetes' API gives no answer: {' '.join(why.split())[:300]}",
        fix="is the address right, the token still valid, the network open? the profile's kubernetes.connection",
    )  # fmt: skip
