"""A client of the profile's cluster without Airflow: for whoever types `tradewind doctor`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config  # type: ignore[import-untyped]
from kubernetes.client import ApiClient, Configuration  # type: ignore[import-untyped]

from tradewind_runtime.connections import Connection, variable
from tradewind_runtime.contract.errors import Problem, TradewindError
from tradewind_runtime.launchers.pod import PodSettings

_OLD = "extra__kubernetes__"  # Airflow's own prefix, in connections that an early version made


def client_of(settings: PodSettings, kubeconfig: Path | None) -> tuple[ApiClient, str]:
    """A client, and where it is from: the file that is named, else the first of the usual places that has one.

    Raises:
        TradewindError: TW575 with what was tried.
    """
    tried = []
    for place, make in _places(settings, kubeconfig):
        try:
            return make(), place
        except (config.ConfigException, OSError, KeyError, ValueError, yaml.YAMLError) as error:
            tried.append(f"{place}: {' '.join(str(error).split())[:200]}")
    raise TradewindError(
        Problem(
            code="TW575",
            message="there is no way to the cluster from here",
            path="kubernetes.connection",
            got="; ".join(tried),
            expected="a kubeconfig, or the connection's text",
            fix="--kubeconfig FILE",
        )
    )


def _places(settings: PodSettings, kubeconfig: Path | None) -> Iterator[tuple[str, Callable[[], ApiClient]]]:
    if kubeconfig is not None:
        yield str(kubeconfig), lambda: config.new_client_from_config(str(kubeconfig))
        return
    if settings.connection:
        named = variable(settings.connection)
        yield named, lambda: _by_connection(Connection.parse(str(settings.connection), os.environ[named]))
    yield "the cluster that this runs in", _in_cluster
    usual = os.environ.get("KUBECONFIG") or "~/.kube/config"
    yield usual, lambda: config.new_client_from_config(os.path.expanduser(usual))


def _by_connection(connection: Connection) -> ApiClient:
    extra: dict[str, Any] = {key.removeprefix(_OLD): value for key, value in connection.extra.items()}
    if extra.get("in_cluster"):
        return _in_cluster()
    context = extra.get("cluster_context") or None
    if path := extra.get("kube_config_path"):
        return config.new_client_from_config(str(path), context=context)
    body = extra["kube_config"]
    return config.new_client_from_config_dict(json.loads(body) if isinstance(body, str) else body, context=context)


def _in_cluster() -> ApiClient:
    settings = Configuration()
    config.load_incluster_config(client_configuration=settings)
    return ApiClient(settings)
