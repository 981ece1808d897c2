"""Fields that a bundle was not made for are flagged, or not read: fitted and judged on drawn smears."""

from dataclasses import replace

import numpy as np
import pytest

from domain.image import Box, Domain, Field
from inference.crops import background_of
from inference.gate import likeness, look_of
from inference.manifest import FIGURES, Gate
from inference.stain_record import StainRecord
from phantom.smear import draw
from phantom.spec import STAINS, leukaemic_smear, normal_smear
from training.errors import DataError
from training.gate import FieldLook, fit_gate, rates_of
from training.pictures import Split


def smear(stain, seed, *, um_per_px=0.25, made=normal_smear):
    spec = made(seed, width_px=240, height_px=200, um_per_px=um_per_px, stain=stain, white_cells=2)
    return draw(spec).pixels


def look(pixels):
    return look_of(pixels, ground=background_of(pixels))


def field(pixels, **changes):
    whole = Box(0, 0, pixels.shape[1], pixels.shape[0])
    made = Field(
        pixels=pixels,
        image=0,
        frame=1,
        origin_px=(0, 0),
        core_px=whole,
        um_per_px=None,
        domain=Domain.SMEAR,
    )
    return replace(made, **changes)


@pytest.fixture(scope="module")
def looks():
    """Each stain a laboratory, four fields to fit and two to judge."""
    return [
        FieldLook(
            laboratory=stain,
            split=Split.TRAIN if seed < 4 else Split.VAL,
            look=look(smear(stain, seed, made=leukaemic_smear if seed % 2 else normal_smear)),
        )
        for stain in sorted(STAINS)
        for seed in range(6)
    ]


@pytest.fixture(scope="module")
def fit(looks):
    return fit_gate(looks, only_fitted=())


@pytest.fixture(scope="module")
def strict(fit):
    """The same without room for further laboratories: the drawn stains differ much from one another."""
    return fit.gate.model_copy(update={"refuse_above": round(fit.gate.flag_above * 1.2, 2)})


def grey(pixels):
    level = pixels.mean(axis=2, keepdims=True)
    return np.repeat(level, 3, axis=2).astype(np.uint8)


def swapped(pixels):
    """Red and green exchanged: a stain that no laboratory has."""
    return np.ascontiguousarray(pixels[:, :, [1, 0, 2]])


def test_inference_gate_lets_in_what_it_was_fitted_on_and_nothing_without_colours(strict):
    record = StainRecord(strict)
    good = smear(sorted(STAINS)[0], 77)
    assert record.admits(field(good), background_of(good))
    assert record.warnings(1) == []
    bad = grey(good)
    assert not record.admits(field(bad), background_of(bad))
    (warning,) = record.warnings(2)
    assert warning.startswith("no blood smear that this bundle knows: 1 of 2 fields (distance")
    assert f"read up to {strict.refuse_above:g}; most unlike in spread of colours" in warning
    assert record.reason.startswith("it is no blood smear that this bundle knows (distance")


def test_inference_gate_flags_between_its_two_limits(fit):
    pixels = smear(sorted(STAINS)[1], 78)
    distance = likeness(look(pixels), fit.gate).distance
    narrow = fit.gate.model_copy(
        update={"flag_above": distance - 0.01, "refuse_above": distance + 0.01}
    )
    record = StainRecord(narrow)
    assert record.admits(field(pixels), background_of(pixels))
    assert record.warnings(1)[0].startswith("stain outside the bundle's range: 1 of 1 fields")
    assert record.reason == ""
    exact = StainRecord(fit.gate.model_copy(update={"flag_above": distance}))
    assert exact.admits(field(pixels), background_of(pixels))
    assert exact.warnings(1) == []  # at the limit is inside


def test_inference_gate_judges_stained_smears_only(fit):
    bad = grey(smear(sorted(STAINS)[0], 79))
    ground = background_of(bad)
    assert StainRecord(None).admits(field(bad), ground)
    assert StainRecord(fit.gate).admits(field(bad, domain=Domain.IFC_BRIGHTFIELD), ground)
    empty = np.full((50, 60, 3), 220, np.uint8)
    assert look(empty) is None
    record = StainRecord(fit.gate)
    assert record.admits(field(empty), background_of(empty))
    assert record.warnings(1) == []


def test_inference_gate_figures_do_not_hang_on_lamp_or_turn(fit):
    stain = sorted(STAINS)[0]
    base = smear(stain, 80)
    first = likeness(look(base), fit.gate).distance
    turned = np.ascontiguousarray(np.rot90(base))
    assert likeness(look(turned), fit.gate).distance == pytest.approx(first, abs=0.25)
    dimmer = (base * 0.9).astype(np.uint8)
    hues = [FIGURES.index(n) for n in FIGURES if n.startswith("hue")]
    assert look(dimmer)[hues] == pytest.approx(look(base)[hues], abs=0.03)


def test_inference_gate_takes_any_picture():
    for pixels in (
        np.zeros((3, 3, 3), np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
        np.random.default_rng(1).integers(0, 256, (300, 5, 3), dtype=np.uint8),
        np.eye(64, dtype=np.uint8)[..., None].repeat(3, axis=2) * 255,
    ):
        found = look(pixels)
        assert found is None or bool(np.isfinite(found).all())


def test_training_gate_keeps_to_its_false_alarms_and_catches_other_stains(fit, strict, looks):
    assert set(fit.known) == set(STAINS)
    assert fit.gate.flag_above < fit.gate.refuse_above
    alarms = [rates.flagged * rates.fields for rates in fit.known.values()]
    assert sum(alarms) <= 0.01 * sum(r.fields for r in fit.known.values()) + 1e-9
    assert {r.fields for r in fit.left_out.values()} == {6}
    odd = [
        FieldLook(laboratory=name, split=Split.VAL, look=look(spoil(smear(stain, 90))))
        for name, spoil in (("grey", grey), ("swapped", swapped))
        for stain in sorted(STAINS)
    ]
    rates = rates_of(odd, strict)
    assert rates["grey"].refused == 1
    assert rates["swapped"].flagged == 1
    assert rates_of(looks, strict)[sorted(STAINS)[0]].refused == 0


def test_training_gate_weighs_laboratories_alike(looks):
    first = sorted(STAINS)[0]
    many = [*looks, *[f for f in looks if f.laboratory == first] * 5]
    once, often = fit_gate(looks, only_fitted=()).gate, fit_gate(many, only_fitted=()).gate
    assert often.centre == once.centre


def test_training_gate_wants_laboratories(looks):
    two = [f for f in looks if f.laboratory in sorted(STAINS)[:2]]
    with pytest.raises(DataError, match="at least 3 laboratories, not of 2"):
        fit_gate(two)


def test_training_gate_survives_its_own_manifest(fit):
    again = Gate.model_validate_json(fit.gate.model_dump_json())
    assert again == fit.gate
