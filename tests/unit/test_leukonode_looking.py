"""The pictures that a report shows of a slide: its map with the fields read, and one field of it."""

from dataclasses import replace

import numpy as np

from domain.image import Box, Field
from leukonode.looking import OVERVIEW_PX, _overviews, _Watched
from leukonode.reading import Reading, pictures_from, pictures_to_bytes
from tests import reporting_cases as cases

SIDE = 2000


class Slide:
    """Four fields of 2000 px; the pixels of each have its number as grey."""

    header = cases.reading().header

    def fields(self):
        for n in range(4):
            core = Box(SIDE * (n % 2), SIDE * (n // 2), SIDE * (n % 2 + 1), SIDE * (n // 2 + 1))
            yield Field(
                pixels=np.zeros((4, 4, 3), np.uint8),
                image=0,
                frame=1,
                origin_px=(int(core.x0), int(core.y0)),
                core_px=core,
                um_per_px=None,
                domain=self.header.domain,
            )

    def region(self, box, *, frame):
        assert frame == 1
        number = int(box.x0 // SIDE + 2 * (box.y0 // SIDE))
        return np.full((int(box.height), int(box.width), 3), 10 * number, np.uint8)

    def overview(self, max_px):
        return np.full((max_px, max_px, 3), 255, np.uint8), max_px / (2 * SIDE)


def looked_at(fields: int) -> _Watched:
    watched = _Watched(Slide())
    for _ in zip(range(fields), watched.fields(), strict=False):
        pass
    return watched


def analysis():
    """A neutrophil in each of the first two fields, and a blast in the second."""
    cells = cases.cells_of(
        [
            {"n": 2, "kind": "neutrophil"},
            {"n": 1, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
        ]
    )
    places = (
        Box(10, 10, 60, 60),
        Box(SIDE + 10, 10, SIDE + 60, 60),
        Box(SIDE + 99, 9, SIDE + 150, 60),
    )
    placed = tuple(replace(c, box_px=box) for c, box in zip(cells, places, strict=True))
    return replace(cases.analysis_of([]), cells=placed)


def test_looking_at_a_slide_gives_a_map_and_the_field_with_the_most_blasts():
    whole, part = _overviews([looked_at(3)], analysis())
    assert [f[:2] for f in whole.fields_px] == [(0, 0), (SIDE, 0), (0, SIDE)]
    assert part.fields_px == ()
    assert part.origin_px == (SIDE, 0)
    assert part.pixels.shape == (OVERVIEW_PX, OVERVIEW_PX, 3)
    assert part.scale == OVERVIEW_PX / SIDE
    assert {int(v) for v in np.unique(part.pixels)} == {10}


def test_looking_at_one_field_gives_it_alone():
    (whole,) = _overviews([looked_at(1)], analysis())
    assert whole.fields_px == ()


def test_looking_pictures_are_kept_with_their_fields(tmp_path):
    overviews = tuple(_overviews([looked_at(3)], analysis()))
    file = tmp_path / "pictures.npz"
    file.write_bytes(
        pictures_to_bytes(Reading(analysis=analysis(), gallery=(), overviews=overviews))
    )
    _, read = pictures_from(file)
    assert [(o.fields_px, o.origin_px, o.scale) for o in read] == [
        (o.fields_px, o.origin_px, o.scale) for o in overviews
    ]
