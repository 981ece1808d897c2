"""What a cell is, from what the stages say of it: the rules, and nothing else.

In      probabilities and class names of one cell
Out     names, the final class, marks
Pure: plain values, no torch.
"""

from collections.abc import Mapping, Sequence

from domain.cells import (
    LYMPHOID,
    NOT_WHITE,
    UNCLASSIFIED,
    CellClass,
    Malignancy,
    Mark,
    WbcClass,
)

__all__ = ["final_class_of", "marks_of", "name_of", "sees_malignancy", "sees_subtype", "sees_wbc"]


def name_of(
    p: Sequence[float], *, classes: Sequence[str], reject_below: Mapping[str, float]
) -> str:
    """The most probable class, the first of equals; UNCLASSIFIED when it has less probability
    than that class needs."""
    best = max(range(len(p)), key=lambda i: p[i])
    return classes[best] if p[best] >= reject_below[classes[best]] else UNCLASSIFIED


def sees_wbc(cell_class: CellClass) -> bool:
    """Whether stage 4 looks at the cell."""
    return cell_class is CellClass.WHITE_BLOOD_CELL


def sees_malignancy(wbc_class: str | None) -> bool:
    """Whether stage 5 looks at the cell: the lymphoid ones."""
    return wbc_class in LYMPHOID


def sees_subtype(malignancy: str | None) -> bool:
    """Whether stage 6 looks at the cell: the blasts."""
    return malignancy == Malignancy.MALIGNANT


def final_class_of(cell_class: CellClass, wbc_class: str | None, malignancy: str | None) -> str:
    """What the cell is counted as.

    Stage 3's red cells and platelets are those. A white cell is what stage 4 says, even where that
    is no white cell. It is unclassified when stage 4 rejects it or could not do its work, and when
    stage 5 rejects a lymphoid cell. A lymphoid cell that stage 5 was not asked about, because it
    failed, keeps stage 4's class: without it the differential would be of the other cells alone.
    No blast number is given then (Analysis.measured). Stage 6 changes nothing here.
    """
    if not sees_wbc(cell_class):
        return cell_class.value
    if wbc_class is None or wbc_class == UNCLASSIFIED:
        return UNCLASSIFIED
    if sees_malignancy(wbc_class) and malignancy == UNCLASSIFIED:
        return UNCLASSIFIED
    return wbc_class


def marks_of(
    *,
    wbc_class: str | None,
    malignancy: str | None,
    subtype: str | None,
    at_border: bool,
) -> tuple[Mark, ...]:
    """Why a person should look at the cell, in the order of `Mark`."""
    disagree = (
        (WbcClass.BLAST_CELLS, Malignancy.BENIGN),
        (
            WbcClass.LYMPHOCYTES,
            Malignancy.MALIGNANT,
        ),
    )
    apply = {
        Mark.OVERRULED: wbc_class in NOT_WHITE,
        Mark.DISAGREEMENT: (wbc_class, malignancy) in disagree,
        Mark.REJECTED: UNCLASSIFIED in (wbc_class, malignancy, subtype),
        Mark.AT_BORDER: at_border,
    }
    return tuple(mark for mark in Mark if apply[mark])
