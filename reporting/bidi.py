"""Arabic and Hebrew on the page: letters joined, and each line in the order in which it is seen.

In      drawable text in logical order (the order of reading)
Out     the same text in visual order, to be drawn from left to right
Each value is ordered for itself, so that a name can't move the words and dates beside it. The
algorithm is Unicode's (UAX 9, package python-bidi), joining is arabic-reshaper's.
"""

import unicodedata
from functools import cache
from typing import Any

__all__ = ["has_rtl", "visual"]


def has_rtl(text: str) -> bool:
    """Whether any character is written from right to left."""
    return any(unicodedata.bidirectional(c) in {"R", "AL", "AN"} for c in text)


def visual(text: str) -> str:
    """One line of text as it is seen, in a page that is read from left to right."""
    if not has_rtl(text):
        return text
    from bidi import get_display

    return str(get_display(_reshaper().reshape(text), base_dir="L"))


@cache
def _reshaper() -> Any:
    from arabic_reshaper import ArabicReshaper

    # marks stay where they are, and no word is replaced by a sign that the face may not have
    return ArabicReshaper({"delete_harakat": False, "ARABIC LIGATURE ALLAH": False})
