"""How cells are shown one by one in a result object: in groups, each with its codes and words.

In      Report
Out     the cells of an image in groups, and the numbers said of each cell
A group is one class that cells are counted as; blasts (stage 5's verdict) are groups of their own, by
the class of form. So the sizes of the groups, summed over the images, are the counts of `result.json`.
What was not measured makes no group: where stage 4 failed, white cells are white cells.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from domain.cells import (
    LEUKOCYTES,
    UNCLASSIFIED,
    Cell,
    CellClass,
    Malignancy,
    Stage,
    WbcClass,
)
from domain.image import ImageReading
from domain.study import Code, EvidenceRef
from reporting import codes
from reporting.colours import group_of
from reporting.report import Report
from reporting.words import class_words

__all__ = ["CellGroup", "evidence_of", "groups_of", "malignancies", "probabilities"]

_WHITE = CellClass.WHITE_BLOOD_CELL.value
_OF_STAGE_3 = (CellClass.RED_BLOOD_CELL.value, CellClass.PLATELET.value)
_ORDER = (
    *(c.value for c in LEUKOCYTES),
    UNCLASSIFIED,
    _WHITE,
    WbcClass.NUCLEATED_RED_BLOOD_CELLS.value,
    *_OF_STAGE_3,
)


@dataclass(frozen=True, kw_only=True)
class CellGroup:
    """Cells of one image that are counted alike, by number.

    type_code   what each of them is; `form` is the class of form where the type is the verdict *blast*
    stage       whose answer the group rests on
    """

    counted_as: str  # a final class, or white_blood_cell where stage 4 failed
    blast: bool
    label: str
    type_code: Code
    form: Code | None
    stage: Stage
    rgb: tuple[int, int, int]
    cells: Sequence[Cell]

    @property
    def of_stage_3(self) -> bool:
        """Red cells and platelets."""
        return self.counted_as in _OF_STAGE_3


def groups_of(report: Report, image: int) -> tuple[CellGroup, ...]:
    """Blasts first, then the other leukocytes, the unclassified, nucleated red cells, red cells,
    platelets. None where the cells themselves were not measured."""
    if not report.measured(Stage.CELL_CLASS):
        return ()
    found: defaultdict[tuple[str, bool], list[Cell]] = defaultdict(list)
    named, judged = report.measured(Stage.WBC_CLASS), report.measured(Stage.MALIGNANCY)
    for cell in report.analysis.cells:
        if cell.image != image:
            continue
        counted_as = cell.final_class
        if not named and counted_as not in _OF_STAGE_3:
            counted_as = _WHITE
        found[counted_as, judged and cell.is_blast].append(cell)
    kinds = sorted(found, key=lambda kind: (not kind[1], _ORDER.index(kind[0])))
    return tuple(_group(*kind, found[kind]) for kind in kinds)


def probabilities(cells: Iterable[Cell], report: Report) -> list[float | None]:
    """Of the class that each cell is counted as, as the network gave it; of an unclassified one the
    highest of the stage that could not name it. None where no network gave any."""
    wbc = {n: i for i, n in enumerate(report.analysis.bundle.model(Stage.WBC_CLASS).classes)}
    kinds = {c.value: i for i, c in enumerate(CellClass)}
    found: list[float | None] = []
    for cell in cells:
        name = cell.final_class
        if name == UNCLASSIFIED:
            found.append(_rejected_p(cell))
            continue
        by_form = cell.wbc_class == name
        p, index = (
            (cell.wbc_class_p, wbc.get(name)) if by_form else (cell.cell_class_p, kinds.get(name))
        )
        found.append(p[index] if p and index is not None else None)
    return found


def malignancies(cells: Iterable[Cell]) -> list[float | None]:
    """Stage 5's probability that each cell is malignant; None where it did not look."""
    index = list(Malignancy).index(Malignancy.MALIGNANT)
    return [cell.malignancy_p[index] if cell.malignancy_p else None for cell in cells]


def _rejected_p(cell: Cell) -> float | None:
    stage = cell.rejected_at
    if stage is None:
        return None
    p = cell.wbc_class_p if stage is Stage.WBC_CLASS else cell.malignancy_p
    return max(p, default=None)


def evidence_of(report: Report, image: ImageReading) -> EvidenceRef | None:
    """The instance that an image of the analysis is. A source may be named after its file; its bytes
    are the evidence's in any case."""
    header = image.header
    of_uid = (e for e in report.context.evidence if e.instance_uid == header.source)
    of_bytes = (e for e in report.context.evidence if e.sha256 == header.sha256)
    return next(of_uid, None) or next(of_bytes, None)


def _group(counted_as: str, blast: bool, cells: list[Cell]) -> CellGroup:  # noqa: FBT001
    words = "White cell" if counted_as == _WHITE else class_words(counted_as)
    stage = Stage.CELL_CLASS if counted_as in (_WHITE, *_OF_STAGE_3) else Stage.WBC_CLASS
    form = None
    if blast:
        stage = Stage.MALIGNANCY
        of_lymphocyte = counted_as == WbcClass.LYMPHOCYTES
        form = codes.BY_FORM_LYMPHOCYTE if of_lymphocyte else codes.BY_FORM_BLAST
        words = f"Blast ({words.split(' (', maxsplit=1)[0].lower()} by form)"
    return CellGroup(
        counted_as=counted_as,
        blast=blast,
        label=words,
        type_code=codes.BLAST_CELL if blast else codes.CELL_TYPE[counted_as],
        form=form,
        stage=stage,
        rgb=group_of(cells[0]).rgb if counted_as != _WHITE else (0, 0, 0),
        cells=cells,
    )
