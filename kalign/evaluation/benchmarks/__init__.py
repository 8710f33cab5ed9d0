"""Benchmarks that kalign asks and scores itself, over files that their users bring."""
