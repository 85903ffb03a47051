"""Rows of one version of a table, read from its Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from tradewind_runtime.lake import Table


@dataclass(frozen=True)
class Snapshot:
    """One version of a table; reading it again gives the same rows."""

    table: Table
    version: int
    files: tuple[str, ...]  # local paths or s3:// URIs, decoded
    schema: pa.Schema

    def dataset(self) -> ds.Dataset:
        """The rows, for streaming and filters; no Hive partitions are inferred."""
        import pyarrow.dataset as ds  # brings pandas along, which many a step has no need of

        if not self.files:
            return ds.dataset(pa.table({f.name: pa.array([], f.type) for f in self.schema}))
        names = [name.removeprefix("s3://") for name in self.files]
        return ds.dataset(names, schema=self.schema, format="parquet", filesystem=self.table.filesystem)

    def to_arrow(self, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """All rows, or those that the filter keeps."""
        return self.dataset().to_table(columns=list(columns) if columns else None, filter=where)

    def count(self, where: pc.Expression | None = None) -> int:
        """How many rows."""
        return int(self.dataset().count_rows(filter=where))
