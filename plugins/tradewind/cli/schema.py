"""`tradewind schema`: what editors complete pipelines by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path | None, typer.Option(help="Write it to a file.", dir_okay=False)] = None,
) -> None:
    """Print the JSON Schema of a pipeline (draft 2020-12).

    Example: tradewind schema --out docs/reference/pipeline.schema.json
    """
    from tradewind.spec.json_schema import schema_text

    text = schema_text()
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
