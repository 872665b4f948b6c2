"""Numbers for readers: decimals that their size supports, powers of ten as superscripts."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SIGNIFICANT_DIGITS = 4
_MOST_DECIMALS = 3


def decimals_for(largest: float) -> int:
    """Return the decimals that give the largest of some numbers four digits, at most three for numbers near one."""
    if largest <= 0:
        return _MOST_DECIMALS
    wanted = _SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(largest))
    return max(0, min(wanted, _MOST_DECIMALS) if largest >= 0.1 else wanted)


def scientific(value: float) -> str:
    """Format 6380000000000 as 6.38 × 10¹²."""
    if not value:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × 10{superscript(int(exponent))}"


def superscript(number: int) -> str:
    """Format 12 as ¹²."""
    return str(number).translate(_SUPERSCRIPTS)
