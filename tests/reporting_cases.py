"""Synthetic reports for the tests of the reporting room: values only, no network, no file."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from domain.analysis import (
    Analysis,
    BundleInfo,
    Commissioning,
    ModelInfo,
    StageFailure,
    StageRecord,
)
from domain.cells import Cell, CellClass, Malignancy, Mark, Stage, Subtype, ViabilityClass, WbcClass
from domain.counts import AdequacyLimits, Proportion
from domain.identities import (
    CaseId,
    InstanceUID,
    SeriesUID,
    Sha256,
    SopClassUID,
    StudyUID,
    derived_uid,
)
from domain.image import Box, Domain, ImageHeader, ImageReading, ScaleFrom, Verdict, Viability
from domain.reviews import Reclassification, Review, ReviewKind, called_of, person_calls
from domain.study import Code, Equipment, EvidenceRef, Patient, Specimen, StudyContext
from reporting.beside import Beside, Checkpoint, EarlierCase, ReferenceRange
from reporting.report import (
    GalleryCrop,
    ObjectRef,
    Overview,
    Predecessor,
    Producer,
    Report,
    report_of,
)

TEN = tuple(c.value for c in list(WbcClass)[:10])
SM = SopClassUID("1.2.840.10008.5.1.4.1.1.77.1.6")
GM = SopClassUID("1.2.840.10008.5.1.4.1.1.77.1.2")
ARCHITECTURES = {
    Stage.VIABILITY: ("plain CNN", tuple(c.value for c in ViabilityClass)),
    Stage.DETECTION: ("yolov5s", tuple(c.value for c in CellClass)),
    Stage.CELL_CLASS: ("U-Net on ResNet34, no skips", tuple(c.value for c in CellClass)),
    Stage.WBC_CLASS: ("ViT-Base/16", TEN),
    Stage.MALIGNANCY: ("ResNet101", tuple(c.value for c in Malignancy)),
    Stage.SUBTYPE: ("DenseNet121", tuple(c.value for c in Subtype)),
}


def digest(word: str) -> Sha256:
    return Sha256((word.encode().hex() * 64)[:64])


def bundle(*, untrained: bool = False, confusion=None) -> BundleInfo:
    return BundleInfo(
        id="starter",
        version="2026.11",
        manifest_sha256=digest("manifest"),
        untrained=untrained,
        domains=(Domain.SMEAR,),
        models=tuple(
            ModelInfo(
                stage=stage,
                architecture=architecture,
                sha256=digest(stage.value),
                classes=classes,
                thresholds=(("reject", 0.5),),
            )
            for stage, (architecture, classes) in ARCHITECTURES.items()
        ),
        um_per_px=0.1,
        reject_rate=0.05,
        confusion=confusion,
        commissioned=Commissioning(
            site="Example laboratory",
            date="2026-11-02",
            parent_manifest_sha256=digest("parent"),
        ),
    )


def reading(number: int = 1, **changes) -> ImageReading:
    values = {
        "header": ImageHeader(
            source=f"2.25.{1000 + number}",
            sha256=digest(f"image{number}"),
            width_px=1600,
            height_px=1200,
            frames=1,
            domain=Domain.SMEAR,
            um_per_px=(0.1, 0.1),
        ),
        "viability": Viability(p=0.98, verdict=Verdict.VIABLE),
        "um_per_px": (0.1, 0.1),
        "scale_from": ScaleFrom.SPACING,
        "fields_read": 4,
        "fields_refused": 0,
    }
    return ImageReading(**(values | changes))


def spread(winner: int, size: int, p: float = 0.9) -> tuple[float, ...]:
    rest = (1 - p) / (size - 1)
    return tuple(p if i == winner else rest for i in range(size))


def cell(
    number: int, kind: str, *, malignancy=None, subtype=None, p=0.9, image=0, marks=()
) -> Cell:
    """A cell counted as `kind`: red_blood_cell, platelet, a WbcClass or unclassified."""
    x, y = 20 + 90 * (number % 17), 20 + 90 * (number // 17 % 12)
    white = kind not in (CellClass.RED_BLOOD_CELL, CellClass.PLATELET)
    classes = list(CellClass)
    cell_class = CellClass.WHITE_BLOOD_CELL if white else CellClass(kind)
    size = 80 if white else 40
    final = kind if malignancy != "unclassified" else "unclassified"
    return Cell(
        number=number,
        image=image,
        frame=1,
        box_px=Box(x, y, x + size, y + size),
        detection_p=0.95,
        cell_class=cell_class,
        cell_class_p=spread(classes.index(cell_class), 3),
        wbc_class=kind if white else None,
        wbc_class_p=()
        if not white
        else (spread(TEN.index(kind), 10, p) if kind in TEN else (0.1,) * 10),
        malignancy=malignancy,
        malignancy_p=() if malignancy is None else spread(int(malignancy == "malignant"), 2, p),
        subtype=subtype,
        subtype_p=()
        if subtype is None
        else (
            spread([s.value for s in Subtype].index(subtype), 3, p)
            if subtype != "unclassified"
            else (0.34, 0.33, 0.33)
        ),
        final_class=final,
        marks=marks,
    )


def cells_of(plan: list[dict]) -> tuple[Cell, ...]:
    """Cells of a plan: rows of {"n": how many, "kind": ..., and what `cell` takes}."""
    made: list[Cell] = []
    for planned in plan:
        row = dict(planned)
        for _ in range(row.pop("n")):
            k = len(made)
            values = {"p": 0.55 + 0.44 * ((k * 37) % 100) / 100} | row
            made.append(cell(k + 1, **values))
    return tuple(made)


BLASTS_35 = [
    {"n": 380, "kind": "red_blood_cell"},
    {"n": 21, "kind": "platelet"},
    {"n": 9, "kind": "immature_neutrophil"},
    {"n": 60, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
    {"n": 8, "kind": "blast_cells", "malignancy": "malignant", "subtype": "early_pre_b"},
    {
        "n": 3,
        "kind": "lymphocytes",
        "malignancy": "malignant",
        "subtype": "pro_b",
        "marks": (Mark.DISAGREEMENT,),
    },
    {"n": 2, "kind": "blast_cells", "malignancy": "malignant", "subtype": "unclassified"},
    {"n": 41, "kind": "lymphocytes", "malignancy": "benign"},
    {"n": 14, "kind": "monocytes"},
    {"n": 3, "kind": "myelocyte"},
    {"n": 62, "kind": "neutrophil"},
    {"n": 2, "kind": "promyelocyte"},
    {"n": 5, "kind": "nucleated_red_blood_cells", "marks": (Mark.OVERRULED,)},
    {"n": 7, "kind": "unclassified", "marks": (Mark.REJECTED,)},
    {"n": 2, "kind": "lymphocytes", "malignancy": "unclassified", "marks": (Mark.REJECTED,)},
]
NORMAL = [
    {"n": 610, "kind": "red_blood_cell"},
    {"n": 34, "kind": "platelet"},
    {"n": 6, "kind": "immature_neutrophil"},
    {"n": 62, "kind": "lymphocytes", "malignancy": "benign"},
    {"n": 13, "kind": "monocytes"},
    {"n": 131, "kind": "neutrophil"},
]
FEW = [
    {"n": 200, "kind": "red_blood_cell"},
    {"n": 12, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
    {"n": 20, "kind": "lymphocytes", "malignancy": "benign"},
    {"n": 28, "kind": "neutrophil"},
]
FIVE_HUNDRED = [
    {"n": 230, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
    {"n": 120, "kind": "lymphocytes", "malignancy": "benign"},
    {"n": 110, "kind": "neutrophil"},
    {"n": 25, "kind": "monocytes"},
    {"n": 15, "kind": "unclassified", "marks": (Mark.REJECTED,)},
]


def analysis_of(
    plan=(), *, images=None, failures=(), untrained=False, confusion=None, warnings=()
) -> Analysis:
    made = bundle(untrained=untrained, confusion=confusion)
    return Analysis(
        bundle=made,
        images=(reading(),) if images is None else images,
        cells=cells_of(list(plan)),
        stages=tuple(
            StageRecord(
                stage=m.stage,
                model=m.architecture,
                sha256=m.sha256,
                engine="torch 2.14.1 cpu float32",
                thresholds=m.thresholds,
                seconds=1.25,
                items=10,
            )
            for m in made.models
        ),
        engine="torch 2.14.1 cpu float32",
        processor="x86-64, 2 threads",
        software="leukonode 0.1.0",
        leukocytes_wanted=200,
        failures=tuple(failures),
        warnings=tuple(warnings),
    )


def context(**changes) -> StudyContext:
    values = {
        "patient": Patient(
            name="Müller^Anna^^Dr.",
            patient_id="PID-0042",
            issuer="HOSPITAL",
            birth_date="19790304",
            sex="F",
            further=(("PatientAge", "047Y"), ("PatientComments", "from ward 3")),
        ),
        "study_uid": StudyUID("2.25.777"),
        "study_id": "S1",
        "study_date": "20261120",
        "study_time": "101500",
        "study_description": "Blood smear",
        "accession_number": "ACC-2026-001",
        "referring_physician": "House^Gregory",
        "acquired_at": "20261120101500",
        "timezone_offset": "+0100",
        "specimen": Specimen(
            identifier="SP-77",
            uid="2.25.888",
            container_identifier="SLIDE-77-1",
            type_code=Code(value="258433009", scheme="SCT", meaning="Smear sample"),
            stain="May-Grünwald-Giemsa",
        ),
        "scanner": Equipment(
            manufacturer="Scanners Ltd", model="FieldScan 40", serial_number="FS-1", software="3.1"
        ),
        "evidence": (
            EvidenceRef(
                sop_class_uid=SM,
                instance_uid=InstanceUID("2.25.1001"),
                series_uid=SeriesUID("2.25.900"),
                sha256=digest("image1"),
            ),
            EvidenceRef(
                sop_class_uid=GM,
                instance_uid=InstanceUID("2.25.1002"),
                series_uid=SeriesUID("2.25.901"),
                sha256=digest("image2"),
            ),
        ),
    }
    return StudyContext(**(values | changes))


PRODUCER = Producer(
    manufacturer="LeukoNode",
    model="LeukoNode",
    version="0.1.0",
    serial_number="node-1",
    device_uid="2.25.4711",
)


def predecessor() -> Predecessor:
    return Predecessor(
        revision=1,
        pdf=ObjectRef(
            sop_class_uid=SopClassUID("1.2.840.10008.5.1.4.1.1.104.1"),
            instance_uid=InstanceUID(derived_uid("old", "pdf")),
            series_uid=SeriesUID(derived_uid("old", "pdf series")),
        ),
        sr=ObjectRef(
            sop_class_uid=SopClassUID("1.2.840.10008.5.1.4.1.1.88.34"),
            instance_uid=InstanceUID(derived_uid("old", "sr")),
            series_uid=SeriesUID(derived_uid("old", "sr series")),
        ),
    )


def picture(seed: int, height: int = 96, width: int = 96) -> np.ndarray:
    """A stained-looking disc on a pale field."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = np.full((height, width, 3), (236, 226, 232), np.uint8)
    radius = np.hypot(x - width / 2, y - height / 2)
    base[radius < 0.38 * width] = (176, 160, 214)
    base[radius < 0.27 * width] = (98, 62, 140)
    noise = rng.integers(-9, 9, base.shape)
    return np.clip(base.astype(int) + noise, 0, 255).astype(np.uint8)


