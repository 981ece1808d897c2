"""The nine reports whose pages are kept as pictures. Their fields and cells are phantoms; the numbers
are planned, so that no network is needed.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from domain.analysis import Analysis
from domain.cells import Cell, CellClass, Malignancy, WbcClass
from domain.image import Box
from phantom.smear import Phantom, draw
from phantom.spec import Fault, SmearSpec, leukaemic_smear, normal_smear, spoiled
from reporting.gallery import gallery_cells
from reporting.report import GalleryCrop, Overview, Report
from tests import reporting_cases as cases

SIZE = {"width_px": 640, "height_px": 480, "um_per_px": 0.2}
GALLERY = 24


@cache
def field(kind: str) -> Phantom:
    spec: SmearSpec = {
        "leukaemic": leukaemic_smear(35, blast_fraction=0.4, white_cells=10, **SIZE),
        "normal": normal_smear(7, white_cells=8, **SIZE),
        "spoiled": spoiled(normal_smear(7, white_cells=8, **SIZE), Fault.DEFOCUSED),
    }[kind]
    return draw(spec)


def seen(kind: str) -> tuple[Cell, ...]:
    """The field's cells as a cascade without fault would name them; numbered from 1, in image 1."""
    made = []
    for number, truth in enumerate(field(kind).cells, 1):
        white = truth.cell_class is CellClass.WHITE_BLOOD_CELL
        blast = truth.malignancy is Malignancy.MALIGNANT
        lymphoid = truth.wbc_class in (WbcClass.BLAST_CELLS, WbcClass.LYMPHOCYTES)
        cell = cases.cell(
            number,
            truth.wbc_class.value if white and truth.wbc_class else truth.cell_class.value,
            malignancy=truth.malignancy.value if lymphoid and truth.malignancy else None,
            subtype=truth.subtype.value if blast and truth.subtype else None,
            p=0.6 + 0.39 * (number * 37 % 100) / 100,
        )
        made.append(replace(cell, box_px=truth.box_px))
    return tuple(made)


def analysis(kind: str, plan: list[dict], **changes) -> Analysis:
    """The phantom's cells in image 1, the planned ones in image 2."""
    drawn = seen(kind)
    planned = [
        replace(c, number=len(drawn) + c.number, image=1) for c in cases.cells_of(list(plan))
    ]
    images = tuple(
        cases.reading(
            n,
            header=replace(
                cases.reading(n).header, width_px=640, height_px=480, um_per_px=(0.2, 0.2)
            ),
            um_per_px=(0.2, 0.2),
            fields_read=1,
        )
        for n in (1, 2)
    )
    made = cases.analysis_of([], images=images, **changes)
    return replace(made, cells=(*drawn, *planned))


def pictured(of: Analysis, kind: str, **changes) -> Report:
    """With crops of the phantom's white cells, blasts for blasts, and the field as overview."""
    pixels, truth = field(kind).pixels, field(kind).cells
    blasts = [c for c in truth if c.malignancy is Malignancy.MALIGNANT]
    others = [c for c in truth if c.malignancy is Malignancy.BENIGN]
    gallery = []
    for place, cell in enumerate(gallery_cells(of, limit=GALLERY)):
        alike = [c for c in others if c.wbc_class == cell.final_class]
        models = (blasts if cell.is_blast else alike) or others or blasts
        x, y = models[place % len(models)].box_px.centre
        gallery.append(
            GalleryCrop(cell_number=cell.number, pixels=around(pixels, x, y), um_per_px=0.2)
        )
    overviews = changes.pop("overviews", (Overview(image=0, pixels=pixels, scale=1.0),))
    return cases.report(of, gallery=tuple(gallery), overviews=overviews, **changes)


def around(pixels: np.ndarray, x: float, y: float, half: int = 48) -> np.ndarray:
    padded = np.pad(pixels, ((half, half), (half, half), (0, 0)), mode="edge")
    return padded[int(y) : int(y) + 2 * half, int(x) : int(x) + 2 * half]


OTHERS = [
    {"n": 40, "kind": "lymphocytes", "malignancy": "benign"},
    {"n": 12, "kind": "monocytes"},
    {"n": 72, "kind": "neutrophil"},
    {"n": 5, "kind": "unclassified"},
]
BLASTS_66 = [
    {"n": 52, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
    {"n": 14, "kind": "blast_cells", "malignancy": "malignant", "subtype": "early_pre_b"},
    *OTHERS,
]
BLASTS_8 = [
    {"n": 8, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
    {"n": 20, "kind": "lymphocytes", "malignancy": "benign"},
    {"n": 22, "kind": "neutrophil"},
]
CONFUSION = ((280, 20), (12, 190))


def slide_report() -> Report:
    """500 cells; the phantom stands for the slide, four of its six fields were read."""
    fields = tuple(Box(213.0 * x, 240.0 * y, 213.0 * x + 213, 240.0 * y + 240)
                   for y in range(2) for x in range(3))[:4]  # fmt: skip
    pixels = field("leukaemic").pixels
    overviews = (
        Overview(image=0, pixels=pixels, scale=1.0, fields_px=fields),
        Overview(image=0, pixels=pixels[:240, :213], scale=1.0),
    )
    plan = [
        {"n": 226, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
        {"n": 114, "kind": "lymphocytes", "malignancy": "benign"},
        {"n": 150, "kind": "neutrophil"},
    ]
    return pictured(
        analysis("leukaemic", plan, confusion=CONFUSION), "leukaemic", overviews=overviews
    )


def reports() -> dict[str, Report]:
    blurred = (Overview(image=0, pixels=field("spoiled").pixels, scale=1.0),)
    return {
        "normal": pictured(analysis("normal", OTHERS, confusion=CONFUSION), "normal"),
        "blasts_35": pictured(
            analysis("leukaemic", BLASTS_66, confusion=CONFUSION),
            "leukaemic",
            beside=cases.BESIDE,
        ),
        "blasts_12_of_60": pictured(analysis("leukaemic", BLASTS_8), "leukaemic"),
        "no_cells": cases.report(cases.analysis_of([])),
        "non_viable": cases.report(
            cases.analysis_of([], images=(cases.REFUSED,)), overviews=blurred
        ),
        "wrong_domain": cases.report(cases.analysis_of([], images=(cases.WRONG_DOMAIN,))),
        "slide_500": slide_report(),
        "scripts": pictured(
            analysis("normal", OTHERS, warnings=tuple(cases.NAMES.values())),
            "normal",
            context=cases.many_scripts_context(),
        ),
        "amended": pictured(
            analysis("leukaemic", BLASTS_66),
            "leukaemic",
            revision=2,
            predecessor=cases.predecessor(),
        ),
    }
