"""The project's own images, by `bin/images` with buildah, in the cluster's registry.

No registry of others is asked: the base is made of Debian's packages, or is what BASE_IMAGE names. What is built is
kept, so that a change of Tradewind's own code makes one small layer anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.servers.kubernetes import parts, programs

from tradewind_runtime import caches

ROOT = Path(__file__).parents[3]
SUITE = "bookworm"
TAG = "test"  # one, so that an image takes the place of the one before it
BASE = f"localhost/tradewind-base:{SUITE}"
PACKAGES = "usr-is-merged,python3,python3-venv,ca-certificates"
#: Debian's, with which MLflow's database is tested; the official image cannot be had here.
POSTGRESQL = f"localhost/tradewind-postgresql:{SUITE}"
POSTGRESQL_PACKAGES = "usr-is-merged,postgresql-15"
MERGED = "/usr/share/mmdebstrap/hooks/merged-usr"  # else a package that does it comes, and all of Perl with it
UNREAD = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
#: Where this machine's pip and uv find packages; a build finds them there too.
INDEXES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CERT", "UV_DEFAULT_INDEX", "UV_INDEX",
    "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INSECURE_HOST", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
SETTINGS = (Path("/etc/pip.conf"), Path("/etc/uv/uv.toml"))


@dataclass(frozen=True)
class Image:
    """One image in the registry."""

    name: str  # with its digest
    compressed: int  # bytes of its layers, as they travel
    size: int  # bytes, unpacked


@dataclass(frozen=True)
class Builder:
    """buildah with a store of its own below a folder."""

    folder: Path

    def buildah(self, *words: str) -> str:
        """What it prints."""
        return self._run("buildah", *words)

    @cached_property
    def base(self) -> str:
        """A Debian with its Python."""
        return os.environ.get("BASE_IMAGE") or self._debian(BASE, PACKAGES)

    def _debian(self, name: str, packages: str) -> str:
        """An image of Debian's packages, made once."""
        if not self.buildah("images", "--quiet", "--filter", f"reference={name}"):
            archive = self.folder / "debian.tar"
            _debian(archive, packages)
            made = self.buildah("from", "scratch")
            self.buildah("add", "--quiet", made, str(archive), "/")
            self.buildah("commit", "--quiet", "--rm", "--timestamp", "0", made, name)
            archive.unlink()
        return name

    def build(self, target: str) -> Image:
        """A target of `bin/images`, pushed."""
        with self._alone():
            return self._build(target)

    def postgresql(self) -> Image:
        """For tests of MLflow's database, pushed."""
        with self._alone():
            base = self._debian(POSTGRESQL, POSTGRESQL_PACKAGES)
            tag = f"{parts.REGISTRY}/tradewind/postgresql:{TAG}"
            options = ["--quiet", "--timestamp", "0", "--build-arg", f"BASE={base}", "--tag", tag]
            self.buildah("build", *options, str(Path(__file__).with_name("postgresql")))
            digest = self.folder / "digest"
            self.buildah("push", "--quiet", "--digestfile", str(digest), tag)
            name = f"{tag.rpartition(':')[0]}@{digest.read_text()}"
            return Image(name, sum(layer["size"] for layer in manifest(name)["layers"]), self._size(tag))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One build at a time; what one that was killed has left, containers of gigabytes, goes."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.buildah("rm", "--all")
            yield

    def _build(self, target: str) -> Image:
        options = ["--build-arg", f"BASE={self.base}", *self._host()]
        printed = self._run(str(ROOT / "bin/images"), f"{parts.REGISTRY}/tradewind", target, "--", *options)
        name = printed.splitlines()[-1]
        self.buildah("rmi", "--prune")  # what the last build of it was, gigabytes
        return Image(
            name,
            sum(layer["size"] for layer in manifest(name)["layers"]),
            self._size(f"{parts.REGISTRY}/tradewind/{target}:{TAG}"),
        )

    def _run(self, *command: str) -> str:
        """What it prints.

        Raises:
            AssertionError: where it fails, with the end of what it says.
        """
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment())
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def _environment(self) -> dict[str, str]:
        """A store of its own, and a registry without certificates."""
        store, registries = self.folder / "storage.conf", self.folder / "registries.conf"
        folders = f'graphroot = "{self.folder}/root"\nrunroot = "{self.folder}/run"\n'
        store.write_text(f'[storage]\ndriver = "overlay"\n{folders}')
        registries.write_text(f'[[registry]]\nlocation = "{parts.REGISTRY}"\ninsecure = true\n')
        return {
            **os.environ,
            "BUILDER": "buildah",
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_STORAGE_CONF": str(store),
            "CONTAINERS_REGISTRIES_CONF": str(registries),
            "IMAGE_TAG": TAG,
            "TMPDIR": str(self.folder / "tmp"),  # its cache mounts are there
        }

    def _host(self) -> Iterator[str]:
        """How this machine reaches packages, for the time of the build: nothing of it is in the image."""
        known = {name: os.environ[name] for name in INDEXES if name in os.environ}
        secret = self.folder / "env"
        secret.touch(0o600)
        secret.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in known.items()))
        yield from ("--secret", f"id=env,src={secret}")
        files = {Path(value) for value in known.values() if value.startswith("/")} | set(SETTINGS)
        for file in sorted(files):
            if file.is_file():
                yield from ("--volume", f"{file}:{file}:ro")

    def _size(self, name: str) -> int:
        """Bytes of the layers that are kept for it, unpacked."""
        layers = json.loads(self.buildah("inspect", "--type", "image", name))["OCIv1"]["rootfs"]["diff_ids"]
        kept: list[dict[str, Any]] = json.loads((self.folder / "root" / "overlay-layers" / "layers.json").read_text())
        sizes = {layer["diff-digest"]: int(layer["diff-size"]) for layer in kept if "diff-digest" in layer}
        return sum(sizes[one] for one in layers)


