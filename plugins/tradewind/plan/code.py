"""User code: an archive named by its content, and the part of it that a step depends on."""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tradewind_runtime.contract.base import digest

ROOTS = ("include/models", "spark_jobs", "include/schemas")

#: What a Protobuf schema takes in.
_IMPORT = re.compile(rb"""^\s*import\s+(?:public\s+|weak\s+)?["']([^"']+)["']""", re.MULTILINE)

#: 2 January 1980: one time for every file, and not before what a zip of them can hold in any time zone.
ZIP_EPOCH = 315_619_200


@dataclass(frozen=True)
class UserCode:
    """`include/models`, `spark_jobs` and `include/schemas` of one version of the project."""

    files: Mapping[str, bytes] = field(repr=False)  # path in the project → content, all read at one time

    @classmethod
    def of(cls, project: Path) -> UserCode:
        """What lies in a project now."""
        found = (path for top in ROOTS for path in sorted((project / top).rglob("*")))
        return cls(
            {
                path.relative_to(project).as_posix(): path.read_bytes()
                for path in found
                if path.is_file() and "__pycache__" not in path.parts
            }
        )

    @cached_property
    def archive(self) -> bytes:
        """A gzipped tar with no times and no owners: the same files give the same bytes."""
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
            for name, content in self.files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                info.mode = 0o644
                info.mtime = ZIP_EPOCH
                tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names and contents."""
        return digest({name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()})

    def closure(self, entry: str) -> str:
        """The digest of a file and of all user files that it imports, directly or not.

        Args:
            entry: a path in the project, such as spark_jobs/flight_features.py or include/schemas/flights.avsc, or
                MODULE:FUNCTION of include/models.

        Raises:
            FileNotFoundError: where there is no such file.
        """
        seen: dict[str, str] = {}
        module, function, _ = entry.partition(":")
        todo = list(self._files_of(ROOTS[0], module)) if function else [entry]
        while todo:
            name = todo.pop()
            if name in seen or name not in self.files:
                continue
            seen[name] = hashlib.sha256(self.files[name]).hexdigest()
            todo += self._imports(name)
        if not seen:
            raise FileNotFoundError(entry)
        return digest(seen)

    def _imports(self, name: str) -> Iterator[str]:
        if name.startswith(ROOTS[2]):
            yield from (f"{ROOTS[2]}/{one.decode()}" for one in _IMPORT.findall(self.files[name]))
            return
        top = next(root for root in ROOTS if name.startswith(root))
        here = Path(name).parent.as_posix()
        try:
            tree = ast.parse(self.files[name])
        except (SyntaxError, ValueError):
            return  # said where the function is looked up
        for node in ast.walk(tree):
            modules: list[str] = []
            base = top
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                if node.level:
                    base = Path(here, *[".."] * (node.level - 1)).as_posix()
                modules = [
                    node.module or "",
                    *(f"{node.module or ''}.{alias.name}".lstrip(".") for alias in node.names),
                ]
            for module in modules:
                yield from self._files_of(base, module)

    def _files_of(self, base: str, module: str) -> Iterator[str]:
        parts = [part for part in module.split(".") if part]
        for depth in range(1, len(parts) + 1):
            stem = "/".join((base, *parts[:depth]))
            yield from (name for name in (f"{stem}.py", f"{stem}/__init__.py") if name in self.files)
