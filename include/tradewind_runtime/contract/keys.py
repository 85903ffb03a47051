"""Keys of objects as an address names them, and globs over them."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

WILD = re.compile(r"[*?\[]")
_SET = re.compile(r"\[!?[^\]]+\]")
_WORD, _FILLED = re.compile(r"\{[^{}]*\}"), "\0"  # a word is filled in later, and what stands for it meanwhile
_WORDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def key_of(uri: str) -> str:
    """Its key or glob below the store's root, as it is written."""
    parts = urlsplit(uri)
    path = uri if not parts.scheme else uri.partition("://")[2].removeprefix(parts.netloc)
    return re.sub(r"^(\./|/)+", "", path)


def regex(pattern: str) -> re.Pattern[str]:
    """A glob over keys: `*` and `?` stay within a folder, `**` does not, `[…]` is a set.

    Raises:
        re.error: where a set of it is none.
    """
    parts = re.split(rf"(\*\*/|\*\*|\*|\?|{_SET.pattern})", pattern)
    return re.compile("".join(_WORDS.get(part) or _literal(part) for part in parts if part), re.DOTALL)


def _literal(part: str) -> str:
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        inner = re.sub(r"([\\\[&|~])", r"\\\1", part[1:-1])
        return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    return re.escape(part)


def fault(uri: str) -> str | None:
    """Why it names no object of a store or a folder, if it names none."""
    if uri.startswith("/"):
        return f"a path without a scheme is one in the project: write file://{uri}"
    key = key_of(_WORD.sub(_FILLED, uri))
    if urlsplit(uri).scheme == "file":
        key = unquote(key)
    *folders, last = key.split("/")
    if not last:
        return "the address ends in a folder: end it with the name of an object, or a glob such as * or **"
    if "" in folders:
        return "the address has an empty part: write one / in the place of several"
    if wrong := {".", ".."}.intersection([*folders, last]):
        return f"the address has {' and '.join(sorted(wrong))} in it, which no key has: write the path that is meant"
    for one in _SET.findall(key):
        if _FILLED in one:
            continue
        try:
            regex(one)
        except re.error:
            return f"{one} is no set of characters: a range in it goes from the lower one to the higher, as in [a-z]"
    return None
