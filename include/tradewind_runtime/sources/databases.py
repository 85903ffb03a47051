"""Databases by ADBC: a new one is one line of `DRIVERS`, with the package that has its driver."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pyarrow as pa

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError

#: A connection's type → the module of its driver, and the scheme of its address.
DRIVERS: Mapping[str, tuple[str, str]] = {
    "postgres": ("adbc_driver_postgresql.dbapi", "postgresql"),
    "postgresql": ("adbc_driver_postgresql.dbapi", "postgresql"),
}
#: SQLSTATEs that another try does not mend: of the login, of rights, of what is named and how.
_FINAL = ("28", "42", "3D", "3F", "0A", "25006")
#: The same of a login, of which libpq gives no state.
_REFUSED = re.compile(
    r"FATAL: +(password authentication failed|no pg_hba\.conf entry|(database|role) .* does not exist)"
)


@dataclass(frozen=True)
class Database:
    """One session: read-only, in UTC, and of one moment, so that all that is read of it is of the same state."""

    session: Any  # of ADBC's DBAPI
    connection: Connection

    def value(self, query: str) -> Any:
        """Of a query of one row and one column."""
        with self.session.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
        return row[0] if row else None

    def schema(self, query: str) -> pa.Schema:
        """Of what a query gives."""
        with self.session.cursor() as cursor:
            return _stored(cursor.adbc_execute_schema(query))

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """What a query gives, as it comes."""
        with self._asked(query) as cursor:
            for batch in cursor.fetch_record_batch():
                columns = [one.storage if isinstance(one, pa.ExtensionArray) else one for one in batch.columns]
                yield pa.RecordBatch.from_arrays(columns, schema=_stored(batch.schema))

    @contextmanager
    def _asked(self, query: str) -> Iterator[Any]:
        """What fails while rows are taken is told here: whoever opened the session is not in its midst."""
        try:
            with self.session.cursor() as cursor:
                cursor.execute(query)
                yield cursor
        except pa.ArrowException as error:
            raise _told(error, self.connection) from error

    def moment(self) -> str:
        """A name by which another session sees what this one sees, while this one is open."""
        return str(self.value("SELECT pg_export_snapshot()"))


@contextmanager
def opened(connection: Connection | None, moment: str | None = None) -> Iterator[Database]:
    """A session.

    Args:
        connection: Airflow's.
        moment: of another session, to see what it sees.

    Raises:
        StepError: TW525 where there is no way to the database, or it refuses what is asked.
    """
    if connection is None or connection.type not in DRIVERS:
        raise StepError(
            "TW525", "the source's connection is of no database that can be read", retryable=False,
            got=connection.type if connection else "no connection", expected=", ".join(DRIVERS),
            fix="mend the connection's type",
        )  # fmt: skip
    module, scheme = DRIVERS[connection.type]
    driver = importlib.import_module(module)
    try:
        with driver.connect(_address(connection, scheme)) as session:
            with session.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                if moment is not None:
                    cursor.execute(f"SET TRANSACTION SNAPSHOT '{moment}'")
                cursor.execute("SET LOCAL TIME ZONE 'UTC'")
            yield Database(session, connection)
    except driver.Error as error:
        raise _told(error, connection) from error


def _told(error: Exception, connection: Connection) -> StepError:
    said, state = " ".join(str(error).split()), str(getattr(error, "sqlstate", None) or "")
    return StepError(
        "TW525",
        f"the database: {said[:400]}",
        retryable=not (state.startswith(_FINAL) or _REFUSED.search(said)),
        got=f"{connection.host}:{connection.port or ''}/{connection.schema}",
        fix="see the connection, its rights, and the names in the YAML",
    )


def _stored(schema: pa.Schema) -> pa.Schema:
    """Types that are the database's own, as numeric, by the texts in which they come."""
    kinds = [one.type.storage_type if isinstance(one.type, pa.BaseExtensionType) else one.type for one in schema]
    return pa.schema([pa.field(one.name, kind) for one, kind in zip(schema, kinds, strict=True)])


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _address(connection: Connection, scheme: str) -> str:
    user = quote(connection.login, safe="")
    if connection.password:
        user += f":{quote(connection.password, safe='')}"
    host = f"{user}@{connection.host}" if user else connection.host
    port = f":{connection.port}" if connection.port else ""
    options = urlencode({key: value for key, value in connection.extra.items() if isinstance(value, str)})
    return f"{scheme}://{host}{port}/{quote(connection.schema, safe='')}{f'?{options}' if options else ''}"
