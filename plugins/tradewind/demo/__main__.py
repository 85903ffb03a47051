"""`python -m tradewind.demo`: what `make demo` runs. Ctrl-C ends it in one line, wherever it is."""

from __future__ import annotations

import sys


def main() -> int:
    """Play the demo; its exit code."""
    try:
        from tradewind.demo.play import play  # here: Ctrl-C may also come while pandas is imported

        return play()
    except KeyboardInterrupt:
        sys.stderr.write(
            "\nInterrupted. What is up stays up: `make demo` goes on from here, `make down` stops all of it.\n"
        )
        return 130


if __name__ == "__main__":
    sys.exit(main())
