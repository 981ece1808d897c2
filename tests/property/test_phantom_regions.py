"""However a smear is cut, the pieces are the pieces of one picture."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.cells import WbcClass
from phantom import placement, render
from phantom.smear import draw, draw_region
from phantom.spec import STAINS, SmearSpec

specs = st.builds(
    SmearSpec,
    seed=st.integers(0, 2**40),
    width_px=st.integers(400, 900),
    height_px=st.integers(400, 700),
    um_per_px=st.sampled_from([0.1, 0.13, 0.25]),
    overlap=st.floats(0, 1),
    white_cells=st.sampled_from(
        [(), ((WbcClass.BLAST_CELLS, 2),), ((WbcClass.NEUTROPHIL, 1), (WbcClass.LYMPHOCYTES, 1))]
    ),
    stain=st.sampled_from(list(STAINS.values())),
    defocus_um=st.sampled_from([0.0, 0.0, 1.5]),
    noise=st.sampled_from([0.0, 1.5]),
)


def forget() -> None:
    """Empty every cache, so that the second drawing is not the first one handed out again."""
    for cached in (
        placement._white_by_brick,
        placement._candidates,
        placement._brick_cells,
        render.patch_for,
        render.tile,
    ):
        cached.cache_clear()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spec=specs, data=st.data())
def test_any_region_equals_the_crop_of_the_whole(spec, data):
    forget()
    x0 = data.draw(st.integers(0, spec.width_px - 30), label="x0")
    y0 = data.draw(st.integers(0, spec.height_px - 30), label="y0")
    width = data.draw(st.integers(1, spec.width_px - x0), label="width")
    height = data.draw(st.integers(1, spec.height_px - y0), label="height")
    pixels, cells = draw_region(spec, x0=x0, y0=y0, width=width, height=height)

    forget()
    whole = draw(spec)
    assert np.array_equal(pixels, whole.pixels[y0 : y0 + height, x0 : x0 + width])

    of_region = {c.centre_um: c for c in cells}
    assert len(of_region) == len(cells)
    expected = {}
    for n, cell in enumerate(whole.cells):
        bx, by = int(cell.box_px.x0), int(cell.box_px.y0)
        part = whole.mask(n)[
            max(y0 - by, 0) : max(y0 + height - by, 0), max(x0 - bx, 0) : max(x0 + width - bx, 0)
        ]
        if part.any():
            expected[cell.centre_um] = (cell, int(part.sum()))
    assert of_region.keys() == expected.keys()
    for centre, (cell, area) in expected.items():
        seen = of_region[centre]
        assert (seen.cell_class, seen.wbc_class, seen.subtype, seen.diameter_um) == (
            cell.cell_class,
            cell.wbc_class,
            cell.subtype,
            cell.diameter_um,
        )
        assert seen.box_px.x0 + x0 >= cell.box_px.x0
        assert seen.box_px.y1 + y0 <= cell.box_px.y1
        assert area <= seen.box_px.width * seen.box_px.height
        assert seen.visible <= cell.visible


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), scale=st.sampled_from([0.1, 0.25]))
def test_no_cell_reaches_further_than_the_placement_says(seed, scale):
    """`placed_in` finds cells by radius; a patch beyond that reach would be cut at tile borders."""
    spec = SmearSpec(seed=seed, width_px=700, height_px=700, um_per_px=scale)
    side = 700 * scale
    for cell in placement.placed_in(spec, x0_um=0, y0_um=0, x1_um=side, y1_um=side):
        patch = render.patch_for(cell, spec.seed, scale)
        reach = 1.4 * cell.radius_um + 1
        assert patch.x0 * scale > cell.x_um - reach
        assert patch.y0 * scale > cell.y_um - reach
        assert patch.x1 * scale < cell.x_um + reach
        assert patch.y1 * scale < cell.y_um + reach


@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 2**32), defocus=st.sampled_from([0.0, 2.5]), overlap=st.sampled_from([0, 1])
)
def test_tiles_meet_without_a_seam(seed, defocus, overlap):
    """Without noise, tiles are what one large exposure would have shown, to a grey level."""
    spec = SmearSpec(
        seed=seed, width_px=1100, height_px=560, overlap=overlap, defocus_um=defocus, noise=0
    )
    at_once = render.photograph(spec, x0=0, y0=0, width=1100, height=560)
    in_tiles, _ = draw_region(spec, x0=0, y0=0, width=1100, height=560)
    assert np.abs(at_once.astype(int) - in_tiles.astype(int)).max() <= 1
