"""Names as they may be shown: characters that hide, move the cursor or turn the text around are written out.

Names of classes, files and networks come from anywhere. Answers keep them as they are; what shows them to a person, on
a terminal or a page, takes them through `visible` first.
"""

import re

HIDDEN = re.compile(
    "["
    "\\x00-\\x1f\\x7f-\\x9f"  # control characters: ESC, NUL, line ends
    "\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u3164\\ufeff\\uffa0"  # nothing to see
    "\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufff9-\\ufffb"  # no width, line ends, direction of writing
    "\\ud800-\\udfff"  # halves of characters, which no file in UTF-8 can hold
    "\\U000e0000-\\U000e0fff"  # invisible letters
    "]"
)
_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    r"""The text with every hidden character written as an escape.

    The joiners of U+200C and U+200D stay where they join: in emoji, and in scripts that need them.

    Example:
        >>> print(visible("a\x1b[31m\nb\u202e"), visible("فستان 👩🏽\u200d🚀"))
        a\x1b[31m\nb\u202e فستان 👩🏽‍🚀
    """
    return HIDDEN.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    letter, start, end = found[0], found.start(), found.end()
    around = found.string[start - 1 : start] + found.string[end : end + 1]
    if letter in _JOINERS and len(around) == 2 and not any(a.isascii() or HIDDEN.match(a) for a in around):
        return letter
    return letter.encode("unicode_escape").decode("ascii")
