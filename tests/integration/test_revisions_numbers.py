"""For any cells and any reclassifications: PDF text, SR, annotations, HL7, FHIR, `result.json` and database
rows say the same numbers, and sums are sums. On the real road, with the objects as they were issued.
"""

import json
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from db import queries
from db.analysis_rows import load_analysis
from db.database import Database
from db.errors import ReviewRefused
from db.reporting_rows import ObjectKind
from db.reviewing import reclassify_cell
from domain.counts import AdequacyLimits
from domain.identities import CaseId
from domain.reviews import CLASSES_FOR_PERSONS
from leukonode import steps
from reporting.fhir import fhir_bundle
from reporting.hl7 import oru_message
from reporting.message_readback import numbers_in_fhir, numbers_in_hl7
from reporting.pdf_text import pdf_text
from reporting.readback import numbers_in_pdf_text, numbers_in_result, numbers_in_sr
from reporting.readback_annotations import numbers_in_annotations
from reporting.result_json import result_bytes, validate
from tests import reporting_cases as cases
from tests.revisions_house import Desk, desk, reader_of

LYMPHOID = ("blast_cells", "lymphocytes")


@st.composite
def rows(draw):
    row = {
        "n": draw(st.integers(0, 40)),
        "kind": draw(st.sampled_from((*cases.TEN, "unclassified"))),
    }
    if row["kind"] in LYMPHOID:
        row["malignancy"] = draw(st.sampled_from(("benign", "malignant", "unclassified")))
        if row["malignancy"] == "malignant":
            row["subtype"] = draw(st.sampled_from(("early_pre_b", "pre_b", "unclassified")))
    return row


plans = st.lists(rows(), max_size=6)
changes = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from(CLASSES_FOR_PERSONS)), max_size=4
)


def as_issued(at: Desk, case_id: CaseId) -> dict[str, str]:
    """What every drawing of the latest report says, and the rows; all the same, or it fails here."""
    with at.database.reading() as conn:
        found = queries.case(conn, case_id)
        analysis = load_analysis(conn, found.analyses[-1].analysis_id)
    report = found.reports[-1]
    both = (ObjectKind.PDF, ObjectKind.SR)
    paths = {kind: at.house.store.path(report.object(kind).store_key) for kind in both}
    in_sr = numbers_in_sr(paths[ObjectKind.SR].read_bytes())
    pdf = bytes(dcmread(paths[ObjectKind.PDF]).EncapsulatedDocument)
    assert numbers_in_pdf_text(pdf_text(pdf)) == in_sr
    drawn = cases.report(analysis, reviews=found.reviews)
    result = json.loads(result_bytes(drawn, with_seconds=False))
    validate(result)
    assert numbers_in_result(result) == {k: v for k, v in in_sr.items() if k != "cells"}
    assert numbers_in_hl7(oru_message(drawn)) == in_sr
    assert numbers_in_fhir(fhir_bundle(drawn, pdf)) == in_sr
    stored = [o for o in report.objects if o.kind is ObjectKind.ANNOTATIONS]
    placed = numbers_in_annotations(at.house.store.path(o.store_key).read_bytes() for o in stored)
    for name in ("blasts.count", "red_cells", "platelets", "nucleated_red.count"):
        assert placed.get(name, "0") == in_sr.get(name, "0")
    from_rows = numbers_in_rows(at, case_id)
    assert from_rows.items() <= in_sr.items()
    assert set(in_sr) - set(from_rows) <= {
        name for name in in_sr if name.endswith((".low", ".high")) or name in NOT_IN_ROWS
    }
    return in_sr


def reclassified(at: Desk, case_id: CaseId, cell: int, name: str) -> bool:
    """False where the cell is called so already."""
    try:
        with at.database.transaction() as tx:
            reclassify_cell(
                tx, case_id, cell, name, by="Anna", limits=AdequacyLimits(), now=at.clock()
            )
    except ReviewRefused:
        return False
    return True


# computed from counts and fields read, and stored nowhere
NOT_IN_ROWS = {
    "cells",
    "nucleated_red.per_100",
    "platelets_per_red_cell",
    "platelets_per_field",
    "blasts.bound_low",
    "blasts.bound_high",
}
SUMMARY = {"leukocytes": "leukocytes", "overruled": "overruled", "disagreements": "disagreements"}
CLASS = {
    "red_blood_cell": "red_cells",
    "platelet": "platelets",
    "nucleated_red_blood_cells": "nucleated_red.count",
}


def numbers_in_rows(at: Desk, case_id: CaseId) -> dict[str, str]:
    """Of the auditor's view, which computes percentages by itself."""
    said: dict[str, str] = {}
    for row in at.all_rows(
        f"SELECT kind, name, count, percent FROM auditor.results WHERE latest AND case_id = '{case_id}'"
    ):
        kind, name = row["kind"], row["name"]
        if kind == "class":
            name = CLASS.get(name)
        elif kind == "summary":
            name = SUMMARY.get(name, name)
        else:
            name = f"{kind}.{name}"
        if name is None:
            continue
        share = kind in ("differential", "subtype") or name in ("blasts", "morphological_blasts")
        said[f"{name}.count" if share else name] = str(row["count"])
        if share and row["percent"] is not None:
            said[f"{name}.percent"] = f"{row['percent']:.1f}"
    return said


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plans, changes)
def test_every_drawing_and_the_rows_say_the_same_numbers(
    database: Database, tmp_path_factory, plan, made
):
    at = desk(database, tmp_path_factory.mktemp("desk"), archive=None)
    at.house = replace(at.house, read=reader_of(plan, crops=0))
    case_id = at.reported(study=str(at.folder))
    first = as_issued(at, case_id)
    total = int(first["cells"])
    done = sum(
        reclassified(at, case_id, 1 + place % total, name)
        for place, name in (made if total else [])
    )
    steps.report(at.house, case_id)
    last = as_issued(at, case_id)
    assert last["cells"] == first["cells"]
    if not done:
        assert last == first
    differential = sum(
        int(v) for k, v in last.items() if k.startswith("differential") and k.endswith("count")
    )
    assert differential == int(last["leukocytes"])
    patterns = sum(int(v) for k, v in last.items() if k.startswith("subtype") and "count" in k)
    assert patterns + int(last["unclassified.subtype"]) == int(last["blasts.count"])
