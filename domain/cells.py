"""The closed lists of classes, in the index order of METHOD section 1, and one cell's record.

These lists are the only place where a class index is written. Names are the outward contract's.
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.image import Box

__all__ = [
    "FURTHER_WBC_CLASSES",
    "LEUKOCYTES",
    "LYMPHOID",
    "NOT_WHITE",
    "UNCLASSIFIED",
    "Cell",
    "CellClass",
    "Malignancy",
    "Mark",
    "Stage",
    "Subtype",
    "ViabilityClass",
    "WbcClass",
]

UNCLASSIFIED = "unclassified"


class Stage(StrEnum):
    """The six networks, in order."""

    VIABILITY = "viability"
    DETECTION = "detection"
    CELL_CLASS = "cell_class"
    WBC_CLASS = "wbc_class"
    MALIGNANCY = "malignancy"
    SUBTYPE = "subtype"

    @property
    def number(self) -> int:
        return list(Stage).index(self) + 1


class ViabilityClass(StrEnum):
    """Stage 1, index order."""

    VIABLE = "viable"
    NON_VIABLE = "non_viable"


class CellClass(StrEnum):
    """Stage 3, index order; stage 2 uses the same names."""

    RED_BLOOD_CELL = "red_blood_cell"
    PLATELET = "platelet"
    WHITE_BLOOD_CELL = "white_blood_cell"


class WbcClass(StrEnum):
    """Stage 4, index order; eosinophil and basophil only where the bundle has them."""

    IMMATURE_NEUTROPHIL = "immature_neutrophil"
    BLAST_CELLS = "blast_cells"
    LYMPHOCYTES = "lymphocytes"
    MONOCYTES = "monocytes"
    MYELOCYTE = "myelocyte"
    NEUTROPHIL = "neutrophil"
    NUCLEATED_RED_BLOOD_CELLS = "nucleated_red_blood_cells"
    PLATELET = "platelet"
    PROMYELOCYTE = "promyelocyte"
    RED_BLOOD_CELL = "red_blood_cell"
    EOSINOPHIL = "eosinophil"
    BASOPHIL = "basophil"


class Malignancy(StrEnum):
    """Stage 5, index order."""

    BENIGN = "benign"
    MALIGNANT = "malignant"


class Subtype(StrEnum):
    """Stage 6, index order (METHOD: Early Pre-B, Pre-B, Pro-B)."""

    EARLY_PRE_B = "early_pre_b"
    PRE_B = "pre_b"
    PRO_B = "pro_b"


FURTHER_WBC_CLASSES = (WbcClass.EOSINOPHIL, WbcClass.BASOPHIL)
LYMPHOID = (WbcClass.BLAST_CELLS, WbcClass.LYMPHOCYTES)
NOT_WHITE = (
    WbcClass.NUCLEATED_RED_BLOOD_CELLS,
    WbcClass.PLATELET,
    WbcClass.RED_BLOOD_CELL,
)
LEUKOCYTES = tuple(c for c in WbcClass if c not in NOT_WHITE)


class Mark(StrEnum):
    """Why a person should look at a cell."""

    OVERRULED = "stage 4 overrules stage 3"
    DISAGREEMENT = "morphology and malignancy disagree"
    REJECTED = "below the reject threshold"
    AT_BORDER = "cut by the image's border"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One detected cell with every stage's probabilities, each in its list's index order.

    A stage that did not look at the cell has None and (). A class is None when its stage did not
    look, UNCLASSIFIED when it looked and rejected. `final_class` is what the cell is counted as:
    `red_blood_cell`, `platelet`, a WbcClass, or UNCLASSIFIED (METHOD section 4).

    `outline_px` is stage 3's mask as a polygon within the box: x0, y0, x1, y1, ... of three points
    or more, the first not repeated; () where the cell has none (red cells, platelets, poor masks).
    """

    number: int  # 1-based in the analysis
    image: int  # index into Analysis.images
    frame: int
    box_px: Box
    detection_p: float
    cell_class: CellClass
    cell_class_p: tuple[float, ...]
    wbc_class: str | None = None
    wbc_class_p: tuple[float, ...] = ()
    malignancy: str | None = None
    malignancy_p: tuple[float, ...] = ()
    subtype: str | None = None
    subtype_p: tuple[float, ...] = ()
    final_class: str = UNCLASSIFIED
    marks: tuple[Mark, ...] = ()
    outline_px: tuple[float, ...] = ()

    @property
    def is_leukocyte(self) -> bool:
        """Counted in N: a leukocyte by final class, unclassified ones excluded."""
        return self.final_class in LEUKOCYTES

    @property
    def is_blast(self) -> bool:
        """A lymphoid cell that stage 5 calls malignant."""
        return self.final_class in LYMPHOID and self.malignancy == Malignancy.MALIGNANT

    @property
    def rejected_at(self) -> Stage | None:
        """The stage that could not name this white cell, if one could not."""
        if self.wbc_class == UNCLASSIFIED:
            return Stage.WBC_CLASS
        if self.malignancy == UNCLASSIFIED:
            return Stage.MALIGNANCY
        if self.subtype == UNCLASSIFIED:
            return Stage.SUBTYPE
        return None
