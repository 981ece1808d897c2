"""An analysis read from the database equals the one that was written, whatever it holds."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import text

from db.analysing import claim_analysis, finish_analysis
from db.analysis_rows import load_analysis
from db.database import Database
from db.receiving import Arrival, InstanceRole, complete_case, receive_instance
from domain.analysis import (
    Analysis,
    BundleInfo,
    Commissioning,
    ModelInfo,
    StageFailure,
    StageRecord,
)
from domain.cells import UNCLASSIFIED, Cell, CellClass, Malignancy, Mark, Stage, Subtype, WbcClass
from domain.counts import AdequacyLimits, numbers_of
from domain.identities import InstanceUID, SeriesUID, Sha256, SopClassUID, StudyUID
from domain.image import (
    Box,
    Domain,
    ImageHeader,
    ImageReading,
    ScaleFrom,
    Verdict,
    Viability,
)
from domain.states import CompletedBy
from domain.study import Patient

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)

# what PostgreSQL can store: no NUL, no half of a surrogate pair (db.tables.clean)
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
floats = st.floats(allow_nan=False)
probabilities = st.floats(0, 1) | st.floats(0, 1, width=32)
whole = st.integers(0, 2**31 - 1)
digests = st.binary(min_size=32, max_size=32).map(lambda b: Sha256(b.hex()))
pairs = st.none() | st.tuples(floats, floats)
several = st.lists(words, max_size=3).map(tuple)
thresholds = st.lists(st.tuples(words, floats), max_size=3).map(tuple)


def chances(count: int) -> st.SearchStrategy[tuple[float, ...]]:
    return st.just(()) | st.tuples(*[probabilities] * count)


models = st.builds(
    ModelInfo,
    stage=st.sampled_from(Stage),
    architecture=words,
    sha256=digests,
    classes=several,
    thresholds=thresholds,
)
counts = st.tuples(st.integers(0, 2**62), st.integers(0, 2**62))
bundle_infos = st.builds(
    BundleInfo,
    id=words,
    version=words,
    manifest_sha256=digests,
    untrained=st.booleans(),
    domains=st.lists(st.sampled_from(Domain), max_size=3).map(tuple),
    models=st.lists(models, max_size=6).map(tuple),
    um_per_px=floats,
    reject_rate=st.none() | floats,
    confusion=st.none() | st.tuples(counts, counts),
    commissioned=st.none()
    | st.builds(Commissioning, site=words, date=words, parent_manifest_sha256=digests),
)
readings = st.builds(
    ImageReading,
    header=st.builds(
        ImageHeader,
        source=words,
        sha256=digests,
        width_px=whole,
        height_px=whole,
        frames=whole,
        domain=st.sampled_from(Domain),
        um_per_px=pairs,
        monochrome=st.booleans(),
        refusal=words,
        warnings=several,
    ),
    viability=st.builds(Viability, p=st.none() | probabilities, verdict=st.sampled_from(Verdict)),
    um_per_px=pairs,
    scale_from=st.sampled_from(ScaleFrom),
    fields_read=whole,
    fields_refused=whole,
    fields_left=whole,
    not_evaluable=words,
    warnings=several,
)
cell_values = st.builds(
    Cell,
    number=st.just(1),
    image=st.just(0),
    frame=whole,
    box_px=st.builds(Box, floats, floats, floats, floats),
    detection_p=probabilities,
    cell_class=st.sampled_from(CellClass),
    cell_class_p=chances(3),
    wbc_class=st.none() | st.sampled_from([*(c.value for c in WbcClass), UNCLASSIFIED]),
    wbc_class_p=chances(10) | chances(12),
    malignancy=st.none() | st.sampled_from([*(c.value for c in Malignancy), UNCLASSIFIED]),
    malignancy_p=chances(2),
    subtype=st.none() | st.sampled_from([*(c.value for c in Subtype), UNCLASSIFIED]),
    subtype_p=chances(3),
    final_class=st.sampled_from([*(c.value for c in WbcClass), UNCLASSIFIED]),
    marks=st.lists(st.sampled_from(Mark), max_size=4).map(tuple),
    outline_px=st.lists(floats, max_size=8).map(tuple),
)


@st.composite
def analyses(draw: st.DrawFn) -> Analysis:
    images = draw(st.lists(readings, max_size=3).map(tuple))
    drawn = draw(st.lists(cell_values, max_size=8 if images else 0))
    cells = tuple(
        replace(cell, number=number, image=draw(st.integers(0, len(images) - 1)))
        for number, cell in enumerate(drawn, start=1)
    )
    return Analysis(
        bundle=draw(bundle_infos),
        images=images,
        cells=cells,
        stages=draw(
            st.lists(
                st.builds(
                    StageRecord,
                    stage=st.sampled_from(Stage),
                    model=words,
                    sha256=digests,
                    engine=words,
                    thresholds=thresholds,
                    seconds=floats,
                    items=whole,
                ),
                max_size=3,
            ).map(tuple)
        ),
        engine=draw(words),
        processor=draw(words),
        software=draw(words),
        leukocytes_wanted=draw(whole),
        failures=draw(
            st.lists(
                st.builds(StageFailure, stage=st.none() | st.sampled_from(Stage), reason=words),
                max_size=3,
            ).map(tuple)
        ),
        warnings=draw(several),
    )


def write(database: Database, analysis: Analysis) -> str:
    study = uuid4().int
    arrival = Arrival(
        instance_uid=InstanceUID(f"2.25.{study}.1"),
        sop_class_uid=SopClassUID("1.2"),
        series_uid=SeriesUID("1.3"),
        study_uid=StudyUID(f"2.25.{study}"),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        patient=Patient(),
        accession_number="",
        domain=Domain.SMEAR,
        role=InstanceRole.IMAGE,
        sha256=Sha256("0" * 64),
        size_bytes=1,
        store_key="k",
        calling_ae="AE",
    )
    numbers = numbers_of(
        analysis.cells, wbc_classes=tuple(c.value for c in WbcClass), limits=AdequacyLimits()
    )
    with database.transaction() as tx:
        case_id = receive_instance(tx, arrival, quiet=timedelta(0), now=NOW).case_id
        complete_case(tx, case_id, by=CompletedBy.TIMER, now=NOW)
        claim = claim_analysis(tx, case_id, owner="w", lease=timedelta(1), now=NOW)
        assert claim is not None
        assert finish_analysis(tx, claim, analysis, numbers, now=NOW)
    return claim.analysis_id


# one database for all examples: each writes a case of its own
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(analysis=analyses())
def test_an_analysis_comes_back_as_it_was(database: Database, analysis: Analysis) -> None:
    analysis_id = write(database, analysis)
    with database.reading() as conn:
        read = load_analysis(conn, analysis_id)
        told = conn.execute(
            text("SELECT kind, name, count, percent FROM auditor.results WHERE analysis_id = :id"),
            {"id": analysis_id},
        ).all()
    assert read == analysis
    assert repr(read) == repr(analysis)  # also the sign of zero, and 1 against 1.0
    wanted = numbers_of(
        analysis.cells, wbc_classes=tuple(c.value for c in WbcClass), limits=AdequacyLimits()
    )
    of_view = {(kind, name): (count, percent) for kind, name, count, percent in told}
    assert of_view["summary", "leukocytes"] == (wanted.leukocytes, None)
    for key, proportion in [
        (("summary", "blasts"), wanted.blasts),
        (("summary", "morphological_blasts"), wanted.morphological_blasts),
        *((("differential", c.name), c.proportion) for c in wanted.differential),
        *((("subtype", c.name), c.proportion) for c in wanted.subtypes),
    ]:
        count, percent = of_view[key]
        if key == ("summary", "blasts") and not analysis.measured(Stage.MALIGNANCY):
            assert (count, percent) == (None, None)
            continue
        assert count == proportion.count
        assert (percent is None) == (proportion.percent is None)
        if proportion.percent is not None:
            assert math.isclose(percent, proportion.percent)


def test_cells_out_of_order_are_refused(database: Database) -> None:
    analysis = Analysis(
        bundle=BundleInfo(
            id="b",
            version="1",
            manifest_sha256=Sha256("0" * 64),
            untrained=False,
            domains=(),
            models=(),
            um_per_px=0.1,
        ),
        images=(),
        cells=(
            Cell(
                number=2,
                image=0,
                frame=1,
                box_px=Box(0, 0, 1, 1),
                detection_p=1,
                cell_class=CellClass.PLATELET,
                cell_class_p=(),
                final_class="platelet",
            ),
        ),
        stages=(),
        engine="",
        processor="",
        software="",
        leukocytes_wanted=1,
    )
    with pytest.raises(ValueError, match="not numbered"):
        write(database, analysis)
