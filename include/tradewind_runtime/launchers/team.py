"""A step and its companions: they are started, told by a document of the lake whom to call, and heard on lines."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.companions import RESTARTS, Companions, companions
from tradewind_runtime.launchers.lines import Line, Switchboard, call

Role = Literal["rank", "trials"]


class Post(Frozen):
    """What companions are told. The key opens a line to the step, so it is in the lake alone and goes with the step."""

    role: Role
    request: StepRequest
    host: str
    port: int
    key: str
    preload: tuple[str, ...] = ()

    def call(self, index: int) -> Line:
        """A line to the step."""
        return call(self.host, self.port, bytes.fromhex(self.key), index)


@dataclass
class Team:
    """Companions from the first word to the last.

    Args:
        request: of the step.
        documents: of the lake.
        role: what they are for.
        count: how many.
        preload: modules that they import first.
        restarts: of each.
        make: of pods, or of processes.
    """

    request: StepRequest
    documents: Documents
    role: Role
    count: int
    preload: tuple[str, ...] = ()
    restarts: int = RESTARTS
    make: Callable[[], Companions] = companions
    companions: Companions = field(init=False)
    switchboard: Switchboard = field(init=False)
    _open: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _began: float = field(default=0.0, init=False)

    def __enter__(self) -> Self:
        self.companions = self.make()
        self.switchboard = self._open.enter_context(Switchboard(self.companions.host))
        where = f"runs/{self.request.pipeline}/{self.request.run_id}/companions"
        path = f"{where}/{self.request.id}-{secrets.token_hex(6)}.json"
        post = Post(
            role=self.role, request=self.request, host=self.companions.host, port=self.switchboard.port,
            key=self.switchboard.key.hex(), preload=self.preload,
        )  # fmt: skip
        self._open.callback(self.documents.delete, path)
        self.documents.create_model(path, post)
        self._open.callback(self.companions.stop)
        self._began = time.monotonic()
        self.companions.start(_words(self.request, path), self.count, restarts=self.restarts)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def waited(self) -> float:
        """Seconds since they were started."""
        return time.monotonic() - self._began

    def late(self, here: int) -> StepError:
        """That they did not come."""
        return StepError(
            "TW589", f"{self.count - here} of {self.count} companions of step {self.request.id!r} did not come",
            got=self.companions.missing(), expected=f"their calls within {self.patience:.0f} s",
            fix="room for as many pods at once; companions_timeout in the profile's settings says how long to wait",
            docs="guides/cluster.md",
        )  # fmt: skip

    @property
    def patience(self) -> float:
        """Seconds that they may take to come."""
        return float(self.request.settings.get("companions_timeout", 600))


def _words(request: StepRequest, path: str) -> list[str]:
    lake = request.connections.get("lake")
    return ["--lake", request.lake, "--post", path, *(["--lake-connection", lake] if lake else [])]


def threads_of(request: StepRequest) -> int:
    """That one worker may use: the profile's, else what its pod was given."""
    return int(request.settings.get("threads") or os.environ.get("OMP_NUM_THREADS") or 1)
