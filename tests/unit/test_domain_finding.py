import pytest

from domain.analysis import Analysis, BundleInfo, Commissioning, ModelInfo, StageFailure
from domain.cells import Cell, CellClass, Malignancy, Stage, Subtype, WbcClass
from domain.counts import AdequacyLimits, numbers_of
from domain.finding import Flag, finding_of
from domain.image import Box, Domain, ImageHeader, ImageReading, ScaleFrom, Verdict, Viability

CLASSES = tuple(c.value for c in WbcClass)


def image(**more) -> ImageReading:
    given = {
        "header": ImageHeader(
            source="a", sha256="0" * 64, width_px=9, height_px=9, frames=1, domain=Domain.SMEAR
        ),
        "viability": Viability(p=0.9, verdict=Verdict.VIABLE),
        "um_per_px": (0.1, 0.1),
        "scale_from": ScaleFrom.SPACING,
        "fields_read": 1,
        "fields_refused": 0,
    }
    return ImageReading(**(given | more))


def white(wbc: str, malignancy=None, subtype=None) -> Cell:
    return Cell(
        number=1,
        image=0,
        frame=1,
        box_px=Box(0, 0, 1, 1),
        detection_p=1,
        cell_class=CellClass.WHITE_BLOOD_CELL,
        cell_class_p=(0, 0, 1),
        wbc_class=wbc,
        malignancy=malignancy,
        subtype=subtype,
        final_class=wbc,
    )


HERE = Commissioning(site="Here", date="2026-11-24", parent_manifest_sha256="1" * 64)


def finding(
    cells=(),
    *,
    images=None,
    untrained=False,
    failures=(),
    specimen=True,
    threshold=20,
    commissioned=HERE,
):
    bundle = BundleInfo(
        id="b",
        version="1",
        manifest_sha256="0" * 64,
        untrained=untrained,
        domains=(Domain.SMEAR,),
        models=(
            ModelInfo(
                stage=Stage.WBC_CLASS,
                architecture="vit",
                sha256="0" * 64,
                classes=CLASSES,
                thresholds=(),
            ),
        ),
        um_per_px=0.1,
        commissioned=commissioned,
    )
    analysis = Analysis(
        bundle=bundle,
        images=images or (image(),),
        cells=tuple(cells),
        stages=(),
        engine="e",
        processor="p",
        software="s",
        leukocytes_wanted=200,
        failures=failures,
    )
    numbers = numbers_of(cells, wbc_classes=CLASSES, limits=AdequacyLimits())
    return finding_of(
        analysis, numbers, review_threshold_percent=threshold, specimen_identified=specimen
    )


def leukaemic():
    blasts = [white(WbcClass.BLAST_CELLS, Malignancy.MALIGNANT, Subtype.PRE_B)] * 112
    return blasts + [white(WbcClass.NEUTROPHIL)] * 92


def test_finding_example():
    found = finding(leukaemic())
    assert found.sentences[0] == (
        "112 of 204 leukocytes (54.9 %, 95 % CI 47.8 to 61.9) are classified as blasts, mostly "
        "Pre-B (100 %)."
    )
    assert found.text.endswith("For review by a haematopathologist.")
    assert found.flags == (Flag.ANY_BLAST, Flag.BLASTS_AT_THRESHOLD)


def test_no_blasts_still_has_an_interval():
    found = finding([white(WbcClass.NEUTROPHIL)] * 300)
    assert "None of 300 leukocytes is classified as a blast (95 % CI 0.0 to 1.2 %)." in found.text
    assert found.flags == ()


def test_no_leukocytes_says_so_and_gives_no_number():
    assert "No leukocytes were found" in finding().text
    assert "%" not in finding().text


def test_not_evaluable_names_the_reason_once():
    refused = image(
        not_evaluable="not viable", viability=Viability(p=0.1, verdict=Verdict.NON_VIABLE)
    )
    found = finding(images=(refused, refused))
    assert found.text.count("not viable") == 1
    assert {Flag.NOT_EVALUABLE, Flag.IMAGE_NOT_VIABLE} <= set(found.flags)


def test_some_images_left_out_are_counted():
    found = finding([white(WbcClass.NEUTROPHIL)], images=(image(), image(not_evaluable="blurred")))
    assert "1 of 2 images could not be evaluated." in found.text


def test_untrained_models_come_first():
    found = finding(leukaemic(), untrained=True)
    assert found.flags[0] is Flag.UNTRAINED_MODELS
    assert found.sentences[0].startswith("The models are untrained")