def report(analysis: Analysis | None = None, **changes) -> Report:
    values = {
        "context": context(),
        "analysis": analysis_of(BLASTS_35) if analysis is None else analysis,
        "case_id": CaseId("0b54a6ee-5cf7-5d8e-a6f5-0c38d0a6b7f1"),
        "analysis_ordinal": 1,
        "revision": 1,
        "issued_at": datetime(2026, 11, 24, 9, 30, 15, tzinfo=UTC),
        "completed_by": "by timer (30 s without a new object)",
        "producer": PRODUCER,
        "limits": AdequacyLimits(),
        "review_threshold_percent": 20.0,
    }
    return report_of(**(values | changes))


def with_pictures(analysis: Analysis, **changes) -> Report:
    from reporting.gallery import gallery_cells

    chosen = gallery_cells(analysis, limit=24)
    return report(
        analysis,
        gallery=tuple(
            GalleryCrop(cell_number=c.number, pixels=picture(c.number), um_per_px=0.2)
            for c in chosen
        ),
        overviews=tuple(
            Overview(image=i, pixels=picture(i, 600, 800), scale=0.5)
            for i, image in enumerate(analysis.images)
            if not image.not_evaluable
        ),
        **changes,
    )


REFUSED = reading(
    viability=Viability(p=0.03, verdict=Verdict.NON_VIABLE),
    not_evaluable="the image is not viable (p 0.03)",
    fields_read=0,
    fields_refused=4,
)
WRONG_DOMAIN = reading(
    header=ImageHeader(
        source="2.25.1001",
        sha256=digest("image1"),
        width_px=64,
        height_px=64,
        frames=120,
        domain=Domain.IFC_BRIGHTFIELD,
        monochrome=True,
    ),
    viability=Viability(p=None, verdict=Verdict.NOT_ASSESSED),
    um_per_px=None,
    scale_from=ScaleFrom.UNKNOWN,
    fields_read=0,
    not_evaluable="its domain ifc-brightfield is not covered by this bundle (smear)",
)


