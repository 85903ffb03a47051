"""Do one request: adopt its result if there is one, else run the step and create it."""

from __future__ import annotations

import importlib
import io
import logging
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tradewind_runtime.checkpoints import Checkpoints, checkpoints_path
from tradewind_runtime.connections import connection
from tradewind_runtime.context import Notes, StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.lake import Lake
from tradewind_runtime.launchers.exchange import Exchange

log = logging.getLogger("tradewind")


def open_lake(request: StepRequest) -> Lake:
    """The lake that a request names, by its connection where it has one."""
    id = request.connections.get("lake")
    return Lake(request.lake, connection(id) if id else None)


def execute(request: StepRequest) -> StepResult:
    """The result of a request, new or adopted.

    Raises:
        StepError: where the step fails for a known reason; anything else is a bug of step or user code.
    """
    lake = open_lake(request)
    exchange = Exchange(request, lake.documents)
    if (done := exchange.result()) is not None:
        log.info("already done by run %s: adopting result %s", done.run_id, done.fingerprint[:12])
        _clear(request, lake)
        return done
    step = importlib.import_module(f"tradewind_runtime.steps.{request.step}")
    started = datetime.now(UTC)
    with opened(request, lake) as context, _linked(context.notes):
        outcome = step.run(context)
    noted = {"facts": context.notes.facts | outcome.facts, "links": context.notes.links | outcome.links}
    result = StepResult(
        **dict(outcome) | noted,
        fingerprint=request.fingerprint,
        step=request.step,
        id=request.id,
        pipeline=request.pipeline,
        run_id=request.run_id,
        started=started,
        finished=datetime.now(UTC),
    )
    created = lake.documents.create_model(request.result_path, result)
    _clear(request, lake)
    if created:
        return result
    if (adopted := exchange.result()) is not None:
        log.info("another attempt was first: adopting its result")
        return adopted
    lake.documents.put(request.result_path, result.model_dump_json(by_alias=True, indent=1).encode())
    return result


@contextmanager
def opened(request: StepRequest, lake: Lake) -> Iterator[StepContext]:
    """What a step is given, for as long as it runs."""
    with _scratch() as scratch, _user_code(request, lake, scratch) as code:
        yield StepContext(request, lake, scratch / "work", code)


@contextmanager
def _linked(notes: Notes) -> Iterator[None]:
    """Where the step fails, what there is to look at goes with the reason."""
    try:
        yield
    except StepError as error:
        if notes.links:
            error.problems = tuple(
                problem.model_copy(update={"links": notes.links | (problem.links or {})}) for problem in error.problems
            )
        raise


def _clear(request: StepRequest, lake: Lake) -> None:
    """What a training kept to go on from is of no use once there is a result."""
    if request.step in {"train", "trial"}:
        Checkpoints(lake.documents, checkpoints_path(request.fingerprint)).clear()


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tradewind-"))
    (folder / "work").mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _user_code(request: StepRequest, lake: Lake, scratch: Path) -> Iterator[Path | None]:
    """Unpack the run's archive of user code and put its include/models in front of the import path."""
    if request.code is None:
        yield None
        return
    content = lake.documents.get(f"code/{request.code.archive}.tar.gz")
    if content is None:
        raise StepError("TW530", f"user code {request.code.archive[:12]} is not in the lake", fix="run the task again")
    root = scratch / "code"
    unpack(content, root)
    path = str(root / "include" / "models")
    sys.path.insert(0, path)
    try:
        yield root
    finally:
        sys.path.remove(path)
        forget(root)


def unpack(content: bytes, root: Path) -> None:
    """Plain files below a folder and nothing else. By hand: `extractall` has filters only since Python 3.11.4.

    Raises:
        StepError: TW530 where the archive would write elsewhere.
    """
    root.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            path = root / member.name
            if not member.isfile() or not path.resolve().is_relative_to(root.resolve()):
                raise StepError("TW530", f"{member.name!r} is no plain file of the user code", retryable=False)
            file = archive.extractfile(member)
            assert file is not None, "a plain file has content"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read())


def forget(root: Path) -> None:
    """A warm worker's next request has its own code, in its own folder: modules of this one must not answer."""
    own = f"{root}{os.sep}"
    for name, module in tuple(sys.modules.items()):
        path = getattr(module, "__path__", None)  # torch has modules of which it is anything
        places = [getattr(module, "__file__", None), *(path if isinstance(path, Iterable) else ())]
        if any(isinstance(place, str) and place.startswith(own) for place in places):
            del sys.modules[name]
    importlib.invalidate_caches()
