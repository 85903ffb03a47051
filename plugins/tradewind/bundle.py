"""A DAG bundle of YAML files: Airflow sees one versioned folder of compiled stubs."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle

from tradewind.compiler import compile_project, inputs, same_files, signature, version_of
from tradewind.git import history_of
from tradewind.profile import load_profile

log = logging.getLogger(__name__)


class PipelineBundle(BaseDagBundle):
    """`dags/pipelines` of a project's folder, compiled.

    A version is the digest of all that decides the stubs; it is compiled once, under the bundle's
    lock, into a folder that appears whole. Old versions stay: running and cleared runs are on theirs.

    Args:
        path: the project.
        profile: where steps run; TRADEWIND_PROFILE, else `local`.
    """

    supports_versioning = True

    def __init__(self, *, path: str, profile: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = Path(path)
        self.profile = profile or os.environ.get("TRADEWIND_PROFILE") or "local"
        self._seen: tuple[Any, ...] = ()
        self._current: str | None = self.version
        self._history: Path | None = None

    def initialize(self) -> None:
        """Compile, unless this version has been; a task's process finds it compiled."""
        if self.version is None:  # the DAG processor, which forks for each file; a task's process asks for a version
            from tradewind import rereading
            from tradewind.factory import warm

            rereading.prevent()
            warm()
            self._history = history_of(self.project)
            self.refresh()
        elif not self.path.is_dir():
            self._compile_again(self.version)
        super().initialize()

    def refresh(self) -> None:
        """Look for changes; compile what is new."""
        if self.version is not None:
            return
        files = inputs(self.project, self.profile)
        seen = tuple(signature([*files, *([self._history] if self._history else [])]))
        if seen == self._seen and self._current is not None and self.path.is_dir():
            return
        version = version_of(self.project, files)
        if not self._folder(version).is_dir():
            self._compile(version)
        self._seen, self._current = seen, version

    def get_current_version(self) -> str | None:
        """The digest that a new run is bound to."""
        return self.version or self._current

    @property
    def path(self) -> Path:
        """The folder of this version's stubs."""
        return self._folder(self.version or self._current or "none")

    def _compile_again(self, version: str) -> None:
        """Another machine's version: a folder has no past, so it must be what is there now."""
        now = version_of(self.project, inputs(self.project, self.profile))
        if not same_files(now, version):
            where = f"version {version} of the bundle {self.name!r} is not on this machine"
            msg = f"{where}, and {self.project} has moved on to {now}"
            raise RuntimeError(msg)
        self._compile(version)

    def _folder(self, version: str) -> Path:
        # Not below versions_dir: Airflow clears old versions there by age, and a folder's past cannot be fetched again.
        return Path(self.base_dir) / "compiled" / version

    def _compile(self, version: str) -> None:
        target = self._folder(version)
        with self.lock():
            if target.is_dir():
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
            try:
                profile = load_profile(self.profile, project=self.project)
                for done in compile_project(self.project, draft, profile, version=version):
                    for problem in done.problems:
                        log.error("%s", problem)
                draft.chmod(0o755)
                draft.rename(target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
