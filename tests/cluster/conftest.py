"""The cluster, its images and the project that all tests of this tier share: `make test-cluster`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.cluster import house as houses
from tests.cluster import servers
from tests.cluster.house import ClusterHouse
from tests.cluster.servers import Place
from tests.servers.kubernetes.cluster import Cluster, joined, opened
from tests.servers.kubernetes.images import Image, builder


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes, up and ready; those of TEST_CLUSTER, the folder of one that is kept up, where it is set."""
    if kept := os.environ.get("TEST_CLUSTER"):
        yield joined(Path(kept))
        return
    with (
        tempfile.TemporaryDirectory(prefix="tw-cluster-", ignore_cleanup_errors=True) as folder,
        opened(Path(folder)) as found,
    ):
        yield found


@pytest.fixture(scope="session")
def built(cluster: Cluster) -> Callable[[str], Image]:
    """A target's image in the cluster's registry; or the one that e.g. STEPS_IMAGE names, with its digest."""
    del cluster  # with its registry

    @cache
    def build(target: str) -> Image:
        if named := os.environ.get(f"{target.upper().replace('-', '_')}_IMAGE"):
            return Image(named, 0, 0)
        return builder().postgresql() if target == "postgresql" else builder().build(target)

    return build


@pytest.fixture(scope="session")
def steps(built: Callable[[str], Image]) -> Image:
    """The image of steps."""
    return built("steps")


@pytest.fixture(scope="session")
def house(cluster: Cluster, steps: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHouse]:
    """A project in a folder with a space, whose steps run in pods."""
    with houses.opened(tmp_path_factory.mktemp("cluster") / "a project", cluster, steps) as found:
        yield found


@pytest.fixture(scope="module")
def place(cluster: Cluster, built: Callable[[str], Image], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Where endpoints' own servers are made; modules about other things have a place of their own."""
    with servers.opened(cluster, built("serving").name, tmp_path_factory.mktemp("serving")) as found:
        yield found
