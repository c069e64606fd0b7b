"""Benchmarks: `python -m tests.bench` runs all that need no Cinder and prints a table."""
