"""The public sets that the starter bundle is trained on, by the index files that lie in them.

In      the folder that holds `detection/`, `wbc/`, `all/`, `viability/` (any of their sets may be missing)
Out     Pictures with laboratory, label in the words of our stages, given split, group and scale
Errors  DataError where an index names another form than the one it was written for
The scale of a set is that of its red cells, taken for 7.5 um: of the field's own boxes where it has
enough, else of the set. One set has no measurable red cells; its scale is that at which the nuclei of
five classes have the same size as in another.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from domain.cells import CellClass, Malignancy, Subtype, WbcClass
from domain.image import Box
from inference.scale import RED_CELL_UM, red_cell_scale
from training.errors import DataError
from training.pictures import Picture, Shows, Split
from training.readers import size_of, yolo_field

__all__ = [
    "NOT_IDENTIFIABLE",
    "SUBTYPE_OF_FIELD",
    "blurred_fields",
    "boxed_fields",
    "is_collection",
    "leukaemia_fields",
    "not_smears",
    "pointed_fields",
    "white_cells",
]

NOT_IDENTIFIABLE = "not_identifiable"  # squeezed, smudged or cut: no class, to be rejected
ENOUGH_RED_CELLS = 8


@dataclass(frozen=True, kw_only=True)
class _Set:
    """`red_cell_px` is the median (width, height) of its red cells in its pictures."""

    folder: str
    laboratory: str
    red_cell_px: tuple[float, float]


# Medians of the sets' own read-me files; boxes are a little larger than cells
BCCD = _Set(folder="detection/bccd", laboratory="bccd", red_cell_px=(103, 103))
RAABIN = _Set(folder="detection/txl_raabin", laboratory="raabin", red_cell_px=(136, 136))
TXL_PBC = _Set(folder="detection/txl_pbc", laboratory="barcelona", red_cell_px=(79, 79))
BIONET = _Set(folder="detection/bionet", laboratory="bionet", red_cell_px=(57, 57))
TALEQANI = _Set(folder="all/taleqani", laboratory="taleqani", red_cell_px=(15, 20))
BARCELONA = _Set(folder="wbc/pbc_barcelona", laboratory="barcelona", red_cell_px=(72.9, 72.9))
MUNICH = _Set(folder="wbc/mll_bone_marrow", laboratory="munich", red_cell_px=(82.4, 82.4))
CHULA_WBC = _Set(folder="wbc/chula_wbc", laboratory="chula", red_cell_px=(79, 79))
BIONET_WBC = _Set(folder="wbc/bionet", laboratory="bionet", red_cell_px=(57, 57))
CHULA_RBC = _Set(folder="wbc/chula_rbc", laboratory="chula", red_cell_px=(39.8, 39.8))
CHULA_FIELDS = _Set(folder="detection/chula", laboratory="chula", red_cell_px=(39.8, 39.8))

BIONET_LARGER_PX = 75.0  # its eosinophils were taken at a larger magnification
TALEQANI_BAR = Box(176, 196, 224, 224)  # every scale bar lies in it

_WHITE_CELLS: Mapping[str, str] = MappingProxyType(
    {
        "band_neutrophil": WbcClass.IMMATURE_NEUTROPHIL,
        "metamyelocyte": WbcClass.IMMATURE_NEUTROPHIL,
        "blast": WbcClass.BLAST_CELLS,
        "lymphocyte": WbcClass.LYMPHOCYTES,
        "monocyte": WbcClass.MONOCYTES,
        "myelocyte": WbcClass.MYELOCYTE,
        "neutrophil": WbcClass.NEUTROPHIL,
        "segmented_neutrophil": WbcClass.NEUTROPHIL,
        "nucleated_red_blood_cell": WbcClass.NUCLEATED_RED_BLOOD_CELLS,
        "platelet": WbcClass.PLATELET,
        "promyelocyte": WbcClass.PROMYELOCYTE,
        "red_blood_cell": WbcClass.RED_BLOOD_CELL,
        "eosinophil": WbcClass.EOSINOPHIL,
        "basophil": WbcClass.BASOPHIL,
        NOT_IDENTIFIABLE: NOT_IDENTIFIABLE,
    }
)
_WHITE_CODES: Mapping[str, str] = MappingProxyType(
    {
        "BA": WbcClass.BASOPHIL,
        "BNE": WbcClass.IMMATURE_NEUTROPHIL,
        "EO": WbcClass.EOSINOPHIL,
        "LY": WbcClass.LYMPHOCYTES,
        "MO": WbcClass.MONOCYTES,
    }
)
SUBTYPE_OF_FIELD: Mapping[str, Subtype | None] = MappingProxyType(
    {
        "Benign": None,
        "Early": Subtype.EARLY_PRE_B,
        "Pre": Subtype.PRE_B,
        "Pro": Subtype.PRO_B,
    }
)


def is_collection(root: Path) -> bool:
    """Whether any of the sets lies there."""
    sets = (BCCD, RAABIN, TXL_PBC, BIONET, TALEQANI, BARCELONA, MUNICH, CHULA_WBC, BIONET_WBC)
    return any((root / s.folder).is_dir() for s in sets)


def boxed_fields(root: Path) -> list[Picture]:
    """Fields with boxes. Of the field that was annotated twice the second, complete annotation is
    taken; where there is only the first, `complete` is False: it misses many red cells."""
    fields = []
    for of, index in (
        (BCCD, "split.csv"),
        (RAABIN, "index.csv"),
        (TXL_PBC, "index.csv"),
        (BIONET, "index.csv"),
    ):
        folder = root / of.folder
        for row in _rows(folder / index):
            path, stem = folder / "images" / row["file"], Path(row["file"]).stem
            second = folder / "labels_txl" / f"{stem}.txt"
            first = folder / ("labels_yolo" if of is BCCD else "labels") / f"{stem}.txt"
            labels = second if second.is_file() else first
            field = yolo_field(path, labels, laboratory=of.laboratory)
            fields.append(
                replace(
                    field,
                    split=_split(row, folder),
                    group=row.get("slide") or row.get("block") or "",
                    um_per_px=_own_scale(field) or _scale_of(of),
                    white_class=_WHITE_CODES.get(
                        row.get("wbc_code") or row.get("white_cell_class") or "", ""
                    ),
                    complete=of is not BCCD or second.is_file(),
                )
            )
    return fields


def white_cells(root: Path) -> list[Picture]:
    """One cell a picture, in its middle; label a WbcClass or NOT_IDENTIFIABLE."""
    cells = []
    for of in (BARCELONA, MUNICH, CHULA_WBC, BIONET_WBC, CHULA_RBC):
        folder = root / of.folder
        for row in _rows(folder / "files.csv"):
            name = row["class"]
            if name not in _WHITE_CELLS:
                raise DataError(f"{folder}/files.csv: no class is called '{name}'")
            larger = of is BIONET_WBC and name == "eosinophil"
            side = RED_CELL_UM / BIONET_LARGER_PX
            source = row.get("source_image", "")
            cells.append(
                Picture(
                    path=folder / row["file"],
                    laboratory=of.laboratory,
                    shows=Shows.CELL,
                    label=_WHITE_CELLS[name],
                    split=_split(row, folder) if "split" in row else _by_source(source),
                    group=row.get("cell") or source,
                    um_per_px=(side, side) if larger else _scale_of(of),
                )
            )
    return cells


def leukaemia_fields(root: Path) -> list[Picture]:
    """Fields labelled as a whole: `benign` or a Subtype. The corner with the scale bar is covered,
    and the scale takes the squashing back."""
    folder = root / TALEQANI.folder
    return [
        Picture(
            path=folder / row["file"],
            laboratory=TALEQANI.laboratory,
            label=SUBTYPE_OF_FIELD[row["class"]] or Malignancy.BENIGN,
            split=_split(row, folder),
            group=row["stain_group"],
            um_per_px=_scale_of(TALEQANI),
            covered_px=TALEQANI_BAR,
        )
        for row in _rows(folder / "index.csv")
    ]


def blurred_fields(root: Path) -> list[Picture]:
    """Real fields out of focus or moved, by eye: for judging stage 1, never for training it."""
    blurred = [
        Picture(
            path=root / (row["file"] if "/" in row["file"] else f"viability/{row['file']}"),
            laboratory=TALEQANI.laboratory,
            label="blurred",
            split=Split.VAL,
            um_per_px=_scale_of(TALEQANI),
            covered_px=TALEQANI_BAR,
        )
        for row in _rows(root / "viability/taleqani_blurred.csv")
    ]
    out_of_focus = [
        Picture(
            path=root / row["file"],
            laboratory=BCCD.laboratory,
            label="out_of_focus",
            split=Split.VAL,
            um_per_px=_scale_of(BCCD),
        )
        for row in _rows(root / "viability/bccd_quality.csv")
        if row["txl_authors_verdict"] == "out_of_focus"
    ]
    return blurred + out_of_focus


def pointed_fields(root: Path) -> list[Picture]:
    """Good fields of a cheap camera (vignetting, blue cast) whose red cells have points, not boxes."""
    folder = root / CHULA_FIELDS.folder
    return [
        Picture(
            path=folder / "images" / row["file"],
            laboratory=CHULA_FIELDS.laboratory,
            um_per_px=_scale_of(CHULA_FIELDS),
        )
        for row in _rows(folder / "overlay.csv")
    ]


def not_smears(root: Path) -> list[Picture]:
    """Pictures of something else: tools, another tissue, flow cytometry. For judging only."""
    places = ("viability/not_a_smear", "viability/focus_series")
    return [
        Picture(path=path, laboratory=place.rsplit("/", 1)[1], label="not_a_smear", split=Split.VAL)
        for place in places
        for path in sorted((root / place).glob("*.png"))
    ]


def _rows(index: Path) -> list[dict[str, str]]:
    if not index.is_file():
        return []
    with index.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _split(row: Mapping[str, str], folder: Path) -> Split:
    try:
        return Split(row["split"])
    except (KeyError, ValueError) as error:
        raise DataError(f"{folder}: the index has no split train, val or gap") from error


def _by_source(source: str) -> Split:
    """A set without a split is divided by the field that its cells were cut from."""
    number = "".join(c for c in source if c.isdigit())
    return Split.VAL if int(number or 0) % 7 == 0 else Split.TRAIN


def _scale_of(of: _Set) -> tuple[float, float]:
    return RED_CELL_UM / of.red_cell_px[0], RED_CELL_UM / of.red_cell_px[1]


def _own_scale(field: Picture) -> tuple[float, float] | None:
    """Of the field's own red cells that no border cuts."""
    size = size_of(field.path)
    if size is None:
        return None
    whole = [
        b.box
        for b in field.boxes
        if b.cell_class is CellClass.RED_BLOOD_CELL
        and b.box.x0 > 1
        and b.box.y0 > 1
        and b.box.x1 < size[0] - 1
        and b.box.y1 < size[1] - 1
    ]
    scale = red_cell_scale(whole, at_least=ENOUGH_RED_CELLS)
    if scale is None:
        return None
    x, y = scale.um_per_px
    return ((x + y) / 2, (x + y) / 2)  # their pixels are square; clumps are not
