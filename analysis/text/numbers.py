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


def decimals_of(uncertainty: float) -> int:
    """Return the decimals that show two significant digits of an uncertainty, above 0; negative for tens and more."""
    return 1 - int(f"{uncertainty:.1e}".partition("e")[2])


def rounded(value: float, decimals: int) -> str:
    """Format a value at some decimals; -1 rounds to tens."""
    return f"{round(value, decimals):.{max(0, decimals)}f}" if math.isfinite(value) else str(value)


def with_error(value: float, half_width: float) -> str:
    """Format "12.3 ± 1.4": two significant digits of the half-width, above 0, and the value to the same place."""
    decimals = decimals_of(half_width)
    return f"{rounded(value, decimals)} ± {rounded(half_width, decimals)}"


def percent(share: float) -> str:
    """Format a share of at least 0 with two significant digits: 12%, 3.4%, 120%."""
    return f"{rounded(100 * share, decimals_of(100 * share))}%" if share > 0 else "0%"


def scientific(value: float) -> str:
    """Format 6380000000000 as 6.38 × 10¹²."""
    if not value:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × 10{superscript(int(exponent))}"


def superscript(number: int) -> str:
    """Format 12 as ¹²."""
    return str(number).translate(_SUPERSCRIPTS)
