"""Lines of JSON that Arrow may parse all at once: of each it is certain where it begins and ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

LEVELS = 200  # of lists and objects in each other
PART = 256 * 1024  # bytes
CHUNK = 1024 * 1024  # bytes that a thread parses


@dataclass(frozen=True)
class Lines:
    """Some that begin and end as an object does each."""

    text: bytes
    ends: np.ndarray  # where the bytes between them are; before the first and after the last one too

    @classmethod
    def of(cls, text: bytes) -> Lines | None:
        """These, if they are such, Arrow can take them apart, and all is UTF-8.

        No string has a line's end in it. So where an object ends one and begins the next, both are of no other one.
        Arrow takes a carriage return for a line's end too, and dies of what may then follow; of a line that is longer
        than what a thread parses it is told while other threads are still at work.
        """
        if not (text.startswith(b"{") and text.endswith(b"}") and b"\r" not in text and _is_utf8(text)):
            return None
        letters = np.frombuffer(text, np.uint8)
        between = np.flatnonzero(letters == ord("\n"))
        enclosed = (letters[between - 1] == ord("}")).all() and (letters[between + 1] == ord("{")).all()
        lines = cls(text, np.concatenate([[-1], between, [len(text)]]))
        return lines if enclosed and lines.longest < CHUNK else None

    def __len__(self) -> int:
        """How many."""
        return len(self.ends) - 1

    def __getitem__(self, row: int) -> bytes:
        """One of them."""
        return self.text[self.ends[row] + 1 : self.ends[row + 1]]

    @property
    def longest(self) -> int:
        """Bytes of the longest, with its end."""
        return int(np.diff(self.ends).max())

    @property
    def harmless(self) -> bool:
        """Whether what is not read has nothing that Arrow alone lets through: NaN, a list without an end."""
        if _has_word(self.text, b"NaN") or _has_word(self.text, b"Inf"):
            return False
        return self.longest <= 2 * LEVELS or most_marks(np.frombuffer(self.text, np.uint8), self.ends) <= LEVELS


def most_marks(letters: np.ndarray, ends: np.ndarray) -> int:
    """The most brackets and braces that open between two ends."""
    # As is `{`, but for that bit. A part at a time, which stays in the processor's cache.
    parts = [np.flatnonzero((letters[at : at + PART] & 0xDF) == ord("[")) + at for at in range(0, len(letters), PART)]
    opening = np.concatenate(parts) if parts else letters
    return int(np.diff(np.searchsorted(opening, ends)).max(initial=0))


def _has_word(lines: bytes, word: bytes) -> bool:
    """Whether a word is where a value may be; within a string it seldom is."""
    at = lines.find(word)
    while at >= 0:
        if lines[at - 1] in b":[,- \t":
            return True
        at = lines.find(word, at + 1)
    return False


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        pa.array([text], pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True
