"""The local stack: every server of a profile on one machine, from packages."""
