"""Colours of cell groups: told apart by the colour-blind (Okabe and Ito 2008) and on grey paper,
where width and dash of the line say the same.
"""

from dataclasses import dataclass

from domain.cells import UNCLASSIFIED, Cell, CellClass, WbcClass

__all__ = ["GROUPS", "Group", "group_of"]


@dataclass(frozen=True, kw_only=True)
class Group:
    """How the boxes of one group of cells are drawn. `rgb` 0..255; `width` and `dash` in points."""

    name: str
    rgb: tuple[int, int, int]
    width: float
    dash: tuple[int, ...] = ()
    numbered: bool = True

    @property
    def hex(self) -> str:
        return "#{:02X}{:02X}{:02X}".format(*self.rgb)


BLAST = Group(name="Blast", rgb=(213, 94, 0), width=1.8)
LYMPHOCYTE = Group(name="Other lymphoid cell", rgb=(0, 114, 178), width=1.1)
MYELOID = Group(name="Granulocyte or precursor", rgb=(0, 158, 115), width=1.1)
MONOCYTE = Group(name="Monocyte", rgb=(204, 121, 167), width=1.1)
NUCLEATED_RED = Group(name="Nucleated red cell", rgb=(230, 159, 0), width=1.1, dash=(4, 2))
UNNAMED = Group(name="Unclassified", rgb=(0, 0, 0), width=1.1, dash=(2, 2))
RED_CELL = Group(name="Red cell", rgb=(150, 150, 150), width=0.4, numbered=False)
PLATELET = Group(name="Platelet", rgb=(86, 180, 233), width=0.7, dash=(1, 1), numbered=False)
GROUPS = (BLAST, LYMPHOCYTE, MYELOID, MONOCYTE, NUCLEATED_RED, UNNAMED, RED_CELL, PLATELET)

_OF_CLASS = {
    WbcClass.BLAST_CELLS.value: LYMPHOCYTE,
    WbcClass.LYMPHOCYTES.value: LYMPHOCYTE,
    WbcClass.MONOCYTES.value: MONOCYTE,
    WbcClass.NUCLEATED_RED_BLOOD_CELLS.value: NUCLEATED_RED,
    CellClass.RED_BLOOD_CELL.value: RED_CELL,
    CellClass.PLATELET.value: PLATELET,
    UNCLASSIFIED: UNNAMED,
}


def group_of(cell: Cell) -> Group:
    """The group whose colour a cell's box has."""
    return BLAST if cell.is_blast else _OF_CLASS.get(cell.final_class, MYELOID)
