"""The typefaces of the PDF and of overview pictures: embedded, the same on every machine.

Text is drawn in the first face that has its characters:

    Roboto              Latin, Greek, Cyrillic           package font-roboto (Apache-2.0)
    DejaVu Sans         Arabic, Hebrew, symbols          comes with matplotlib (Bitstream Vera licence)
    WenQuanYi Micro Hei Chinese, Japanese, Korean        package paperang-p2-fonts-cjk (Apache-2.0)
    Noto Sans Thai      Thai                             package fontpkg-noto-sans-thai (OFL-1.1)

which covers the repertoires of DICOM's Specific Character Sets (PS3.3 C.12.1.1.2). A face whose
package is missing is passed over; without Roboto, reportlab's own Bitstream Vera takes its place. A
character that no face has is drawn as its number, never left out and never as an empty box.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import SUBSETN, TTFont

from reporting.words import legible

__all__ = ["BOLD", "REGULAR", "Face", "drawable", "face", "face_of", "runs", "text_width"]

REGULAR = "Report"
BOLD = "Report-Bold"


@dataclass(frozen=True, kw_only=True)
class Face:
    """A typeface: where its two cuts lie (the same file where it has one cut), under which names
    reportlab knows them, and which characters both have."""

    name: str
    regular: Path
    bold: Path
    regular_name: str
    bold_name: str
    characters: frozenset[int]


# package, its folder of fonts, regular, bold, name; the first one that is installed of each row
_FALLBACKS = (
    ("matplotlib", "mpl-data/fonts/ttf", "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVu Sans"),
    ("paperang_p2_fonts_cjk", "fonts", "wqy-microhei.ttc", "wqy-microhei.ttc", "WQY Micro Hei"),
    (
        "fontpkg_noto_sans_thai",
        "files",
        "NotoSansThai[wdth,wght].ttf",
        "NotoSansThai[wdth,wght].ttf",
        "Noto Sans Thai",
    ),
)


@cache
def face() -> Face:
    """The main face, registered with reportlab under REGULAR and BOLD."""
    roboto, vera = _folder("font_roboto"), _folder("reportlab")
    if roboto is not None and (roboto / "files" / "Roboto-Regular.ttf").exists():
        folder, cuts, name = roboto / "files", ("Roboto-Regular.ttf", "Roboto-Bold.ttf"), "Roboto"
    elif vera is not None:
        folder, cuts, name = vera / "fonts", ("Vera.ttf", "VeraBd.ttf"), "Bitstream Vera Sans"
    else:  # reportlab is imported above
        raise RuntimeError("reportlab's fonts are not where its package is; reinstall reportlab")
    return _registered(name, folder / cuts[0], folder / cuts[1], REGULAR, BOLD)


@cache
def _fallback(number: int) -> Face | None:
    """One of the further faces; read only when a character asks for it. None if not installed."""
    package, inside, regular, bold, name = _FALLBACKS[number]
    folder = _folder(package)
    if folder is None or not (folder / inside / regular).exists():
        return None
    alias = f"{REGULAR}-{name.replace(' ', '')}"
    paths = folder / inside / regular, folder / inside / bold
    return _registered(name, *paths, alias, alias if regular == bold else f"{alias}-Bold")


@cache
def face_of(character: str) -> Face | None:
    """The first face that has this character."""
    if ord(character) in face().characters:
        return face()
    for number in range(len(_FALLBACKS)):
        made = _fallback(number)
        if made is not None and ord(character) in made.characters:
            return made
    return None


def drawable(text: str) -> str:
    """Text as one legible line in logical order; each run of characters that no face has becomes
    their numbers.

    >>> drawable("Blast 山田 \\U0001f9a0 1")
    'Blast 山田 [U+1F9A0] 1'
    """
    return "".join(
        "".join(run) if has else f"[{' '.join(f'U+{ord(c):04X}' for c in run)}]"
        for has, run in groupby(legible(text), key=lambda c: face_of(c) is not None)
    )


def runs(text: str, *, bold: bool = False) -> Iterator[tuple[str, str]]:
    """(reportlab's name of the font, text) of each run of drawable text; blanks stay where they are."""
    made: list[tuple[str, str]] = []
    for character in text:
        of = face_of(character) or face()
        name = of.bold_name if bold else of.regular_name
        if made and made[-1][0] == name:
            made[-1] = (name, made[-1][1] + character)
        else:
            made.append((name, character))
    yield from made


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Width in points of drawable text."""
    return float(
        sum(pdfmetrics.stringWidth(run, name, size) for name, run in runs(text, bold=bold))
    )


class _Embedded(TTFont):  # type: ignore[misc]  # reportlab has no types
    """A TrueType font whose ToUnicode map tells letters, not their shapes, and no character 0
    (ISO 19005-2, 6.2.11.7.2)."""

    def addObjects(self, doc: Any) -> None:  # noqa: N802  # reportlab's name
        subsets = [list(subset) for subset in self.state[doc].subsets]
        super().addObjects(doc)
        face_name = b"".join((self.face.name, self.face.subfontNameX)).decode("latin-1")
        for number, subset in enumerate(subsets):
            name = f"{SUBSETN(number).decode('latin-1')}+{face_name}"
            doc.idToObject[f"toUnicodeCMap:{name}"].content = _to_unicode(name, subset)


def _to_unicode(name: str, subset: list[int]) -> str:
    """ToUnicode CMap of a one-byte font (ISO 32000-1, 9.10.3): in blocks of at most 100."""
    pairs = [
        f"<{code:02X}> <{_letters(character).encode('utf-16-be').hex().upper()}>"
        for code, character in enumerate(subset)
        if character
    ]
    blocks = []
    for i in range(0, len(pairs), 100):
        part = pairs[i : i + 100]
        blocks += [f"{len(part)} beginbfchar", *part, "endbfchar"]
    return "\n".join(
        (
            "/CIDInit /ProcSet findresource begin",
            "12 dict begin",
            "begincmap",
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
            f"/CMapName /{name} def",
            "/CMapType 2 def",
            "1 begincodespacerange",
            "<00> <FF>",
            "endcodespacerange",
            *blocks,
            "endcmap",
            "CMapName currentdict /CMap defineresource pop",
            "end",
            "end",
        )
    )


def _letters(character: int) -> str:
    """What a character reads as: of an Arabic presentation form its letter. A ligature stays itself:
    readers differ in the order in which they take its letters apart."""
    char = chr(character)
    if "\ufb1d" <= char <= "\ufdff" or "\ufe70" <= char <= "\ufefc":
        letters = unicodedata.normalize("NFKC", char).strip()
        return letters if len(letters) == 1 else char
    return char


def _registered(name: str, regular: Path, bold: Path, regular_name: str, bold_name: str) -> Face:
    characters: frozenset[int] | None = None
    for alias, path in dict.fromkeys(((regular_name, regular), (bold_name, bold))):
        font = _Embedded(alias, str(path))
        pdfmetrics.registerFont(font)
        has = frozenset(font.face.charToGlyph)
        characters = has if characters is None else characters & has
    pdfmetrics.registerFontFamily(
        regular_name,
        normal=regular_name,
        bold=bold_name,
        italic=regular_name,
        boldItalic=bold_name,
    )
    return Face(
        name=name,
        regular=regular,
        bold=bold,
        regular_name=regular_name,
        bold_name=bold_name,
        characters=characters or frozenset(),
    )


def _folder(package: str) -> Path | None:
    """A package's folder, without importing it."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(places[0]) if places else None
