"""What every test may use: servers, started when the first test asks for one; and who runs what on two workers."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.servers.fixtures"]

if not hasattr(sys.modules["__main__"], "__file__"):  # a worker of xdist: PySpark would take it for a run of doctests
    sys.modules["__main__"].__file__ = os.devnull


settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # no test fails because the machine is busy


class Together(LoadScopeScheduling):
    """A module's tests stay with one worker and in order; those of the real Airflow all share one stack."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "tests/e2e" if path.startswith("tests/e2e/") else path


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Instead of the usual ones, whatever `--dist` says."""
    return Together(config, log)
