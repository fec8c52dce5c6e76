"""Where the ticks of an axis lie, and numbers as people read them. Imports nothing but Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

_UNITS = (
    (1e9, "G"),
    (1e6, "M"),
    (1e4, "k"),
)  # from this size on; k only from 10,000, for 1,500 reads better than 1.5 k


def number(value: float, digits: int = 6) -> str:
    """A number in at most so many digits: ``0.0003`` -> ``3e-4``, ``1048576`` -> ``1,048,576``. Integers are exact."""
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if exponent else mantissa  # inf and nan have none
    decimals = max(1, digits - 1 - math.floor(math.log10(abs(value)))) if value else 1
    return f"{value:,.{decimals}f}".rstrip("0").removesuffix(".")


def figure(value: float) -> str:
    """A success rate or a return, as the terminal shows it: three decimals, none from 1,000 on."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """The multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``, ``most`` of them or fewer."""
    for wanted in (most + 1, most):  # the finer step will do where the range begins or ends between ticks
        mantissa, exponent = _step(low, high, wanted)
        step = mantissa * 10.0**exponent
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    # Rounded, so that the third tenth is 0.3 and not 0.30000000000000004.
    return [round(k * step, max(0, -exponent)) for k in range(first, last + 1)]


def widened(low: float, high: float, wanted: int = 6) -> tuple[float, float]:
    """The range of an axis with a tick at either end that holds ``low`` to ``high``."""
    if low == high:
        pad = 0.1 * abs(low) or 0.5
        low, high = low - pad, high + pad
    most = wanted
    while True:
        mantissa, exponent = _step(low, high, most)
        step = mantissa * 10.0**exponent
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < wanted or most <= 2:  # rounding outwards adds up to two ticks
            return round(first * step, max(0, -exponent)), round(last * step, max(0, -exponent))
        most -= 1


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Ticks from ``low`` to ``high``, both positive: 1, 2 and 5 of every decade, or 1 only, or of every n-th decade."""
    decades = range(math.floor(math.log10(low) + 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    inside = lambda value: low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        # As text first: 10.0**-4 is not the double that 1e-4 is read as.
        ticks = [value for k in decades for m in mantissas if inside(value := float(f"{m}e{k}"))]
        if len(ticks) <= most:
            return ticks if len(ticks) > 1 else linear_ticks(low, high, most)
    return ticks[:: math.ceil(len(ticks) / most)]


def tick_labels(ticks: Sequence[float], log: bool = False) -> list[str]:
    """One text a tick; on a linear axis with equally many decimals and one unit."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    if log or 0 < largest < 1e-3:
        return [number(tick) for tick in ticks]
    scale, unit = next(
        ((1e3 if unit == "k" else size, f" {unit}") for size, unit in _UNITS if largest >= size), (1, "")
    )
    scaled = [tick / scale for tick in ticks]
    digits = next(d for d in range(13) if d == 12 or all(abs(v - round(v, d)) < 1e-9 * max(abs(v), 1) for v in scaled))
    return [f"{value:,.{digits}f}{unit}" if value else "0" for value in scaled]


def _step(low: float, high: float, most: int) -> tuple[int, int]:
    """The smallest of 1, 2, 5, 10, 20, ... and their tenths of which ``most - 1`` or fewer make up the range."""
    rough = (high - low) / max(most - 1, 1)
    if not 0 < rough < math.inf:
        raise ValueError(f"ticks from {low} to {high}: expected finite numbers, the second one larger")
    exponent = math.floor(math.log10(rough))
    for mantissa in (1, 2, 5):
        if rough <= mantissa * 10.0**exponent * (1 + 1e-9):
            return mantissa, exponent
    return 1, exponent + 1
