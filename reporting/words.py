"""Words for a reader: classes, stages, flags, persons and dates, and text made harmless.

Text of a source goes through `legible` before it is drawn: control and direction characters are
shown as what they are, so that nothing on the page can pretend to be something else.
"""

import re
import unicodedata

from domain.cells import Stage
from domain.finding import SUBTYPE_WORDS, Flag

__all__ = [
    "FLAG_WORDS",
    "STAGE_WORDS",
    "class_words",
    "date_words",
    "harmless",
    "legible",
    "person_words",
    "short",
]

_CLASSES = {
    "red_blood_cell": "Red blood cell",
    "platelet": "Platelet",
    "immature_neutrophil": "Immature neutrophil",
    "blast_cells": "Blast cell (morphology)",
    "lymphocytes": "Lymphocyte",
    "monocytes": "Monocyte",
    "myelocyte": "Myelocyte",
    "neutrophil": "Neutrophil",
    "nucleated_red_blood_cells": "Nucleated red cell",
    "promyelocyte": "Promyelocyte",
    "eosinophil": "Eosinophil",
    "basophil": "Basophil",
    "unclassified": "Unclassified",
    "benign": "Benign",
    "malignant": "Malignant",
}
STAGE_WORDS = {
    Stage.VIABILITY: "Image viability",
    Stage.DETECTION: "Cell detection",
    Stage.CELL_CLASS: "Cell class",
    Stage.WBC_CLASS: "White-cell class",
    Stage.MALIGNANCY: "Malignancy",
    Stage.SUBTYPE: "Blast pattern",
}
FLAG_WORDS = {
    Flag.UNTRAINED_MODELS: "untrained models",
    Flag.NOT_COMMISSIONED: "bundle not commissioned at this laboratory",
    Flag.NOT_EVALUABLE: "not evaluable",
    Flag.STAGE_FAILED: "a stage failed",
    Flag.IMAGE_UNREADABLE: "an image could not be read to its end",
    Flag.ANY_BLAST: "blasts present",
    Flag.BLASTS_AT_THRESHOLD: "at or above the review threshold",
    Flag.MORPHOLOGY_DISAGREES: "morphology disagrees",
    Flag.REJECT_RATE_HIGH: "many cells unclassified",
    Flag.SCALE_UNKNOWN: "scale unknown",
    Flag.SCALE_OUT_OF_RANGE: "scale outside the bundle's range",
    Flag.STAIN_OUT_OF_RANGE: "stain outside the bundle's range",
    Flag.DOMAIN_NOT_COVERED: "image domain not covered",
    Flag.IMAGE_NOT_VIABLE: "image not viable",
    Flag.FIELD_LIMIT_REACHED: "reading stopped at the leukocytes wanted",
    Flag.SPECIMEN_NOT_IDENTIFIED: "specimen not identified",
}


# embeddings, overrides and isolates (Unicode UAX 9): they reorder what stands after them
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def class_words(name: str) -> str:
    """
    >>> class_words("early_pre_b"), class_words("monocytes")
    ('Early Pre-B', 'Monocyte')
    """
    return SUBTYPE_WORDS.get(name) or _CLASSES.get(name, name)


def legible(text: str) -> str:
    """One line without control, direction, surrogate or private characters: each becomes its
    number, line ends and tabs a blank.

    >>> legible("a\\u202eb\\x00")
    'a[U+202E]b[U+0000]'
    """
    spaced = re.sub(r"[ \t\r\n]+", " ", text).strip()
    return "".join(
        f"[U+{ord(c):04X}]"
        if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        else c
        for c in spaced
    )


def harmless(text: str) -> str:
    """One line for a program that will show it: as it came, but for control, surrogate and
    direction characters, which become their numbers. Joiners stay, for names are spelt with them.

    >>> harmless("a\\u202eb\\x00 \\u0645\\u06cc\\u200c\\u062e")
    'a[U+202E]b[U+0000] \u0645\u06cc\u200c\u062e'
    """
    spaced = re.sub(r"[ \t\r\n]+", " ", text).strip()
    return "".join(
        f"[U+{ord(c):04X}]"
        if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in _DIRECTIONS
        else c
        for c in spaced
    )


def short(text: str, limit: int) -> str:
    """Text of at most `limit` characters, an ellipsis where some were left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def person_words(name: str) -> str:
    """A person name (PS3.5 6.2.1) as read: family name, then the others; other scripts after `/`.

    >>> person_words("Müller^Anna^^Dr.")
    'Müller, Anna, Dr.'
    """
    groups = [
        ", ".join(part.strip() for part in group.split("^") if part.strip())
        for group in legible(name).split("=")
    ]
    return " / ".join(group for group in groups if group)


def date_words(date: str, time: str = "") -> str:
    """DA and TM for a reader; as received when they are no date and time.

    >>> date_words("20261120", "101500")
    '2026-11-20 10:15'
    """
    day = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", date.strip())
    if day is None:
        return legible(f"{date} {time}")
    hour = re.match(r"(\d\d)(\d\d)", time.strip())
    return "-".join(day.groups()) + (f" {':'.join(hour.groups())}" if hour else "")
