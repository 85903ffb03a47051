"""Benchmarks, each beside its peer or limit in one run."""