UNREADABLE = reading(
    2,
    viability=Viability(p=None, verdict=Verdict.NOT_ASSESSED),
    um_per_px=None,
    scale_from=ScaleFrom.UNKNOWN,
    fields_read=0,
    not_evaluable="a JPEG is cut off before its end",
)


def signed_case() -> Report:
    """Two cells reclassified by one person, and the report signed by another."""
    analysis = analysis_of(FEW)
    when = datetime(2026, 11, 24, 10, 12, tzinfo=UTC)
    changes = (
        (213, "blast_cells", "fine chromatin"),
        (235, "eosinophil", "Platelets 3 <b>near it</b>"),
    )
    made = [
        Review(
            ordinal=ordinal,
            kind=ReviewKind.RECLASSIFICATION,
            by="Okonkwo^Chidi^^Dr.",
            at=when,
            comment=comment,
            analysis_ordinal=1,
            revision=1,
            change=Reclassification(
                cell=number,
                before=called_of(analysis.cells[number - 1]),
                after=person_calls(analysis.cells[number - 1], name),
            ),
        )
        for ordinal, (number, name, comment) in enumerate(changes, 1)
    ]
    signature = Review(
        ordinal=3,
        kind=ReviewKind.SIGNATURE,
        by="Müller^Anna^^Prof. Dr.",
        organization="University Hospital",
        at=when,
        comment="Leukocytes counted 9",
        analysis_ordinal=1,
        revision=2,
    )
    return with_pictures(
        analysis, revision=3, predecessor=predecessor(), reviews=(*made, signature), issued_at=when
    )


