"""`python -m tradewind.demo.again FIRST SECOND`: whether a second demo was quicker and has added nothing twice.

Both are `build/demo.json`, kept from the one demo and from the next: each line's `kept` must be the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    """What is not as it should be, one a line."""
    if second["seconds"] >= first["seconds"]:
        yield f"it took {second['seconds']} s, and the first one {first['seconds']} s"
    before, after = _kept(first), _kept(second)
    if not before:
        yield "the first one has kept nothing that could be compared"
    for what in sorted(before.keys() | after.keys()):
        was, now = before.get(what, "nothing"), after.get(what, "nothing")
        if was != now:
            yield f"{': '.join(what)}: {was} before, {now} now"


def _kept(demo: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    return {(line["what"], name): value for line in demo["lines"] for name, value in line["kept"].items()}


def main(words: list[str]) -> int:
    """Compare; 0 where all is as it should be."""
    first, second = (json.loads(Path(word).read_text()) for word in words)
    found = list(differences(first, second))
    for text in found:
        print(f"the second demo: {text}")
    if not found:
        print(f"the second demo took {second['seconds']} s instead of {first['seconds']} s and added nothing twice")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
