"""The typeface of the PDF and of overview pictures: embedded, the same on every machine.

Roboto (package `font-roboto`, Apache-2.0) covers Latin, Greek and Cyrillic; where that package is
not installed, reportlab's own Bitstream Vera covers Western European Latin. A character that the
face does not have is drawn as its number, never left out and never as an empty box.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from reporting.words import legible

__all__ = ["BOLD", "REGULAR", "Face", "drawable", "face"]

REGULAR = "Report"
BOLD = "Report-Bold"


@dataclass(frozen=True)
class Face:
    """Where the two cuts lie, and which characters both have."""

    name: str
    regular: Path
    bold: Path
    characters: frozenset[int]


@cache
def face() -> Face:
    """The face in use, registered with reportlab under REGULAR and BOLD."""
    roboto, vera = _folder("font_roboto"), _folder("reportlab")
    if roboto is not None and (roboto / "files" / "Roboto-Regular.ttf").exists():
        name, folder = "Roboto", roboto / "files"
        regular, bold = folder / "Roboto-Regular.ttf", folder / "Roboto-Bold.ttf"
    elif vera is not None:
        name, folder = "Bitstream Vera Sans", vera / "fonts"
        regular, bold = folder / "Vera.ttf", folder / "VeraBd.ttf"
    else:  # reportlab is imported above
        raise RuntimeError("reportlab's fonts are not where its package is; reinstall reportlab")
    characters: set[int] | None = None
    for alias, path in ((REGULAR, regular), (BOLD, bold)):
        font = TTFont(alias, str(path))
        pdfmetrics.registerFont(font)
        has = set(font.face.charToGlyph)
        characters = has if characters is None else characters & has
    pdfmetrics.registerFontFamily(
        REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD
    )
    return Face(name, regular, bold, frozenset(characters or ()))


def drawable(text: str) -> str:
    """Text as one legible line; each run of characters that the face lacks becomes numbers.

    >>> drawable("Blast 山田 1")
    'Blast [U+5C71 U+7530] 1'
    """
    known = face().characters
    return "".join(
        "".join(run) if has else f"[{' '.join(f'U+{ord(c):04X}' for c in run)}]"
        for has, run in groupby(legible(text), key=lambda c: ord(c) in known)
    )


def _folder(package: str) -> Path | None:
    """A package's folder, without importing it."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(places[0]) if places else None
