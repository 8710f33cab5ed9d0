"""Chance that is the same in every process."""

import random
from hashlib import sha256


def chance_of(*parts: object) -> random.Random:
    """Chance that depends on nothing but `parts`; Python's own hash of a text differs between processes."""
    return random.Random(sha256(":".join(map(str, parts)).encode()).digest())
