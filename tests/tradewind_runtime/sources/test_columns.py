"""What ingestion gives each row is what the contract says, by which a YAML is checked."""

from tradewind_runtime.contract.sources import PROVENANCE
from tradewind_runtime.sources.columns import RESERVED


def test_provenance_is_the_contracts() -> None:
    assert set(PROVENANCE) == RESERVED
