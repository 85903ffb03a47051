"""Start a request in a process of this machine, and leave none behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tradewind_runtime.connections import variable
from tradewind_runtime.contract.base import digest
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.exchange import Exchange, arguments

FINAL = 4
LOOK = 0.2  # seconds between two looks whether the step has ended, where it prints nothing
GRACE = 3.0  # seconds between SIGTERM and SIGKILL; Airflow itself waits about 5


def environment_digest(python: str) -> str:
    """What is installed beside an interpreter: names and versions of its distributions."""
    library = Path(python).parent.parent / "lib"
    names = sorted(path.name for path in library.glob("python3*/site-packages/*.dist-info"))
    return digest([path.name for path in library.glob("python3*")], names)


@dataclass
class Launch:
    """One attempt at one request.

    Args:
        request: what is to be done.
        documents: where it and its result lie.
        python: the interpreter that does it.
        connections: that it is given; id → URI or JSON.
        on_line: told of each line that it prints.
        parent: of this process, where it is who waits for the result: when it has gone, the step is stopped.
    """

    request: StepRequest
    documents: Documents
    python: str
    connections: Mapping[str, str] = field(default_factory=dict, repr=False)
    on_line: Callable[[str], None] = print
    parent: int | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def exchange(self) -> Exchange:
        """Its documents in the lake."""
        return Exchange(self.request, self.documents)

    def run(self) -> StepResult:
        """Do it, passing on each line that it prints, and give its result.

        Raises:
            StepError: the step's own reason, or TW590 where it ended without a result.
        """
        if (done := self.result()) is not None:
            self.on_line(f"already done by run {done.run_id}: adopting result {done.fingerprint[:12]}")
            return done
        self.exchange.begin()
        # What a killed step cannot remove goes with its attempt.
        with tempfile.TemporaryDirectory(prefix="tradewind-", ignore_cleanup_errors=True) as scratch:
            code = self._execute(scratch)
        if (done := self.result()) is not None:
            return done
        raise self._reason(code)

    def result(self) -> StepResult | None:
        """Its result, if there is one."""
        return self.exchange.result()

    def stop(self) -> None:
        """End it and all that it started."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        _signal_group(process.pid, signal.SIGKILL)

    def _execute(self, scratch: str) -> int:
        command = [self.python, "-m", "tradewind_runtime", *arguments(self.request), "--parent", str(os.getpid())]
        # A session of its own, so that all of it can be signalled; no inherited stdin, which would
        # hold the Airflow supervisor's socket open.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=self._environment() | {"TMPDIR": scratch},
        )
        self._process = process
        try:
            for line in _lines(process, self._wanted):
                self.on_line(line.decode(errors="replace"))
            return process.wait()
        finally:
            self.stop()
            _signal_group(process.pid, signal.SIGKILL)  # whatever outlived its parent

    def _wanted(self) -> None:
        if self.parent is not None and os.getppid() != self.parent:
            raise StepError("TW590", "the process that waited for this step has gone")

    def _environment(self) -> dict[str, str]:
        """The environment of this process, without Airflow's configuration and connections, and with the named few."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
        named = {variable(id): text for id, text in self.connections.items()}
        return kept | named | {"PYTHONUNBUFFERED": "1"}

    def _reason(self, code: int) -> StepError:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        fix = "look for the kernel's out-of-memory message, or who killed it" if code == -9 else "see the log above"
        return self.exchange.reason(how, fix=fix)


def _lines(process: subprocess.Popen[bytes], look: Callable[[], None]) -> Iterator[bytes]:
    """Each that it prints, to its end: a process that it has started may hold the same pipe for longer.

    Where it prints nothing for a while, `look` is called from time to time.
    """
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            look()
            ended = process.poll() is not None  # asked first: by now it has printed all that it will
            if selector.select(0 if ended else LOOK):
                if not (read := os.read(process.stdout.fileno(), 1 << 16)):
                    break
                *lines, rest = (rest + read).split(b"\n")
                yield from lines
            elif ended:
                break
    if rest:
        yield rest


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
