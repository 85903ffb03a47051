"""The house that all end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.house import House, opened
from tests.e2e.slow import commit


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """In a folder with a space."""
    with opened(tmp_path_factory.mktemp("e2e") / "a project") as found:
        yield found


@pytest.fixture(scope="package")
def slow(house: House) -> House:
    """The house with the pipeline `slow`."""
    commit(house)
    return house
