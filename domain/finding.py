"""Flags and the finding in words: functions of the numbers alone, from a fixed list of sentences.

No sentence says diagnosis, confirmed or excluded (METHOD section 4).
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.analysis import Analysis
from domain.cells import Stage
from domain.counts import Adequacy, Numbers
from domain.image import ScaleFrom, Verdict

__all__ = ["SUBTYPE_WORDS", "Finding", "Flag", "finding_of"]

FOR_REVIEW = "For review by a haematopathologist."
SUBTYPE_WORDS = {"early_pre_b": "Early Pre-B", "pre_b": "Pre-B", "pro_b": "Pro-B"}


class Flag(StrEnum):
    """Closed list; the value is the outward contract's word in `result.json` and the database."""

    UNTRAINED_MODELS = "untrained_models"
    NOT_COMMISSIONED = "not_commissioned"
    NOT_EVALUABLE = "not_evaluable"
    STAGE_FAILED = "stage_failed"
    IMAGE_UNREADABLE = "image_unreadable"
    ANY_BLAST = "any_blast"
    BLASTS_AT_THRESHOLD = "blasts_at_or_above_threshold"
    MORPHOLOGY_DISAGREES = "morphology_disagrees"
    REJECT_RATE_HIGH = "reject_rate_high"
    SCALE_UNKNOWN = "scale_unknown"
    SCALE_OUT_OF_RANGE = "scale_out_of_range"
    STAIN_OUT_OF_RANGE = "stain_out_of_range"
    DOMAIN_NOT_COVERED = "domain_not_covered"
    IMAGE_NOT_VIABLE = "image_not_viable"
    FIELD_LIMIT_REACHED = "field_limit_reached"
    SPECIMEN_NOT_IDENTIFIED = "specimen_not_identified"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the report says first."""

    flags: tuple[Flag, ...]
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def finding_of(
    analysis: Analysis,
    numbers: Numbers,
    *,
    review_threshold_percent: float,
    specimen_identified: bool,
    verified: bool = False,
) -> Finding:
    """Flags in the order of `Flag`, sentences for a reader, the last asking for review until a person
    has verified the report."""
    flags = _flags(
        analysis, numbers, review_threshold_percent, specimen_identified=specimen_identified
    )
    said = _sentences(analysis, numbers, flags, review_threshold_percent)
    return Finding(flags=flags, sentences=said if verified else (*said, FOR_REVIEW))


def _flags(
    analysis: Analysis, numbers: Numbers, threshold: float, *, specimen_identified: bool
) -> tuple[Flag, ...]:
    images = analysis.images
    low, high = numbers.blasts.low, numbers.blasts.high
    asked = analysis.measured(Stage.MALIGNANCY)
    morphological = numbers.morphological_blasts.percent
    limit = analysis.bundle.reject_rate
    rate = numbers.reject_rate
    raised = {
        Flag.UNTRAINED_MODELS: analysis.bundle.untrained,
        Flag.NOT_COMMISSIONED: not analysis.bundle.untrained
        and analysis.bundle.commissioned is None,
        Flag.NOT_EVALUABLE: not analysis.evaluable,
        Flag.STAGE_FAILED: any(f.stage is not None for f in analysis.failures),
        Flag.IMAGE_UNREADABLE: any(f.stage is None for f in analysis.failures),
        Flag.ANY_BLAST: asked and numbers.blasts.count > 0,
        Flag.BLASTS_AT_THRESHOLD: asked
        and (numbers.blasts.percent or 0) >= threshold
        and numbers.blasts.count > 0,
        Flag.MORPHOLOGY_DISAGREES: asked
        and low is not None
        and high is not None
        and morphological is not None
        and not low <= morphological <= high,
        Flag.REJECT_RATE_HIGH: analysis.measured(Stage.WBC_CLASS)
        and limit is not None
        and rate is not None
        and rate > limit,
        Flag.SCALE_UNKNOWN: any(
            i.scale_from is ScaleFrom.UNKNOWN for i in images if not i.not_evaluable
        ),
        Flag.SCALE_OUT_OF_RANGE: any(i.scale_out_of_range for i in images if not i.not_evaluable),
        Flag.STAIN_OUT_OF_RANGE: any(i.stain_out_of_range for i in images if not i.not_evaluable),
        Flag.DOMAIN_NOT_COVERED: any(
            i.header.domain not in analysis.bundle.domains or i.unknown_smear for i in images
        ),
        Flag.IMAGE_NOT_VIABLE: any(i.viability.verdict is Verdict.NON_VIABLE for i in images),
        Flag.FIELD_LIMIT_REACHED: any(i.fields_left > 0 for i in images),
        Flag.SPECIMEN_NOT_IDENTIFIED: not specimen_identified,
    }
    return tuple(flag for flag in Flag if raised[flag])


def _sentences(
    analysis: Analysis, numbers: Numbers, flags: tuple[Flag, ...], threshold: float
) -> tuple[str, ...]:
    said: list[str] = []
    if Flag.UNTRAINED_MODELS in flags:
        said.append(
            "The models are untrained: every number here is meaningless and shows only that the "
            "service runs."
        )
    if Flag.STAGE_FAILED in flags:
        named = ", ".join(f.stage.value for f in analysis.failures if f.stage)
        said.append(f"The analysis is incomplete: {named} failed.")
    if Flag.IMAGE_UNREADABLE in flags and analysis.evaluable:
        said.append("The analysis is incomplete: not every image could be read to its end.")
    if not analysis.evaluable:
        reasons = dict.fromkeys(i.not_evaluable for i in analysis.images if i.not_evaluable)
        said.append(f"Not evaluable: {'; '.join(reasons) or 'no image could be read'}.")
    elif not analysis.measured(Stage.WBC_CLASS):
        said.append("So no differential and no blast fraction could be measured.")
    elif numbers.adequacy is Adequacy.NONE:
        said.append("No leukocytes were found, so no differential and no blast fraction is given.")
    elif not analysis.measured(Stage.MALIGNANCY):
        said.append(
            f"{numbers.leukocytes} leukocytes were counted; the blast fraction could not be measured."
        )
    else:
        said += _counted(numbers, threshold, flags, patterned=analysis.measured(Stage.SUBTYPE))
    if analysis.evaluable and any(i.not_evaluable for i in analysis.images):
        left_out = sum(bool(i.not_evaluable) for i in analysis.images)
        said.append(f"{left_out} of {len(analysis.images)} images could not be evaluated.")
    if Flag.STAIN_OUT_OF_RANGE in flags:
        odd = sum(i.stain_out_of_range and not i.not_evaluable for i in analysis.images)
        said.append(
            f"The stain of {odd} of {len(analysis.images)} images is outside the bundle's range."
        )
    if Flag.NOT_COMMISSIONED in flags and analysis.evaluable:
        said.append("This bundle has not been commissioned with this laboratory's own images.")
    return tuple(said)


def _counted(
    numbers: Numbers, threshold: float, flags: tuple[Flag, ...], *, patterned: bool
) -> list[str]:
    said = []
    blasts = numbers.blasts
    if blasts.count:
        named = [s for s in numbers.subtypes if s.proportion.count and patterned]
        most = max(named, key=lambda s: s.proportion.count, default=None)
        pattern = (
            f", mostly {SUBTYPE_WORDS[most.name]} ({most.proportion.percent:.0f} %)" if most else ""
        )
        are = "is classified as a blast" if blasts.count == 1 else "are classified as blasts"
        said.append(
            f"{blasts.count} of {blasts.total} leukocytes ({blasts.percent:.1f} %, 95 % CI "
            f"{blasts.low:.1f} to {blasts.high:.1f}) {are}{pattern}."
        )
    else:
        said.append(
            f"None of {blasts.total} leukocytes is classified as a blast (95 % CI 0.0 to "
            f"{blasts.high:.1f} %)."
        )
    if Flag.BLASTS_AT_THRESHOLD in flags:
        said.append(f"The fraction is at or above the review threshold of {threshold:g} %.")
    if numbers.white_unclassified and numbers.blast_bounds:
        low, high = numbers.blast_bounds
        said.append(
            f"It is between {low:.1f} % and {high:.1f} % if the {numbers.white_unclassified} "
            "unclassified cells are counted."
        )
    if Flag.MORPHOLOGY_DISAGREES in flags:
        said.append(
            f"Morphology alone calls {numbers.morphological_blasts.count} of "
            f"{numbers.morphological_blasts.total} cells blasts "
            f"({numbers.morphological_blasts.percent:.1f} %), outside that interval."
        )
    if numbers.adequacy is not Adequacy.ADEQUATE:
        said.append(f"The count is {numbers.adequacy.value} for a differential.")
    rejected_subtype = dict(numbers.unclassified)[Stage.SUBTYPE]
    if rejected_subtype and patterned:
        said.append(f"{rejected_subtype} blasts have no pattern assigned.")
    return said