def manifest(name: str) -> dict[str, Any]:
    """Of an image in the cluster's registry, by its name with a digest."""
    return _asked(name, "manifests", name.partition("@")[2])


def config(name: str) -> dict[str, Any]:
    """How its containers run, and its labels."""
    return dict(_asked(name, "blobs", manifest(name)["config"]["digest"])["config"])


def _asked(name: str, kind: str, digest: str) -> dict[str, Any]:
    repository = name.partition("@")[0].removeprefix(f"{parts.REGISTRY}/")
    url = f"http://{parts.REGISTRY}/v2/{repository}/{kind}/{digest}"
    asked = urllib.request.Request(url, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
    with urllib.request.urlopen(asked, timeout=10) as response:
        return dict(json.load(response))


def builder() -> Builder:
    """With what is kept from one build to the next."""
    programs.install()
    folder = caches.folder() / "images"
    _share(_uv_cache(), folder / "tmp" / "buildah-cache" / "uv")
    return Builder(folder)


def _share(cache: Path, place: Path) -> None:
    """buildah's cache mount of uv is this machine's own cache of uv."""
    cache.mkdir(parents=True, exist_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(cache)


def _debian(archive: Path, packages: str) -> None:
    """A small Debian from where this machine has its packages, always the same."""
    unread = [f"--dpkgopt=path-exclude={path}" for path in UNREAD]
    command = [
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={packages}", f"--hook-dir={MERGED}",
        *unread, "--dpkgopt=path-include=/usr/share/doc/*/copyright", SUITE, str(archive), *_sources(),
    ]  # fmt: skip
    subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})


def _sources() -> list[str]:
    """This machine's lists of packages, where they are of the same Debian."""
    apt = Path("/etc/apt")
    lists = sorted(
        [*apt.glob("sources.list"), *apt.glob("sources.list.d/*.list"), *apt.glob("sources.list.d/*.sources")]
    )
    return [str(path) for path in lists if SUITE in path.read_text()]


def _uv_cache() -> Path:
    if named := os.environ.get("UV_CACHE_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"
