"""The cluster that all tests of this tier share: `make test-cluster`; root, Go and Debian's packages."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.kubernetes.cluster import Cluster, opened


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes, up and ready."""
    with (
        tempfile.TemporaryDirectory(prefix="tw-cluster-", ignore_cleanup_errors=True) as folder,
        opened(Path(folder)) as found,
    ):
        yield found
