"""A Schema Registry: schemas by the numbers that messages bear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaReference, SchemaRegistryClient

UNKNOWN = 40403  # the registry's own word for a number that it has not; 404 may be another server's
PATIENCE = 20.0  # seconds for one answer


@dataclass(frozen=True)
class Schema:
    """One schema, and those that it refers to, each before whoever refers to it: name → text."""

    kind: str  # AVRO, PROTOBUF, JSON
    text: str
    references: dict[str, str] = field(default_factory=dict)


class SchemaRegistry:
    """One registry; each schema is asked for once."""

    def __init__(self, connection: Connection) -> None:
        from confluent_kafka.schema_registry import SchemaRegistryClient

        self.url, user = _address(connection)
        settings: dict[str, object] = {"url": self.url, "timeout": PATIENCE, "max.retries": 5}
        if user:
            settings["basic.auth.user.info"] = user
        settings |= {key: value for key, value in connection.extra.items() if key.startswith(("ssl.", "bearer."))}
        try:
            self._client: SchemaRegistryClient = SchemaRegistryClient(settings)
        except (ValueError, TypeError) as error:
            raise StepError(
                "TW528", f"the schema registry's settings are refused: {error}", retryable=False,
                fix="mend the connection's extra",
            ) from error  # fmt: skip
        self._found: dict[int, Schema | None] = {}

    def schema(self, number: int) -> Schema | None:
        """By its number; None where the registry has none of it.

        Raises:
            StepError: TW528 where it does not answer, or refuses.
        """
        if number not in self._found:
            self._found[number] = self._ask(number)
        return self._found[number]

    def _ask(self, number: int) -> Schema | None:
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            found = self._client.get_schema(number)
            references: dict[str, str] = {}
            self._collect(found.references or [], references)
        except SchemaRegistryError as error:
            if error.error_code == UNKNOWN:
                return None
            raise self._refused(number, str(error)) from error
        except Exception as error:  # whatever its HTTP library says of a server that is away
            raise self._refused(number, f"{type(error).__name__}: {error}") from error
        return Schema(found.schema_type or "AVRO", found.schema_str or "", references)

    def _collect(self, wanted: list[SchemaReference], into: dict[str, str]) -> None:
        for reference in wanted:
            name, subject, version = reference.name or "", reference.subject or "", reference.version or 1
            if name not in into:
                schema = self._client.get_version(subject, version).schema
                self._collect(schema.references or [], into)
                into[name] = schema.schema_str or ""

    def _refused(self, number: int, said: str) -> StepError:
        return StepError(
            "TW528",
            f"the schema registry does not give schema {number}: {said[:300]}",
            got=self.url,
            fix="is it up, and are the connection's login and password right?",
        )


def _address(connection: Connection) -> tuple[str, str]:
    """Where it is, which is shown, and user and password, which are not."""
    parts = urlsplit(connection.http())
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0]
    if connection.login:
        user = f"{connection.login}:{connection.password or ''}"
    elif user:
        user = unquote(user)
    return urlunsplit(parts._replace(netloc=host)), user
