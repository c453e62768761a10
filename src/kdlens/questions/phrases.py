"""Numbers and lists as they stand in a sentence."""

import math
from collections.abc import Sequence


def number(value: float, digits: int = 1, *, signed: bool = False) -> str:
    """A number with a fixed count of digits; never "-0.0".

    Example:
        >>> number(2.06, signed=True), number(-0.01), number(float("nan"))
        ('+2.1', '0.0', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    rounded = round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}"


def span(low: float | None, high: float | None, digits: int = 1) -> str:
    """An interval, or nothing where it is unknown.

    Example:
        >>> span(1.42, 2.8), span(None, None)
        (' [1.4, 2.8]', '')
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f" [{number(low, digits)}, {number(high, digits)}]"


def points(value: float, low: float | None = None, high: float | None = None, digits: int = 1) -> str:
    """A difference in percentage points with its interval.

    Example:
        >>> points(2.06, 1.4, 2.8)
        '+2.1 points [1.4, 2.8]'
    """
    return f"{number(value, digits, signed=True)} points{span(low, high, digits)}"


def digits_that_add_up(first: float, second: float, difference: float, *, most: int = 3) -> int:
    """With how many digits `first - second` is `difference` also as they are written; 1 where no count will do.

    Example:
        >>> digits_that_add_up(90.0, 80.0, 10.0), digits_that_add_up(90.26, 80.14, 10.12)
        (1, 2)
    """
    for digits in range(1, most + 1):
        left = round(first, digits) - round(second, digits) - round(difference, digits)
        if abs(left) < 0.1 * 10**-digits:
            return digits
    return 1


def quoted(name: str, *, most: int = 60) -> str:
    """A name in quotes, shortened where it is longer than a sentence bears.

    Example:
        >>> quoted("T-shirt"), quoted("abcdefgh", most=5)
        ('"T-shirt"', '"abcd…"')
    """
    return f'"{name}"' if len(name) <= most else f'"{name[: most - 1]}…"'


def correlation(value: float, low: float | None = None, high: float | None = None) -> str:
    """A correlation without its leading zero, with its interval.

    Example:
        >>> correlation(0.412, 0.36, 0.449), correlation(-0.02)
        ('.41 [.36, .45]', '-.02')
    """
    text = f"{number(value, 2)}{span(low, high, 2)}"
    return text.replace("0.", ".") if "undefined" not in text else text


def p_value(p: float | None) -> str:
    """A p-value.

    Example:
        >>> p_value(0.0312), p_value(1e-7), p_value(1.0)
        ('p = .031', 'p < .001', 'p = 1')
    """
    if p is None or math.isnan(p):
        return "p unknown"
    if p < 0.001:
        return "p < .001"
    return "p = 1" if p >= 0.9995 else f"p = {p:.3f}".replace("0.", ".")


def counted(n: float, thing: str, plural: str = "") -> str:
    """A count and its thing; a mean of counts that is not whole has one digit.

    Example:
        >>> counted(1, "image"), counted(2000, "image"), counted(3, "class", "classes")
        ('1 image', '2,000 images', '3 classes')
        >>> counted(474.0, "image"), counted(1234.56, "image")
        ('474 images', '1,234.6 images')
    """
    if not float(n).is_integer():
        return f"{n:,.1f} {plural or thing + 's'}"
    return f"{int(n):,} {thing if n == 1 else plural or thing + 's'}"


def listed(things: Sequence[str], *, most: int = 8) -> str:
    """A list in a sentence, shortened when long.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"]), listed([str(i) for i in range(12)], most=3)
        ('a', 'a, b and c', '0, 1, 2 and 9 more')
    """
    shown = list(things)
    if len(shown) > most + 1:
        shown = [*shown[:most], f"{len(shown) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else "none"
