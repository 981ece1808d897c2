"""The report value: one frozen thing that every drawing reads and none changes.

In      who and what (StudyContext), what the cascade gave (Analysis), what persons did since (Review),
        who made it, when, which try
Out     Report: numbers, finding and UIDs computed here once, so that PDF, SR and JSON can't disagree
`analysis` and `numbers` are with the reclassifications of persons; `numbers_as_read` without.
UIDs are derived from case, analysis ordinal and revision: the same report made again is the same
objects. Pure: no files, no clock, no randomness.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.analysis import Analysis
from domain.cells import CellClass, Stage
from domain.counts import AdequacyLimits, Numbers, numbers_of_analysis
from domain.finding import Finding, finding_of
from domain.identities import CaseId, InstanceUID, SeriesUID, SopClassUID, derived_uid
from domain.image import Box, Pixels, Verdict
from domain.reviews import Review, reclassifications_of, reviewed, signature_of
from domain.states import ReportStatus
from domain.study import StudyContext
from reporting.beside import Beside
from reporting.gallery import gallery_cells
from reporting.nameable import nameable

__all__ = [
    "DISCLAIMER",
    "RESEARCH_USE",
    "SUGGESTED",
    "UNTRAINED",
    "UNVERIFIED",
    "VERIFIED",
    "GalleryCrop",
    "ObjectRef",
    "Overview",
    "Predecessor",
    "Producer",
    "Report",
    "ReportUids",
    "report_of",
]

UNVERIFIED = "UNVERIFIED"
VERIFIED = "VERIFIED"
SUGGESTED = "Suggested, to be confirmed by a haematopathologist"
RESEARCH_USE = "Research use only. Not a medical device."
UNTRAINED = "UNTRAINED MODELS"
DISCLAIMER = f"{UNVERIFIED}. {SUGGESTED}. {RESEARCH_USE}"


@dataclass(frozen=True, kw_only=True)
class ObjectRef:
    """An issued object, as another object names it."""

    sop_class_uid: SopClassUID
    instance_uid: InstanceUID
    series_uid: SeriesUID


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """The report that this one replaces."""

    revision: int
    pdf: ObjectRef
    sr: ObjectRef


@dataclass(frozen=True, kw_only=True)
class Producer:
    """The device that makes the report: the same in every object of a run (PS3.3 C.7.5.1)."""

    manufacturer: str
    model: str
    version: str
    serial_number: str
    device_uid: str


@dataclass(frozen=True, kw_only=True)
class ReportUids:
    """UIDs of the objects a report becomes; `tracking` gives one for each measurement group."""

    pdf_series: SeriesUID
    pdf_instance: InstanceUID
    sr_series: SeriesUID
    sr_instance: InstanceUID
    tracking_root: str

    def tracking(self, group: str) -> str:
        return derived_uid(self.tracking_root, group)


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryCrop:
    """A cell's picture. `pixels` (H, W, 3) uint8 RGB; `um_per_px` of the crop, None when unknown."""

    cell_number: int
    pixels: Pixels
    um_per_px: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Overview:
    """A small picture of an image or of a part of it, to draw the cells' boxes on.

    pixels     (H, W, 3) uint8 RGB
    scale      overview pixels per image pixel
    origin_px  (x, y) of the overview's top left corner, in pixels of the image as it came
    fields_px  the fields that were read, where the overview is the map of an image of many fields
    """

    image: int  # index into Analysis.images
    pixels: Pixels
    scale: float
    origin_px: tuple[float, float] = (0.0, 0.0)
    fields_px: tuple[Box, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """All that a drawing may say. Made by `report_of` alone."""

    context: StudyContext
    analysis: Analysis
    numbers: Numbers
    finding: Finding
    case_id: CaseId
    analysis_ordinal: int
    revision: int
    status: ReportStatus
    issued_at: datetime  # aware, UTC
    completed_by: str  # evidence of completeness in words
    uids: ReportUids
    producer: Producer
    predecessor: Predecessor | None
    leukocytes_wanted: int
    review_threshold_percent: float
    limits: AdequacyLimits
    gallery: tuple[GalleryCrop, ...]
    overviews: tuple[Overview, ...]
    reviews: tuple[Review, ...]  # every act of a person on the case up to this report, in order
    numbers_as_read: Numbers  # as the networks called the cells
    beside: Beside
    corrects_final: bool = False  # a signed report of the case was issued before

    @property
    def thresholds_percent(self) -> tuple[float, ...]:
        """Every threshold that the blast fraction is held against, in rising order."""
        return tuple(sorted({self.review_threshold_percent, *self.beside.thresholds_percent}))

    @property
    def signature(self) -> Review | None:
        """Who verified this very report; None while nobody has."""
        return signature_of(self.reviews, analysis_ordinal=self.analysis_ordinal)

    @property
    def verification(self) -> str:
        """Verification Flag (PS3.3 C.17.2): VERIFIED once a person has signed."""
        return VERIFIED if self.signature is not None else UNVERIFIED

    @property
    def disclaimer(self) -> str:
        """What every drawing says of how far it is to be trusted."""
        return f"{VERIFIED}. {RESEARCH_USE}" if self.signature is not None else DISCLAIMER

    @property
    def reclassified(self) -> dict[int, tuple[Review, ...]]:
        """By cell number, what persons called cells of this analysis; the last word counts."""
        return reclassifications_of(self.reviews, analysis_ordinal=self.analysis_ordinal)

    @property
    def untrained(self) -> bool:
        return self.analysis.bundle.untrained

    @property
    def failed(self) -> bool:
        """A stage or a part of an image is missing: the report is PARTIAL (PS3.3 C.17.2, Completion Flag)."""
        return bool(self.analysis.failures)

    @property
    def title(self) -> str:
        """Document title and series description; at most 64 characters, no patient data."""
        kind = "LeukoNode blood smear report"
        amended = ", amended" if self.predecessor else ""
        if self.signature is not None:
            amended = ", verified"
        return f"{UNTRAINED}: {kind}{amended}" if self.untrained else f"{kind}{amended}"

    @property
    def platelets_per_field(self) -> float | None:
        """Platelets over the fields read; None where nothing but single cells was read."""
        # an image that stage 1 did not look at holds one cell a frame, and no field
        with_fields = {
            n
            for n, image in enumerate(self.analysis.images)
            if image.viability.verdict is not Verdict.NOT_ASSESSED
        }
        read = sum(self.analysis.images[n].fields_read for n in with_fields)
        platelets = sum(
            c.final_class == CellClass.PLATELET and c.image in with_fields
            for c in self.analysis.cells
        )
        return platelets / read if read else None

    def measured(self, stage: Stage) -> bool:
        """Whether the numbers that rest on this stage exist; else no drawing prints any."""
        return self.analysis.measured(stage)


def report_of(
    *,
    context: StudyContext,
    analysis: Analysis,
    case_id: CaseId,
    analysis_ordinal: int,
    revision: int,
    issued_at: datetime,
    completed_by: str,
    producer: Producer,
    limits: AdequacyLimits,
    review_threshold_percent: float,
    predecessor: Predecessor | None = None,
    gallery: tuple[GalleryCrop, ...] = (),
    overviews: tuple[Overview, ...] = (),
    reviews: tuple[Review, ...] = (),
    beside: Beside | None = None,
    corrects_final: bool = False,
) -> Report:
    """The report of an analysis as the networks gave it, with the reviews of the case so far.

    ValueError when `issued_at` is not in UTC, or when a report is signed that replaces none: the
    signature is of one that was issued before."""
    if issued_at.utcoffset() != timedelta(0):
        raise ValueError(f"a report is issued at a time in UTC, not at {issued_at!r}")
    signed = signature_of(reviews, analysis_ordinal=analysis_ordinal) is not None
    if signed and predecessor is None:
        raise ValueError("a signed report names the one that was signed, and there is none")
    as_read = numbers_of_analysis(analysis, limits=limits)
    analysis = reviewed(analysis, reviews, analysis_ordinal=analysis_ordinal)
    changed = reclassifications_of(reviews, analysis_ordinal=analysis_ordinal)
    numbers = numbers_of_analysis(analysis, limits=limits, by_person=bool(changed))
    context = nameable(context)
    return Report(
        context=context,
        analysis=analysis,
        numbers=numbers,
        finding=finding_of(
            analysis,
            numbers,
            review_threshold_percent=review_threshold_percent,
            specimen_identified=context.specimen is not None,
            verified=signed,
        ),
        case_id=case_id,
        analysis_ordinal=analysis_ordinal,
        revision=revision,
        status=_status(signed=signed, amended=predecessor is not None),
        issued_at=issued_at,
        completed_by=completed_by,
        uids=_uids(case_id, analysis_ordinal, revision),
        producer=producer,
        predecessor=predecessor,
        leukocytes_wanted=analysis.leukocytes_wanted,
        review_threshold_percent=review_threshold_percent,
        limits=limits,
        gallery=_in_order(gallery, analysis) if reviews else gallery,
        overviews=overviews,
        reviews=reviews,
        numbers_as_read=as_read,
        beside=beside or Beside(),
        corrects_final=corrects_final,
    )


def _status(*, signed: bool, amended: bool) -> ReportStatus:
    if signed:
        return ReportStatus.VERIFIED
    return ReportStatus.AMENDED if amended else ReportStatus.PRELIMINARY


def _in_order(gallery: tuple[GalleryCrop, ...], analysis: Analysis) -> tuple[GalleryCrop, ...]:
    """The crops were chosen before persons renamed cells: blasts first again."""
    shown = gallery_cells(analysis, limit=len(analysis.cells))
    place = {cell.number: n for n, cell in enumerate(shown)}
    return tuple(sorted(gallery, key=lambda crop: place.get(crop.cell_number, len(place))))


def _uids(case_id: str, ordinal: int, revision: int) -> ReportUids:
    kinds = ("pdf series", "pdf instance", "sr series", "sr instance", "tracking")
    uid: Mapping[str, str] = {
        kind: derived_uid(case_id, str(ordinal), str(revision), kind) for kind in kinds
    }
    return ReportUids(
        pdf_series=SeriesUID(uid["pdf series"]),
        pdf_instance=InstanceUID(uid["pdf instance"]),
        sr_series=SeriesUID(uid["sr series"]),
        sr_instance=InstanceUID(uid["sr instance"]),
        tracking_root=uid["tracking"],
    )
