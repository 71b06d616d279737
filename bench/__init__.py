"""Benchmarks: each figure beside a peer's, from one run. ``make bench`` writes RESULTS.md."""
