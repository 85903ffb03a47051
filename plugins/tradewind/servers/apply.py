"""Puts a server's objects on the cluster: server-side apply, so that the same again changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from kubernetes.client import ApiException  # type: ignore[import-untyped]
from kubernetes.dynamic import DynamicClient  # type: ignore[import-untyped]
from kubernetes.dynamic.exceptions import ResourceNotFoundError  # type: ignore[import-untyped]

from tradewind.pods.refusals import said
from tradewind.servers import KINDS, Wanted
from tradewind_runtime.contract.errors import StepError

MANAGER = "tradewind"


def apply(wanted: Wanted) -> Iterator[str]:
    """Each object, as `Kind name` once it is there.

    Raises:
        StepError: TW601 where the cluster does not know such objects, or would not take one.
    """
    with TemporaryDirectory() as folder:
        # Not what the client keeps in a place that all share, from when the cluster had other kinds.
        known = str(Path(folder) / "kinds")
        client = DynamicClient(KubernetesHook(conn_id=wanted.settings.connection).get_conn(), cache_file=known)
        yield from _applied(wanted, client)


def _applied(wanted: Wanted, client: DynamicClient) -> Iterator[str]:
    for body in KINDS[wanted.own.kind](wanted):
        kind, name = body["kind"], body["metadata"]["name"]
        try:
            resource = client.resources.get(api_version=body["apiVersion"], kind=kind)
            resource.server_side_apply(
                body=body, namespace=wanted.settings.namespace, field_manager=MANAGER, force_conflicts=True
            )
        except ResourceNotFoundError as error:
            raise StepError(
                "TW601", f"the cluster has no {kind}", retryable=False,
                fix="install KServe, or serving: {own: {kind: deployment}} of the profile",
            ) from error  # fmt: skip
        except ApiException as error:
            raise StepError(
                "TW601", f"Kubernetes would not take the {kind} {name}", got=f"{error.status} {said(error)}",
                retryable=int(error.status or 0) >= 500,
                fix="mend what it names; `launcherServers` of the chart gives Airflow the rights",
            ) from error  # fmt: skip
        yield f"{kind} {name}"
