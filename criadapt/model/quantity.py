"""Kubernetes quantities, ``500m``, ``1Gi``, ``1e3``, exactly."""

from __future__ import annotations

import re
from fractions import Fraction

from criadapt.errors import InvalidArgument

_FORM = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?")
_POWERS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL = {suffix: Fraction(10) ** power for suffix, power in _POWERS.items()}
_BINARY = {f"{suffix}i": Fraction(1024) ** (power + 1) for power, suffix in enumerate("KMGTPE")}
_UNITS = {"": Fraction(1), **_DECIMAL, **_BINARY}


def parse_quantity(text: str | int | float, where: str) -> Fraction:
    """The number that a quantity stands for. Raises InvalidArgument that begins with `where`.

    A float is taken for the digits that Python writes of it, which are those that stood in the manifest.
    """
    found = _FORM.fullmatch(str(text)) if not isinstance(text, bool) and len(str(text)) <= 64 else None
    if found is None:
        raise InvalidArgument(f"{where}: {str(text)[:80]!r} is not a quantity such as 500m, 2 or 1Gi")
    number, suffix, exponent = found.groups()
    return Fraction(number) * _UNITS[suffix or ""] * Fraction(10) ** int(exponent or 0)


def ceiling(amount: Fraction) -> int:
    """The next whole number, as Kubernetes rounds."""
    return -((-amount.numerator) // amount.denominator)
