"""`python -m tradewind.cli`: the same as `tradewind`, by a known interpreter."""

from tradewind.cli import main

main()
