"""Where versions of models are listed: one module a registry. It holds the pointer; the lake holds the model."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from tradewind_runtime.contract.errors import StepError

# MLflow reads these when it is imported, and its module here is imported after this one: it calls nobody, and a
# server that is down is told in seconds.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}.items():
    os.environ.setdefault(_name, _value)

REGISTRIES = ("mlflow",)
CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class Version:
    """One version of a model."""

    model: str
    version: str
    digest: str
    aliases: tuple[str, ...] = ()
    created: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None
    experiment: str | None = None  # the run's, by the registry's own id


@dataclass(frozen=True)
class Registration:
    """What a new version is to carry."""

    model: str
    digest: str
    experiment: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)  # file name → content, kept with the run
    columns: Mapping[str, str] = field(default_factory=dict)  # the signature: feature → Arrow type
    example: tuple[Mapping[str, Any], ...] = ()
    challenger: bool = False  # whether it passed the gate


class Registry(Protocol):
    """What a module of this package offers. `uri` is the registry's address."""

    def champion(self, uri: str, model: str) -> tuple[str, str] | None:
        """Digest and version of the champion."""

    def challenger(self, uri: str, model: str) -> tuple[str, str] | None:
        """Digest and version of the challenger."""

    def versions(self, uri: str, model: str) -> list[Version]:
        """All versions, newest first."""

    def models(self, uri: str) -> list[str]:
        """Names of all models."""

    def register(self, uri: str, wanted: Registration) -> tuple[Version, bool]:
        """The version of that digest, and whether it was made now. Twice is as once."""

    def promote(self, uri: str, model: str, version: str) -> Version:
        """Make a version the champion. Twice is as once."""


def registry(name: str) -> Registry:
    """A registry's module.

    Raises:
        StepError: TW570 where there is none of that name.
    """
    if name not in REGISTRIES:
        raise StepError("TW570", f"there is no registry {name!r}", retryable=False, expected=", ".join(REGISTRIES))
    return cast("Registry", importlib.import_module(f"tradewind_runtime.registries.{name}"))
