"""A drawn smear is the same each time, and its truth fits its pixels."""

import hashlib
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from domain.cells import CellClass, Malignancy, Subtype, WbcClass
from phantom.placement import white_cells_of
from phantom.smear import Phantom, PhantomCell, draw, draw_region
from phantom.spec import (
    STAINS,
    DrawingRefused,
    Fault,
    Light,
    SmearSpec,
    leukaemic_smear,
    normal_smear,
    spoiled,
)

RED, PLATELET, WHITE = (
    CellClass.RED_BLOOD_CELL,
    CellClass.PLATELET,
    CellClass.WHITE_BLOOD_CELL,
)


@pytest.fixture(scope="module")
def normal() -> Phantom:
    return draw(SmearSpec(seed=1))


@pytest.fixture(scope="module")
def leukaemic() -> Phantom:
    return draw(leukaemic_smear(5, blast_fraction=0.6, white_cells=10))


def of(phantom: Phantom, kind: CellClass) -> list[PhantomCell]:
    return [c for c in phantom.cells if c.cell_class is kind]


def test_the_default_is_a_field_of_the_size_it_says(normal):
    assert normal.pixels.shape == (768, 1024, 3)
    assert normal.pixels.dtype == np.uint8
    assert normal.um_per_px == 0.1
    assert 60 <= len(of(normal, RED)) <= 120
    assert len(of(normal, PLATELET)) >= 1
    assert Counter(c.wbc_class for c in of(normal, WHITE)) == dict(normal.spec.white_cells)


