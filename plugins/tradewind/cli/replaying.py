"""What `tradewind lake replay` needs: the source as its YAML has it, and mended contents from a file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradewind_runtime.putting_back import Place, PutBack


def replayed(file: Path, name: str, mended: Path | None, profile: str | None) -> PutBack:
    """Put the refused messages of a source back.

    Raises:
        TradewindError: of the YAML; TW341 where it has no such source, TW343 where the file is wrong, TW344 where the
            registry's connection is not at hand.
    """
    from tradewind.cli.asking import access
    from tradewind.cli.plan import planned
    from tradewind.cli.telling import unknown
    from tradewind_runtime.putting_back import Tables, put_back

    pipeline, _ = planned(file, profile)
    source = pipeline.sources.get(name)
    if source is None:
        raise unknown(f"{pipeline.pipeline} has no source {name!r}", name, pipeline.sources)
    allowed = access(file, name, source, profile, uses=("schemas",))
    tables = Tables(*(allowed.lake.table(f"{pipeline.pipeline}/{name}_{part}") for part in ("raw", "quarantine")))
    return put_back(source, allowed, tables, _contents(mended) if mended else {})


def _contents(path: Path) -> dict[Place, bytes | None]:
    """By the message's place.

    Raises:
        TradewindError: TW343 with all lines that are wrong.
    """
    from tradewind.errors import Problem, TradewindError

    found: dict[Place, bytes | None] = {}
    wrong = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            body = json.loads(line)
            found[str(body["source"]), int(body["position"])] = _bytes(body["content"])
        except (ValueError, KeyError, TypeError) as error:
            wrong.append(
                Problem(
                    code="TW343",
                    message=f"no mended message: {type(error).__name__} {error}",
                    file=str(path),
                    line=number,
                    got=line[:200].decode("utf-8", "replace"),
                    expected='{"source": "flights-0", "position": 17, "content": "…" or {"base64": "…"}}',
                )
            )
    if wrong:
        raise TradewindError(*wrong)
    return found


def _bytes(content: object) -> bytes | None:
    if isinstance(content, dict):
        return base64.b64decode(content["base64"], validate=True)
    if content is None or isinstance(content, str):
        return None if content is None else content.encode()
    msg = "content is neither a text nor {base64: …}"
    raise TypeError(msg)
