"""Start a request in a process of this machine, and leave none behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tradewind_runtime.connections import variable
from tradewind_runtime.contract.base import digest
from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.documents import Documents

FINAL = 4
GRACE = 3.0  # seconds between SIGTERM and SIGKILL; Airflow itself waits about 5


def environment_digest(python: str) -> str:
    """What is installed beside an interpreter: names and versions of its distributions."""
    library = Path(python).parent.parent / "lib"
    names = sorted(path.name for path in library.glob("python3*/site-packages/*.dist-info"))
    return digest([path.name for path in library.glob("python3*")], names)


@dataclass
class Launch:
    """One attempt at one request."""

    request: StepRequest
    documents: Documents
    python: str
    connections: Mapping[str, str] = field(default_factory=dict, repr=False)  # id → URI or JSON
    on_line: Callable[[str], None] = print
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def path(self) -> str:
        """The request's document."""
        request = self.request
        return f"runs/{request.pipeline}/{request.run_id}/requests/{request.id}-{request.fingerprint[:12]}.json"

    def run(self) -> StepResult:
        """Do it, passing on each line that it prints, and give its result.

        Raises:
            StepError: the step's own reason, or TW590 where it ended without a result.
        """
        if (done := self.result()) is not None:
            self.on_line(f"already done by run {done.run_id}: adopting result {done.fingerprint[:12]}")
            return done
        self.documents.put(self.path, self.request.model_dump_json(indent=1).encode())
        self.documents.delete(self._error_path)
        code = self._execute()
        if (done := self.result()) is not None:
            return done
        raise self._reason(code)

    def result(self) -> StepResult | None:
        """Its result, if there is one."""
        return self.documents.get_model(self.request.result_path, StepResult)

    def stop(self) -> None:
        """End it and all that it started."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass
        _signal_group(process.pid, signal.SIGKILL)

    @property
    def _error_path(self) -> str:
        return self.path.removesuffix(".json") + ".error.json"

    def _execute(self) -> int:
        command = [self.python, "-m", "tradewind_runtime", "--lake", self.documents.root, "--request", self.path,
                   "--parent", str(os.getpid())]
        if lake := self.request.connections.get("lake"):
            command += ["--lake-connection", lake]
        # A session of its own, so that all of it can be signalled; no inherited stdin, which would
        # hold the Airflow supervisor's socket open.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True, env=self._environment())
        self._process = process
        try:
            assert process.stdout is not None
            for line in process.stdout:
                self.on_line(line.decode(errors="replace").rstrip("\n"))
            return process.wait()
        finally:
            self.stop()
            _signal_group(process.pid, signal.SIGKILL)  # whatever outlived its parent

    def _environment(self) -> dict[str, str]:
        """This process's own, without Airflow's configuration and connections, and with the named few."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
        named = {variable(id): text for id, text in self.connections.items()}
        return kept | named | {"PYTHONUNBUFFERED": "1"}

    def _reason(self, code: int) -> StepError:
        content = self.documents.get(self._error_path)
        if content is not None:
            body = json.loads(content)
            problems = tuple(Problem.model_validate(problem) for problem in body["problems"])
            error = StepError(problems[0].code, problems[0].message, retryable=body["retryable"])
            error.problems = problems
            error.args = ("\n".join(str(problem) for problem in problems),)
            return error
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        fix = "look for the kernel's out-of-memory message, or who killed it" if code == -9 else "see the log above"
        return StepError("TW590", f"step {self.request.id!r} {how} and left no result", fix=fix)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return

