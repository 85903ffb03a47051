"""The cluster, its images and the project that all tests of this tier share: `make test-cluster`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import house as houses
from tests.cluster.house import ClusterHouse
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
def steps(cluster: Cluster) -> Image:
    """The image of steps, in the cluster's registry; or the one that STEPS_IMAGE names, with its digest."""
    del cluster  # with its registry
    if named := os.environ.get("STEPS_IMAGE"):
        return Image(named, 0, 0)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return builder().build("steps", f"COMMIT={commit}")


@pytest.fixture(scope="session")
def house(cluster: Cluster, steps: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHouse]:
    """A project in a folder with a space, whose steps run in pods."""
    with houses.opened(tmp_path_factory.mktemp("cluster") / "a project", cluster, steps) as found:
        yield found