def test_the_same_spec_gives_the_same_bytes_in_another_process(normal):
    np.random.seed(0)
    np.random.rand(7)
    code = (
        "import hashlib, cv2\n"
        "cv2.setNumThreads(1)\n"
        "from phantom.smear import draw\n"
        "from phantom.spec import SmearSpec\n"
        "print(hashlib.sha256(draw(SmearSpec(seed=1)).pixels.tobytes()).hexdigest())\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert there == hashlib.sha256(normal.pixels.tobytes()).hexdigest()


def test_another_seed_gives_another_smear(normal):
    other = draw(SmearSpec(seed=2))
    assert {c.centre_um for c in other.cells}.isdisjoint({c.centre_um for c in normal.cells})


@pytest.mark.parametrize("seed", range(4))
def test_white_cells_are_all_there_whole_and_apart(seed):
    counts = tuple(
        (k, 1) for k in WbcClass if k not in (WbcClass.PLATELET, WbcClass.RED_BLOOD_CELL)
    )
    phantom = draw(SmearSpec(seed=seed, um_per_px=0.15, white_cells=counts))
    white = [(n, c) for n, c in enumerate(phantom.cells) if c.cell_class is WHITE]
    assert Counter(c.wbc_class for _, c in white) == dict(counts)
    covered = np.zeros(phantom.labels.shape, np.int32)
    for n, cell in white:
        assert cell.visible == 1.0
        x0, y0, x1, y1 = (int(v) for v in cell.box_px)
        assert x0 > 0
        assert y0 > 0
        assert x1 < phantom.spec.width_px
        assert y1 < phantom.spec.height_px
        covered[y0:y1, x0:x1] += phantom.mask(n)
    assert (covered > 1).sum() < 0.01 * (covered > 0).sum()


def test_boxes_are_tight_round_masks_and_labels_agree(normal):
    assert normal.labels.shape == normal.pixels.shape[:2]
    assert normal.labels.max() <= len(normal.cells)
    assert normal.labels.min() == 0
    for n, cell in enumerate(normal.cells):
        mask = normal.mask(n)
        assert mask.shape == (cell.box_px.height, cell.box_px.width)
        assert mask[0].any()
        assert mask[-1].any()
        assert mask[:, 0].any()
        assert mask[:, -1].any()
        ys, xs = np.nonzero(normal.labels == n + 1)
        assert all(cell.box_px.holds(x, y) for x, y in zip(xs[::50], ys[::50], strict=True))
        if cell.cell_class is WHITE:  # nothing lies on a white cell
            assert len(xs) == mask.sum()
    order = [(c.box_px.y0, c.box_px.x0) for c in normal.cells]
    assert order == sorted(order)


def test_what_is_labelled_is_darker_than_the_glass(normal):
    grey = cv2.cvtColor(normal.pixels, cv2.COLOR_RGB2GRAY).astype(float)
    glass = np.median(grey[normal.labels == 0])
    for n, cell in enumerate(normal.cells):
        inside = grey[normal.labels == n + 1]
        if len(inside) > 200:
            assert inside.mean() < glass - 15, cell
    # And nothing dark is left without a label, but for the soft edge of three pixels.
    labelled = cv2.dilate((normal.labels > 0).astype(np.uint8), np.ones((7, 7), np.uint8))
    assert (grey[labelled == 0] < glass - 25).mean() < 0.0005


def test_red_cells_that_overlap_are_darker_where_they_do():
    spec = SmearSpec(seed=3, white_cells=(), platelets_per_mm2=0, overlap=1.0)
    phantom = draw(spec)
    over = np.zeros(phantom.labels.shape, np.int32)
    for n, cell in enumerate(phantom.cells):
        x0, y0, x1, y1 = (int(v) for v in cell.box_px)
        over[y0:y1, x0:x1] += phantom.mask(n)
    green = phantom.pixels[..., 1].astype(float)
    glass, one, two = (np.median(green[over == n]) for n in (0, 1, 2))
    # Beer-Lambert: two cells pass the product of what each passes.
    assert two / glass == pytest.approx((one / glass) ** 2, rel=0.12)
    assert (over >= 2).sum() > 1_000


@pytest.mark.parametrize("um_per_px", [0.05, 0.1, 0.25])
def test_cells_have_their_size_in_micrometres_at_every_scale(um_per_px):
    side = round(70 / um_per_px)
    phantom = draw(SmearSpec(seed=8, width_px=side, height_px=side, um_per_px=um_per_px))
    whole = [c for c in phantom.cells if c.visible == 1.0]
    red = [c.diameter_um for c in whole if c.cell_class is RED]
    assert np.median(red) == pytest.approx(7.5, abs=0.35)
    limits = {
        WbcClass.NEUTROPHIL: (11.5, 14.6),
        WbcClass.LYMPHOCYTES: (8, 10.6),
        WbcClass.MONOCYTES: (14, 18.8),
    }
    for cell in whole:
        if cell.cell_class is PLATELET:
            assert 1.5 < cell.diameter_um < 4
        if cell.wbc_class:
            low, high = limits[cell.wbc_class]
            assert low < cell.diameter_um < high
        width_um = cell.box_px.width * um_per_px
        assert width_um == pytest.approx(cell.diameter_um, rel=0.35, abs=3 * um_per_px)


def test_blasts_are_malignant_and_have_subtypes_in_the_asked_proportion(leukaemic):
    assert leukaemic.spec.leukocytes == 10
    assert leukaemic.spec.blasts == 6
    blasts = [c for c in leukaemic.cells if c.wbc_class is WbcClass.BLAST_CELLS]
    assert len(blasts) == 6
    assert {c.malignancy for c in blasts} == {Malignancy.MALIGNANT}
    # 6 blasts at weights .25, .6, .15: exact shares 1.5, 3.6, 0.9
    assert Counter(c.subtype for c in blasts) == {
        Subtype.EARLY_PRE_B: 1,
        Subtype.PRE_B: 4,
        Subtype.PRO_B: 1,
    }
    for cell in leukaemic.cells:
        if cell.cell_class is not WHITE:
            assert cell.wbc_class is None
            assert cell.malignancy is None
        elif cell.wbc_class is not WbcClass.BLAST_CELLS:
            assert cell.malignancy is Malignancy.BENIGN
            assert cell.subtype is None


@pytest.mark.parametrize(("fraction", "white", "blasts"), [(0.35, 20, 7), (0.2, 60, 12), (0, 8, 0)])
def test_the_blast_fraction_is_met_in_whole_cells(fraction, white, blasts):
    spec = leukaemic_smear(1, blast_fraction=fraction, white_cells=white)
    assert (spec.blasts, spec.leukocytes) == (blasts, white)


def test_nucleated_red_cells_are_not_counted_as_leukocytes():
    spec = SmearSpec(
        seed=1,
        white_cells=((WbcClass.NUCLEATED_RED_BLOOD_CELLS, 2), (WbcClass.LYMPHOCYTES, 3)),
    )
    assert spec.leukocytes == 3


def test_a_normal_smear_has_no_blasts_and_grows_with_its_area():
    assert normal_smear(1).blasts == 0
    assert normal_smear(1).leukocytes == 3
    assert normal_smear(1, width_px=4096, height_px=3072).leukocytes == 50
    assert normal_smear(1, white_cells=9).leukocytes == 9


def test_a_defocused_field_has_lost_its_edges(normal):
    quiet = replace(normal.spec, noise=0)
    blurred = draw(spoiled(quiet, Fault.DEFOCUSED))
    sharp, soft = (
        cv2.Laplacian(p.pixels, cv2.CV_32F, ksize=5).var() for p in (draw(quiet), blurred)
    )
    assert soft < sharp / 20
    assert [c.centre_um for c in blurred.cells] == [c.centre_um for c in normal.cells]


def test_an_overexposed_field_is_burned_out(normal):
    burned = draw(spoiled(normal.spec, Fault.OVEREXPOSED))
    assert (burned.pixels == 255).mean() > 0.7
    assert (normal.pixels[..., 1:] == 255).mean() < 0.01


def test_an_empty_field_is_glass_alone():
    empty = draw(spoiled(SmearSpec(seed=1), Fault.EMPTY))
    assert empty.cells == ()
    assert not empty.labels.any()
    assert empty.pixels[..., 1].std() < 6


@pytest.mark.parametrize("name", STAINS)
def test_the_glass_has_the_colour_of_the_stain(name):
    phantom = draw(SmearSpec(seed=4, stain=STAINS[name], light=Light(vignette=0, gradient=(0, 0))))
    glass = np.median(phantom.pixels[phantom.labels == 0], axis=0)
    assert glass == pytest.approx(STAINS[name].background, abs=4)


def test_light_falls_off_to_the_corners_and_along_the_gradient():
    bare = spoiled(SmearSpec(seed=1, noise=0), Fault.EMPTY)
    dark_corner = draw(replace(bare, light=Light(vignette=0.5, gradient=(0, 0)))).pixels[..., 1]
    assert dark_corner[0, 0] < 0.6 * dark_corner[384, 512]
    sloped = draw(replace(bare, light=Light(vignette=0, gradient=(0.3, 0)))).pixels[..., 1]
    assert sloped[:, :50].mean() < 0.8 * sloped[:, -50:].mean()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": -1}, "seed"),
        ({"width_px": 8}, "16 px"),
        ({"um_per_px": 0.02}, "0.05"),
        ({"um_per_px": 0.5}, "0.25"),
        ({"overlap": 1.5}, "overlap"),
        ({"red_diameter_um": 20.0}, "4 to 10"),
        ({"red_per_mm2": 1e6}, "30000"),
        ({"platelets_per_mm2": -1.0}, "30000"),
        ({"defocus_um": -1.0}, "defocus"),
        ({"noise": -1.0}, "noise"),
        ({"light": Light(exposure=0)}, "exposure"),
        ({"white_cells": ((WbcClass.PLATELET, 1),)}, "density of its own"),
        ({"white_cells": ((WbcClass.MONOCYTES, -1),)}, "0 or more"),
        ({"subtypes": ()}, "weight"),
        ({"subtypes": ((Subtype.PRE_B, 0.0),)}, "sum to 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(change, word):
    with pytest.raises(DrawingRefused, match=word) as refused:
        SmearSpec(**({"seed": 1} | change))
    assert "\n" not in str(refused.value)


def test_helpers_refuse_in_the_same_words():
    with pytest.raises(DrawingRefused, match="cream, grey, cold, rose"):
        normal_smear(1, stain="green")
    with pytest.raises(DrawingRefused, match="0 or more"):
        normal_smear(1, white_cells=-1)
    with pytest.raises(DrawingRefused, match="seed -1"):
        leukaemic_smear(-1)
    with pytest.raises(DrawingRefused, match="no share"):
        leukaemic_smear(1, blast_fraction=1.2)


def test_more_white_cells_than_fit_are_refused():
    with pytest.raises(DrawingRefused, match="ask for fewer"):
        draw(SmearSpec(seed=1, white_cells=((WbcClass.MONOCYTES, 60),)))
    with pytest.raises(DrawingRefused, match="make the field larger"):
        draw(SmearSpec(seed=1, width_px=100, height_px=100))


@pytest.mark.parametrize("region", [(-1, 0, 9, 9), (0, 0, 0, 9), (1020, 0, 9, 9), (0, 760, 9, 9)])
def test_a_region_outside_the_smear_is_refused(region):
    x0, y0, width, height = region
    with pytest.raises(DrawingRefused):
        draw_region(SmearSpec(seed=1), x0=x0, y0=y0, width=width, height=height)


def test_a_slide_larger_than_memory_is_drawn_in_pieces():
    spec = normal_smear(6, width_px=80_000, height_px=60_000, um_per_px=0.25, white_cells=5_000)
    white = white_cells_of(spec)
    assert len(white) == 5_000
    one = white[1234]
    x0, y0 = round(one.x_um / 0.25) - 150, round(one.y_um / 0.25) - 150
    pixels, cells = draw_region(spec, x0=x0, y0=y0, width=300, height=300)
    assert pixels.shape == (300, 300, 3)
    found = next(c for c in cells if c.centre_um == (one.x_um, one.y_um))
    assert found.wbc_class is one.wbc_class
    assert found.box_px.centre == pytest.approx((150, 150), abs=8)
    assert sum(c.cell_class is RED for c in cells) > 20