def all_cases() -> dict[str, Report]:
    """One report of each kind that the service can issue."""
    confusion = ((280, 20), (12, 190))
    return {
        "normal": with_pictures(analysis_of(NORMAL)),
        "blasts": with_pictures(
            analysis_of(
                BLASTS_35,
                images=(reading(1), reading(2, fields_left=3)),
                confusion=confusion,
                warnings=("12 cells were cut by the border",),
            )
        ),
        "few": with_pictures(analysis_of(FEW)),
        "none": report(analysis_of([{"n": 40, "kind": "red_blood_cell"}])),
        "empty": report(analysis_of([])),
        "non_viable": report(analysis_of([], images=(REFUSED,))),
        "wrong_domain": report(analysis_of([], images=(WRONG_DOMAIN,))),
        "stage_failed": with_pictures(
            analysis_of(
                BLASTS_35, failures=(StageFailure(stage=Stage.SUBTYPE, reason="out of memory"),)
            )
        ),
        "malignancy_failed": report(
            analysis_of(
                NORMAL,
                failures=(StageFailure(stage=Stage.MALIGNANCY, reason="weights unreadable"),),
            )
        ),
        "run_failed": report(
            analysis_of(
                [],
                images=(UNREADABLE,),
                failures=(StageFailure(stage=None, reason="the engine ended"),),
            )
        ),
        "unreadable": report(
            analysis_of(
                NORMAL,
                images=(reading(1), UNREADABLE),
                failures=(
                    StageFailure(stage=None, reason="image 2: it could not be decoded (cut off)"),
                ),
            )
        ),
        "rejected_blasts": report(
            analysis_of(
                [
                    *NORMAL,
                    {"n": 9, "kind": "blast_cells", "malignancy": "unclassified"},
                    {"n": 2, "kind": "blast_cells", "malignancy": "benign"},
                ]
            )
        ),
        "single_cells": report(
            analysis_of(
                [*FEW, {"n": 4, "kind": "platelet"}],
                images=(
                    reading(
                        viability=Viability(p=None, verdict=Verdict.NOT_ASSESSED), fields_read=264
                    ),
                ),
            )
        ),
        "five_hundred": with_pictures(analysis_of(FIVE_HUNDRED)),
        "untrained": with_pictures(analysis_of(BLASTS_35, untrained=True)),
        "amended": with_pictures(analysis_of(BLASTS_35), revision=2, predecessor=predecessor()),
        "signed": signed_case(),
        "bare": report(
            analysis_of(FEW),
            context=StudyContext(patient=Patient(), study_uid=StudyUID("2.25.5")),
        ),
        "hostile": with_pictures(analysis_of(FEW), context=hostile_context()),
        "scripts": with_pictures(
            analysis_of(NORMAL, warnings=tuple(NAMES.values())), context=many_scripts_context()
        ),
        "beside": with_pictures(analysis_of(BLASTS_35, confusion=confusion), beside=BESIDE),
        "below_resolution": report(
            analysis_of(
                [
                    *NORMAL,
                    {"n": 2, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
                ],
                confusion=confusion,
            )
        ),
        "slide": slide(),
    }


NAMES = {
    "latin": "Đỗ^Ngọc Ánh",
    "greek": "Παπαδόπουλος^Αλέξανδρος",
    "cyrillic": "Люкceмбypг^Наталья",
    "arabic": "قباني^لنزار",
    "hebrew": "שרון^דבורה",
    "chinese": "王^小東",
    "japanese": "山田^太郎",
    "korean": "김^희중",
    "thai": "สมชาย^ใจดี",
}
BESIDE = Beside(
    thresholds_percent=(5.0, 30.0, 50.0),
    reference_ranges=(
        ReferenceRange(name="neutrophil", low=40, high=75),
        ReferenceRange(name="lymphocytes", low=20, high=45),
        ReferenceRange(name="monocytes", low=2, high=6.5),
    ),
    earlier=(
        EarlierCase(analysed_on="2026-08-02", blasts=Proportion(171, 204)),
        EarlierCase(analysed_on="2026-09-01", blasts=Proportion(25, 110)),
        EarlierCase(analysed_on="2026-10-06", blasts=Proportion(3, 212)),
        EarlierCase(analysed_on="2026-10-20", blasts=Proportion(0, 0)),
    ),
    checkpoint=Checkpoint(
        sequence=4711, digest=digest("chain"), at=datetime(2026, 11, 24, 9, 30, 15, tzinfo=UTC)
    ),
)


def many_scripts_context() -> StudyContext:
    """PS3.5 annex H and I: the same person in several component groups; and the rest in remarks."""
    return context(
        patient=Patient(
            name="Yamada^Tarou=山田^太郎=やまだ^たろう",
            patient_id="PID-0042",
            issuer=NAMES["greek"],
        ),
        referring_physician=f"Qabbani^Linazar={NAMES['arabic']}",
        accession_number=NAMES["korean"],
        specimen=Specimen(
            identifier=NAMES["hebrew"],
            uid="2.25.888",
            container_identifier=NAMES["thai"],
            stain=NAMES["cyrillic"],
        ),
        scanner=Equipment(manufacturer=NAMES["chinese"], model=NAMES["latin"]),
    )


def slide() -> Report:
    """500 cells from a slide: a map with the fields read, and one field of it."""
    image = reading(
        header=ImageHeader(
            source="2.25.1001",
            sha256=digest("image1"),
            width_px=1600,
            height_px=1200,
            frames=1,
            domain=Domain.SMEAR,
            um_per_px=(0.1, 0.1),
        ),
        fields_read=9,
        fields_left=3,
    )
    drawn = with_pictures(analysis_of(FIVE_HUNDRED, images=(image,)))
    fields = tuple(
        Box(400 * (n % 4), 400 * (n // 4), 400 * (n % 4) + 400, 400 * (n // 4) + 400)
        for n in range(9)
    )
    return replace(
        drawn,
        overviews=(
            Overview(image=0, pixels=picture(0, 600, 800), scale=0.5, fields_px=fields),
            Overview(image=0, pixels=picture(1, 400, 400), scale=1.0, origin_px=(400.0, 400.0)),
        ),
    )


def hostile_context() -> StudyContext:
    return context(
        patient=Patient(
            name="<b>O'Neil</b>&amp;" + "W" * 46 + "^<script>alert(1)</script>^\u202eevil\u202c",
            patient_id='=HYPERLINK("http://x")\x00\x1b[31m; DROP TABLE cases;--',
            birth_date="19-01-01",
            sex="woman",
            further=(("PatientAge", "old"), ("NoSuchKeyword", "x"), ("PatientID", "other")),
        ),
        accession_number="%s{0}</para>\\ACC" + "9" * 50,
        study_description="<para><font color=red>" * 5,
        study_date="yesterday",
        study_time="noon",
        timezone_offset="+9999",
        acquired_at="some day",
        warnings=("<a href='http://x'>click</a>",),
    )
