"""Vectors as text, so that a ledger keeps them like any other answer."""

import base64
import math
import sys
from array import array
from typing import Any

SINGLE = "f"  # 4 bytes a number: more digits than an embedding means


def packed(numbers: Any) -> str | None:
    """A list of numbers as text; None for what is no vector: not a list, empty, not finite, or all zeros.

    >>> unpacked(packed([0.5, -1]))
    array('f', [0.5, -1.0])
    >>> packed([0.0]), packed([float("nan")]), packed("text")
    (None, None, None)
    """
    if not isinstance(numbers, list) or not all(type(one) in (int, float) for one in numbers):
        return None
    try:
        found = array(SINGLE, map(float, numbers))
    except OverflowError:
        return None
    if not any(found) or not all(map(math.isfinite, found)):
        return None
    return base64.b64encode(_portable(found).tobytes()).decode()


def unpacked(text: str) -> "array[float]":
    """The numbers of a text that `packed` made."""
    found: array[float] = array(SINGLE)
    found.frombytes(base64.b64decode(text))
    return _portable(found)


def _portable(numbers: "array[float]") -> "array[float]":
    """The same with the lowest byte first, whatever this machine does."""
    if sys.byteorder == "big":
        numbers = array(SINGLE, numbers)
        numbers.byteswap()
    return numbers
