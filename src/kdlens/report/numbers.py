"""Numbers as a reader wants them: digits that fit the unit, a true minus sign, a dash where there is no number."""

import math

from kdlens.answer import Row

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
_DIGITS = {
    "%": 1,
    "points": 1,
    "images": 0,
    "seeds": 0,
    "px": 0,
    "ms": 1,
    "cells": 1,
    "units": 1,
    "concepts": 1,
    "epochs": 1,
    "checkpoints": 1,
}
_SIGNED = ("_gain", "_change", "_difference", "_reliance")


def known(value: float | None) -> bool:
    """Whether there is a finite number.

    Example:
        >>> known(0.0), known(None), known(float("nan")), known(float("inf"))
        (True, False, False, False)
    """
    return value is not None and math.isfinite(value)


def number(value: float | None, unit: str = "", *, signed: bool = False) -> str:
    """A number with the digits its unit deserves.

    Example:
        >>> number(91.527, "%"), number(-0.0213), number(2.06, "points", signed=True), number(float("nan"))
        ('91.5', '−0.021', '+2.1', '–')
        >>> number(12000, "images"), number(12.33, "images"), number(0.000012), number(272474.0)
        ('12,000', '12.3', '1.2e−05', '272,474')
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    digits = _digits(value, unit)
    if digits is None:
        text = f"{value:{'+' if signed else ''}.1e}"
    else:
        rounded = round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
        text = f"{rounded:{'+' if signed and rounded else ''},.{digits}f}"
    return text.replace("-", MINUS)


def _digits(value: float, unit: str) -> int | None:
    if unit in _DIGITS:
        return _DIGITS[unit] if float(value).is_integer() or _DIGITS[unit] else 1
    if float(value).is_integer() and abs(value) >= 10:
        return 0
    if 0 < abs(value) < 0.0005:
        return None
    return 3 if abs(value) < 10 else 1


def signed(row: Row) -> bool:
    """Whether a row's number is a difference and shows its sign."""
    return row.unit == "points" or row.metric.endswith(_SIGNED)


def value_text(row: Row) -> str:
    """A row's value.

    Example:
        >>> value_text(Row("top1_gain", 2.06, unit="points"))
        '+2.1'
    """
    return number(row.value, row.unit, signed=signed(row))


def interval_text(low: float | None, high: float | None, unit: str = "", *, signed: bool = False) -> str:
    """An interval in brackets, or nothing where it is unknown.

    Example:
        >>> interval_text(1.42, 2.8, "points", signed=True), interval_text(None, 2.8)
        ('[+1.4, +2.8]', '')
    """
    if not (known(low) and known(high)):
        return ""
    return f"[{number(low, unit, signed=signed)}, {number(high, unit, signed=signed)}]"


def with_unit(text: str, unit: str) -> str:
    r"""A number's text with its unit, where it has one.

    Example:
        >>> with_unit("91.5", "%"), with_unit(MISSING, "%"), with_unit("0.4", "")
        ('91.5\xa0%', '–', '0.4')
    """
    return f"{text}\N{NO-BREAK SPACE}{unit}" if unit and text != MISSING else text


def p_text(p: float | None) -> str:
    """A p-value without the letter.

    Example:
        >>> p_text(0.0312), p_text(1e-7), p_text(1.0), p_text(None)
        ('0.031', '< 0.001', '1', '')
    """
    if p is None or math.isnan(p):
        return ""
    if p < 0.001:
        return "< 0.001"
    return "1" if p >= 0.9995 else f"{p:.3f}"


def count(n: int, thing: str, plural: str = "") -> str:
    """A count and its thing.

    Example:
        >>> count(1, "image"), count(2000, "image"), count(3, "class", "classes")
        ('1 image', '2,000 images', '3 classes')
    """
    return f"{n:,} {thing if n == 1 else plural or thing + 's'}"


def shorten(text: str, most: int, *, keep_end: bool = False) -> str:
    """Cut a text that is too long for its place; `keep_end` keeps the end, as for dotted names.

    Example:
        >>> shorten("abcdefgh", 5), shorten("blocks.11.mlp", 8, keep_end=True), shorten("fits", 5)
        ('abcd…', '….11.mlp', 'fits')
    """
    if len(text) <= most:
        return text
    return "…" + text[-(most - 1) :] if keep_end else text[: most - 1] + "…"


def short_name(name: str) -> str:
    """A name as it is shown: a very long one is cut, the stored one stays.

    Example:
        >>> short_name("T-shirt"), len(short_name("x" * 3000))
        ('T-shirt', 60)
    """
    return shorten(name, 60)
