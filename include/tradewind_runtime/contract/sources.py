"""`sources:`: where rows come from. A new system is one class here and one module in `sources/`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticKnownError

from tradewind_runtime.contract import dates
from tradewind_runtime.contract.base import ConnectionId, Duration, Frozen, Name
from tradewind_runtime.contract.http import HttpSource
from tradewind_runtime.contract.keys import WILD, fault

#: The types a column may be given, in Arrow's and Delta's common words; and `decimal(p,s)`.
WORDS = ("string", "integer", "long", "float", "double", "boolean", "date", "timestamp", "binary")
DELIMITER = r"^[\t -!#-~]$"  # no quotes, and no end of a line
#: So many digits in all, so many of them after the point.
DECIMAL = re.compile(r"decimal\(\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*\)")
_DIGITS = 38


def _column_type(value: Any) -> str:
    """A word, or a decimal in its one form.

    Raises:
        ValueError: where it is neither.
    """
    if value in WORDS:
        return str(value)
    found = DECIMAL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        *first, last = (repr(word) for word in (*WORDS, "decimal(p,s)"))
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(first)} or {last}"})
    digits, after = int(found[1]), int(found[2])
    if not 1 <= digits <= _DIGITS or after > digits:
        msg = f"decimal(p,s) has p from 1 to {_DIGITS} digits, and s of them, no more than p, after the point"
        raise ValueError(msg)
    return f"decimal({digits},{after})"


ColumnType = Annotated[
    Literal["string", "integer", "long", "float", "double", "boolean", "date", "timestamp", "binary", "decimal(p,s)"],
    PlainValidator(_column_type),
    WithJsonSchema({"anyOf": [{"enum": list(WORDS)}, {"type": "string", "pattern": f"^{DECIMAL.pattern}$"}]}),
]
#: What ingestion gives each row besides: where it came from. It says nothing about what the row is about, so no model
#: learns from it. A Kafka message also has a time of its own.
PROVENANCE = ("_source", "_position", "_ingested", "_timestamp")
Columns = Annotated[dict[Name, ColumnType], Field(min_length=1)]


#: Each has a module of the same name in tradewind_runtime.sources.messages.
MessageFormat = Literal["json", "avro", "protobuf", "csv", "raw"]
#: What becomes of a column that the table has not.
NewColumns = Literal["add", "ignore", "quarantine", "strict"]
#: What a message has besides its value.
KeptPart = Literal["key", "headers", "timestamp", "partition", "offset"]
#: Below include/schemas.
SCHEMA_FILE = r"^[A-Za-z0-9_][A-Za-z0-9_-]*(/[A-Za-z0-9_-]+)*\.(avsc|proto)$"
_SUFFIXES = {"avro": ".avsc", "protobuf": ".proto"}


#: How a source is read and checked: in the step's own process, or by Spark's.
SourceEngine = Literal["python", "spark"]


class KafkaSource(Frozen):
    """A Kafka topic, read by offset, exactly once."""

    connection: ConnectionId = Field("kafka_default", description="Airflow's Kafka connection.")
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=249, description="The topic's name.")
    format: MessageFormat = Field("json", description="How a message's value is written.")
    registry: ConnectionId | None = Field(
        None, description="Avro, protobuf: the connection of the Schema Registry whose numbers the messages bear."
    )
    schema_file: str | None = Field(
        None,
        pattern=SCHEMA_FILE,
        description="Avro, protobuf without a registry: the schema of all messages, a file of include/schemas.",
    )
    message: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$",
        description="Protobuf with a file: the message; its first by default.",
    )
    delimiter: str = Field(",", pattern=DELIMITER, description="CSV: what stands between two values.")
    nulls: tuple[str, ...] = Field(("", "NA"), description="CSV: texts that stand for a null.")
    keep: dict[KeptPart, Name] = Field(
        default_factory=dict, description="Parts of a message that become columns: part → the column's name."
    )
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where the first run begins; later runs go on where the last ended."
    )
    isolation: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed", description="Whether messages of open and aborted transactions are read."
    )

    @model_validator(mode="after")
    def _one_schema(self) -> KafkaSource:
        given = [name for name in ("registry", "schema_file") if getattr(self, name)]
        if self.format in ("avro", "protobuf"):
            if len(given) != 1:
                msg = f"{self.format} needs the writers' schema: either registry or schema_file"
                raise ValueError(msg)
            if self.schema_file and not self.schema_file.endswith(_SUFFIXES[self.format]):
                msg = f"a schema of {self.format} is a file that ends in {_SUFFIXES[self.format]}"
                raise ValueError(msg)
        elif given:
            msg = f"a message of {self.format} has no schema: leave out {given[0]}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _columns_of_their_own(self) -> KafkaSource:
        names = list(self.keep.values())
        if taken := {name for name in names if name in PROVENANCE or names.count(name) > 1}:
            msg = f"a column of its own for each part that is kept; taken: {', '.join(sorted(taken))}"
            raise ValueError(msg)
        return self


#: The scheme of an address → the module of tradewind_runtime.sources.stores that opens it.
STORES = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure", "http": "http",
    "https": "http",
}  # fmt: skip


class ObjectsSource(Frozen):
    """Objects of a store, or files of a folder: each read once for each version of its content."""

    uri: str = Field(
        description="s3://bucket/path, gs://bucket/path, az://container/path, https://host/file, file:///path or a "
        "path in the project; may hold a glob (*, not of https) and {window.date}, which stands for every date of the "
        "window, as 2013-01-31 or by a format, as {window.date:%Y/%m/%d}."
    )
    connection: ConnectionId | None = Field(None, description="The store's connection; none for files.")
    format: Literal["csv", "parquet", "json", "avro"] | None = Field(None, description="By the name, if not given.")
    delimiter: str = Field(",", pattern=DELIMITER, description="CSV: what stands between two values.")
    nulls: tuple[str, ...] = Field(("", "NA"), description="Texts of a CSV that stand for a null.")
    mode: Literal["append", "replace"] = Field(
        "append", description="replace: a newer object's rows take the place of all that were read before."
    )
    lookback: Duration = Field(
        timedelta(0),
        description="How long before its window a run looks too, for objects of earlier dates that come late; each "
        "version is read once all the same. Of a uri with {window.date}.",
    )
    wait: Duration | None = Field(
        None,
        description="How long a run waits, holding no worker, until an object matches; then it fails. By default it "
        "reads what there is.",
    )

    @field_validator("wait")
    @classmethod
    def _not_at_once(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(seconds=1):
            msg = "at least 1s; leave it out to read what there is"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _of_dates(self) -> ObjectsSource:
        if self.lookback and not dates.dated(self.uri):
            msg = "lookback is of dates: a uri without {window.date} has all objects looked at by each run"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _of_a_store(self) -> ObjectsSource:
        scheme, found, rest = self.uri.partition("://")
        if found and "{" in scheme:  # a word is filled in later
            return self
        if found and scheme not in {*STORES, "file"}:
            msg = f"no store is known by {scheme}://; there are {', '.join(STORES)}, and file for files"
            raise ValueError(msg)
        if STORES.get(scheme) == "http":
            if WILD.search(rest) or "@" in rest.partition("/")[0]:
                msg = "an address of HTTP names one file: without *, ?, [ and a login, which is the connection's"
                raise ValueError(msg)
            urlsplit(self.uri)  # a ValueError where its host is none
        elif wrong := fault(self.uri):
            raise ValueError(wrong)
        return self


TABLE = r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$"


class SqlSource(Frozen):
    """A table or a query of a database: whole each time, or what its cursor has gained."""

    connection: ConnectionId = Field("postgres_default", description="The database's connection.")
    table: str | None = Field(None, pattern=TABLE, description="The table, with or without its schema.")
    query: str | None = Field(None, description="A SELECT in its place.")
    cursor: Name | None = Field(
        None,
        description="A column that only grows, of whole numbers or times: a run reads what is beyond the last one's "
        "end. Without it each run reads all, in place of what was there.",
    )
    overlap: Duration = Field(
        timedelta(0),
        description="How much before the last run's end is read again, for rows that were committed late; they take "
        "the place of those that are there. Of a cursor of numbers: so many.",
    )
    split_by: Name | None = Field(None, description="A column of whole numbers, by which parts are read at once.")
    parts: int = Field(1, ge=1, le=32, description="How many of them, each by a connection of its own.")

    @model_validator(mode="after")
    def _consistent(self) -> SqlSource:
        if (self.table is None) == (self.query is None):
            msg = "either table or query"
            raise ValueError(msg)
        if self.overlap and self.cursor is None:
            msg = "overlap is of a cursor: name it, or leave overlap out"
            raise ValueError(msg)
        if (self.parts > 1) != (self.split_by is not None):
            msg = "split_by and parts go together"
            raise ValueError(msg)
        return self


class SampleSource(Frozen):
    """A data set that scikit-learn ships: for first steps and tests."""

    name: Literal["breast_cancer", "diabetes", "digits", "iris", "wine"] = Field(
        description="Its name in scikit-learn; the label is the column `target`."
    )


class Source(Frozen):
    """One source: exactly one kind, and what holds for every kind."""

    kafka: KafkaSource | None = Field(None, description="A Kafka topic.")
    objects: ObjectsSource | None = Field(None, description="Objects of a store, or files of a folder.")
    sql: SqlSource | None = Field(None, description="A table or a query of a database.")
    http: HttpSource | None = Field(None, description="An HTTP API.")
    sample: SampleSource | None = Field(None, description="A data set that scikit-learn ships.")
    columns: Columns | None = Field(
        None, description="Names and types of the columns; inferred from the first rows if not given."
    )
    new_columns: NewColumns | None = Field(
        None,
        description="What becomes of a column that the table has not: add it, ignore it, put its rows into quarantine, "
        "or stop the run (strict). By default ignore with `columns:`, else add.",
    )
    time: Name | None = Field(None, description="The column of event time.")
    max_bad: float = Field(
        0.05, ge=0, description="Stop when more rows cannot be read: a share if below 1, else a count."
    )
    engine: SourceEngine = Field(
        "python",
        description="What reads and checks it: the step's own process, or Spark's (Kafka and objects), by the "
        "profile's settings.spark. May change between two runs.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        kinds = [name for name in SOURCE_KINDS if getattr(self, name) is not None]
        if len(kinds) != 1:
            msg = f"a source has exactly one kind of {', '.join(SOURCE_KINDS)}; got {kinds or 'none'}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _engine_reads_it(self) -> Source:
        if self.engine not in ENGINES_OF[self.kind]:
            others = " and ".join(kind for kind in SOURCE_KINDS if self.engine in ENGINES_OF[kind])
            msg = f"engine {self.engine} reads {others}; leave it out, and {self.kind} is read by the step itself"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _types_of_what_is_kept(self) -> Source:
        kept = self.kafka.keep if self.kafka else {}
        if wrong := [name for part, name in kept.items() if part != "key" and name in (self.columns or ())]:
            msg = f"only a message's key may have a type of your own; leave out of columns: {', '.join(wrong)}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _columns_each_once(self) -> Source:
        names = {*(self.columns or ()), *(self.kafka.keep.values() if self.kafka else ())}
        counts = Counter(map(str.lower, names))
        if twice := sorted(name for name in names if counts[name.lower()] > 1):
            msg = f"a table tells no large letters from small ones; name each column once: {', '.join(twice)}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _columns_of_its_format(self) -> Source:
        if self.kafka is None or self.kafka.format not in ("csv", "raw"):
            return self
        own = [name for name in self.columns or () if name not in self.kafka.keep.values()]
        if self.kafka.format == "csv" and not own:
            msg = "a message of csv has no header: name its columns, in their order"
            raise ValueError(msg)
        if self.kafka.format == "raw" and len(own) > 1:
            msg = f"a raw message is one column; got {', '.join(own)}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _columns_of_an_answer(self) -> Source:
        if self.http is None:
            return self
        if self.http.format == "csv" and not self.columns:
            msg = "an answer of csv has no types: name its columns and theirs"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _cursor_is_a_column(self) -> Source:
        """Rows of an overlap are found by it in the table, and of an API those that are new."""
        by = self.http or (self.sql if self.sql and self.sql.overlap else None)
        if by is None or by.cursor is None or self.columns is None:
            return self
        if self.columns.get(by.cursor) not in ("integer", "long", "timestamp", "date"):
            kinds = "an integer, long, timestamp or date"
            msg = f"overlap needs the cursor {by.cursor!r} among columns, as {kinds}"
            if self.http:
                msg = f"the cursor {by.cursor!r} is to be among columns, as {kinds}"
            raise ValueError(msg)
        return self

    @property
    def on_new_columns(self) -> NewColumns:
        """The policy that holds."""
        return self.new_columns or ("add" if self.columns is None else "ignore")

    @property
    def kind(self) -> str:
        """The name of the kind that is set."""
        return next(name for name in SOURCE_KINDS if getattr(self, name) is not None)

    @property
    def connection(self) -> str | None:
        """The connection it needs, if any."""
        return getattr(getattr(self, self.kind), "connection", None)

    @property
    def connections(self) -> dict[str, str]:
        """All that reading it needs: use → connection."""
        registry = self.kafka.registry if self.kafka else None
        named = {"source": self.connection, "schemas": registry}
        return {use: one for use, one in named.items() if one}


#: Each has a module of the same name in tradewind_runtime.sources; those that Spark reads have another one in
#: tradewind_runtime.engines.spark.sources.
ENGINES_OF: Mapping[str, tuple[SourceEngine, ...]] = {
    "kafka": ("python", "spark"), "objects": ("python", "spark"), "sql": ("python",), "http": ("python",),
    "sample": ("python",),
}  # fmt: skip
SOURCE_KINDS = tuple(ENGINES_OF)