def test_scale_outside_the_bundles_range_is_flagged():
    odd = image(warnings=("scale outside the bundle's range (0.05 to 0.2 um per pixel)",))
    assert finding(images=(image(), odd)).flags == (Flag.SCALE_OUT_OF_RANGE,)
    assert Flag.SCALE_OUT_OF_RANGE not in finding(images=(image(warnings=("soft",)),)).flags


def test_stain_outside_the_bundles_range_is_flagged_and_said():
    odd = image(warnings=("stain outside the bundle's range: 1 of 1 fields (distance 2.6)",))
    found = finding(leukaemic(), images=(image(), odd, image()))
    assert Flag.STAIN_OUT_OF_RANGE in found.flags
    assert Flag.DOMAIN_NOT_COVERED not in found.flags
    assert "The stain of 1 of 3 images is outside the bundle's range." in found.sentences
    part = image(warnings=("no blood smear that this bundle knows: 1 of 9 fields",))
    assert finding(leukaemic(), images=(part,)).flags[-1] is Flag.STAIN_OUT_OF_RANGE


def test_what_is_no_smear_is_a_domain_that_is_not_covered():
    reason = "it is no blood smear that this bundle knows (distance 5)"
    refused = image(
        fields_read=0,
        not_evaluable=reason,
        warnings=("no blood smear that this bundle knows: 1 of 1 fields (distance 5)",),
    )
    found = finding(images=(refused,))
    assert found.flags == (Flag.NOT_EVALUABLE, Flag.DOMAIN_NOT_COVERED)
    assert found.sentences[0] == f"Not evaluable: {reason}."
    assert Flag.DOMAIN_NOT_COVERED in finding(leukaemic(), images=(image(), refused)).flags


def test_a_bundle_that_was_not_commissioned_is_flagged_and_said():
    found = finding(leukaemic(), commissioned=None)
    assert found.flags[0] is Flag.NOT_COMMISSIONED
    assert found.sentences[-2] == (
        "This bundle has not been commissioned with this laboratory's own images."
    )
    assert "commissioned" not in finding(leukaemic()).text
    untrained = finding(leukaemic(), untrained=True, commissioned=None)
    assert Flag.NOT_COMMISSIONED not in untrained.flags
    assert "commissioned" not in untrained.text


def test_an_image_that_could_not_be_read_leaves_the_numbers_of_the_others():
    failure = StageFailure(stage=None, reason="image 2: it could not be decoded (cut off)")
    found = finding(leukaemic(), failures=(failure,))
    assert found.flags[0] is Flag.IMAGE_UNREADABLE
    assert Flag.STAGE_FAILED not in found.flags
    assert "incomplete: not every image could be read to its end" in found.text
    assert "112 of 204 leukocytes" in found.text


def test_failed_stage_is_named():
    found = finding(failures=(StageFailure(stage=Stage.SUBTYPE, reason="nan"),))
    assert "subtype failed" in found.text
    assert Flag.STAGE_FAILED in found.flags


def test_a_failed_stage_5_raises_no_flag_that_rests_on_it_and_leaves_the_differential_whole():
    """Some cells were read before it failed, the others were not asked about."""
    cells = [*leukaemic(), *[white(WbcClass.LYMPHOCYTES)] * 40]
    failure = StageFailure(stage=Stage.MALIGNANCY, reason="nan")
    found = finding(cells, failures=(failure,))
    assert set(found.flags) == {Flag.STAGE_FAILED}
    assert "244 leukocytes were counted; the blast fraction could not be measured." in found.text
    assert "%" not in found.text


@pytest.mark.parametrize("word", ["diagnos", "confirmed", "excluded", "leukaemia"])
def test_no_sentence_says_a_diagnosis(word):
    for found in (finding(leukaemic()), finding(), finding([white(WbcClass.NEUTROPHIL)])):
        assert word not in found.text.lower()


def test_morphology_outside_the_interval_is_said():
    cells = [white(WbcClass.LYMPHOCYTES, Malignancy.MALIGNANT, Subtype.PRO_B)] * 50
    found = finding(cells + [white(WbcClass.NEUTROPHIL)] * 50)
    assert Flag.MORPHOLOGY_DISAGREES in found.flags
    assert "Morphology alone calls 0 of 100 cells blasts (0.0 %), outside" in found.text
