"""Benchmarks of culture: NormAd, BBQ, Global-MMLU, BLEnD and INCLUDE, over files or the Hub."""
