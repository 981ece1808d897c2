"""The tables, declared once. Migrations make them; a test holds both equal.

Schema `leukonode` holds the cases, `audit` the trail, `queue` the job library's own tables (pinned
inside a migration), `auditor` the views. Numbers are stored as integer counts, percentages never.
Only `cases`, `analyses` and `deliveries` have rows that change; every other row is written once.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    FetchedValue,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

__all__ = [
    "AUDIT",
    "CASES",
    "MUTABLE",
    "analyses",
    "analysis_failures",
    "analysis_instances",
    "bundles",
    "cases",
    "cells",
    "deliveries",
    "delivery_instances",
    "events",
    "images",
    "instances",
    "metadata",
    "models",
    "quarantine",
    "report_objects",
    "reports",
    "result_counts",
    "results",
    "reviews",
    "stage_records",
]

CASES, AUDIT = "leukonode", "audit"


def clean(text: str) -> str:
    """PostgreSQL stores neither NUL nor half a surrogate pair; a peer's header may hold both."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class _Str(TypeDecorator[str]):
    """Text that a peer may have written."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else clean(value)


class _Strs(TypeDecorator[list[str]]):
    """Several of them."""

    impl = ARRAY(Text)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> list[str] | None:  # noqa: ARG002
        return None if value is None else [clean(v) for v in value]


metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

TIME = TIMESTAMP(timezone=True)
FLOATS = ARRAY(Double)
CASE_STATES = (
    "receiving",
    "ready",
    "analysing",
    "analysed",
    "reporting",
    "delivering",
    "delivered",
    "reported",
    "undelivered",
    "failed",
)
DELIVERY_STATES = ("pending", "sending", "delivered", "dead")


def _one_of(column: str, values: tuple[str, ...], name: str) -> CheckConstraint:
    listed = ", ".join(f"'{v}'" for v in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def _held(states: str) -> CheckConstraint:
    """A row is held by exactly the states in which a worker holds it."""
    return CheckConstraint(
        f"(state IN ({states})) = (lease_token IS NOT NULL)"
        " AND (lease_token IS NULL) = (lease_owner IS NULL)"
        " AND (lease_token IS NULL) = (lease_until IS NULL)",
        name="lease",
    )


def _lease() -> tuple[Column[Any], ...]:
    return (
        Column("lease_owner", _Str),
        Column("lease_token", Uuid),
        Column("lease_until", TIME),
    )


def _analysis_key() -> Column[Any]:
    return Column("analysis_id", Uuid, ForeignKey(f"{CASES}.analyses.id"), primary_key=True)


def _reviewed(*, primary_key: bool) -> Column[Any]:
    """The ordinal of the last review that these numbers, or this report, hold; 0: none."""
    return Column(
        "reviewed",
        Integer,
        primary_key=primary_key,
        autoincrement=False,
        nullable=False,
        server_default="0",
    )


cases = Table(
    "cases",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("study_uid", _Str, nullable=False, unique=True),
    Column("patient_id", _Str, nullable=False),
    Column("patient_id_issuer", _Str, nullable=False),
    Column("patient_name", _Str, nullable=False),
    Column("patient_birth_date", _Str, nullable=False),
    Column("patient_sex", _Str, nullable=False),
    Column("accession_number", _Str, nullable=False),
    Column("state", Text, nullable=False),
    # when the state may be left: the study's quiet, or the next attempt; null where others decide
    Column("due_at", TIME),
    *_lease(),
    Column("attempts", Integer, nullable=False, server_default="0"),  # of the present step
    Column("analysis_ordinal", Integer, nullable=False, server_default="0"),  # 0: none yet
    Column("received_at", TIME, nullable=False),  # its first object
    Column("changed_at", TIME, nullable=False),
    _one_of("state", CASE_STATES, "state"),
    _held("'analysing', 'reporting'"),
    CheckConstraint(
        "state NOT IN ('receiving', 'ready', 'analysed') OR due_at IS NOT NULL", name="due"
    ),
    Index(None, "received_at"),
    Index(None, "state", "due_at"),
    schema=CASES,
)

instances = Table(
    "instances",
    metadata,
    Column("instance_uid", _Str, primary_key=True),
    Column("case_id", Uuid, ForeignKey(f"{CASES}.cases.id"), nullable=False, index=True),
    Column("sequence", BigInteger, Identity(always=True), nullable=False),  # order received
    Column("sop_class_uid", _Str, nullable=False),
    Column("series_uid", _Str, nullable=False),
    Column("study_uid", _Str, nullable=False),
    Column("transfer_syntax_uid", _Str, nullable=False),
    Column("domain", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("store_key", _Str, nullable=False),
    Column("calling_ae", _Str, nullable=False),
    Column("received_at", TIME, nullable=False),
    _one_of("role", ("image", "label", "overview", "other"), "role"),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    schema=CASES,
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", TIME, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", _Str, nullable=False),
    Column("instance_uid", _Str),
    Column("sop_class_uid", _Str),
    Column("study_uid", _Str),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("store_key", _Str, nullable=False),
    Column("calling_ae", _Str, nullable=False),
    _one_of("reason", ("conflict", "other patient", "refused"), "reason"),
    schema=CASES,
)

bundles = Table(
    "bundles",
    metadata,
    Column("id", Uuid, primary_key=True),  # derived from everything below and its models
    Column("bundle_id", _Str, nullable=False),
    Column("version", _Str, nullable=False),
    Column("manifest_sha256", Text, nullable=False),
    Column("untrained", Boolean, nullable=False),
    Column("domains", ARRAY(Text), nullable=False),
    Column("um_per_px", Double, nullable=False),
    Column("reject_rate", Double),
    # true benign told benign, told malignant; true malignant told benign, told malignant
    Column("confusion", ARRAY(BigInteger)),
    # for which laboratory it was fitted, on which day, and from which bundle; all or none
    Column("commissioned_site", _Str),
    Column("commissioned_date", Text),
    Column("commissioned_parent", Text),
    CheckConstraint("cardinality(confusion) = 4", name="confusion"),
    CheckConstraint(
        "num_nulls(commissioned_site, commissioned_date, commissioned_parent) IN (0, 3)",
        name="commissioned",
    ),
    schema=CASES,
)

models = Table(
    "models",
    metadata,
    Column("bundle", Uuid, ForeignKey(f"{CASES}.bundles.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("stage", Text, nullable=False),
    Column("architecture", _Str, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("classes", _Strs, nullable=False),
    Column("threshold_names", _Strs, nullable=False),
    Column("threshold_values", FLOATS, nullable=False),
    schema=CASES,
)

analyses = Table(
    "analyses",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("case_id", Uuid, ForeignKey(f"{CASES}.cases.id"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("completed_by", Text, nullable=False),
    Column("completed_at", TIME, nullable=False),
    Column("started_at", TIME),  # of the latest attempt
    Column("finished_at", TIME),
    Column("superseded_at", TIME),  # a late object came before it was finished
    Column("bundle", Uuid, ForeignKey(f"{CASES}.bundles.id")),
    Column("engine", _Str),
    Column("processor", _Str),
    Column("software", _Str),
    Column("leukocytes_wanted", Integer),
    Column("warnings", _Strs),
    UniqueConstraint("case_id", "ordinal"),
    _one_of("completed_by", ("timer", "declared"), "completed_by"),
    CheckConstraint(
        "(finished_at IS NULL) = (bundle IS NULL) AND (finished_at IS NULL) = (engine IS NULL)"
        " AND (finished_at IS NULL OR superseded_at IS NULL)",
        name="finished",
    ),
    schema=CASES,
)

analysis_instances = Table(
    "analysis_instances",
    metadata,
    _analysis_key(),
    Column("instance_uid", _Str, ForeignKey(f"{CASES}.instances.instance_uid"), primary_key=True),
    schema=CASES,
)

images = Table(
    "images",
    metadata,
    _analysis_key(),
    Column("position", Integer, primary_key=True, autoincrement=False),  # 0-based
    Column("source", _Str, nullable=False),  # the instance UID
    Column("sha256", Text, nullable=False),
    Column("width_px", Integer, nullable=False),
    Column("height_px", Integer, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("domain", Text, nullable=False),
    Column("given_um_per_px", FLOATS),  # (x, y) of the header
    Column("pixel_aspect", Double),
    Column("monochrome", Boolean, nullable=False),
    Column("refusal", _Str, nullable=False),
    Column("header_warnings", _Strs, nullable=False),
    Column("viable_p", Double),
    Column("viable_verdict", Text, nullable=False),
    Column("um_per_px", FLOATS),  # (x, y) it was read at
    Column("scale_from", Text, nullable=False),
    Column("fields_read", Integer, nullable=False),
    Column("fields_refused", Integer, nullable=False),
    Column("fields_left", Integer, nullable=False),
    Column("not_evaluable", _Str, nullable=False),
    Column("warnings", _Strs, nullable=False),
    schema=CASES,
)

cells = Table(
    "cells",
    metadata,
    _analysis_key(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("image", Integer, nullable=False),
    Column("frame", Integer, nullable=False),
    Column("x0_px", Double, nullable=False),
    Column("y0_px", Double, nullable=False),
    Column("x1_px", Double, nullable=False),
    Column("y1_px", Double, nullable=False),
    Column("detection_p", Double, nullable=False),
    Column("cell_class", Text, nullable=False),
    Column("cell_class_p", FLOATS, nullable=False),
    Column("wbc_class", Text),
    Column("wbc_class_p", FLOATS, nullable=False),
    Column("malignancy", Text),
    Column("malignancy_p", FLOATS, nullable=False),
    Column("subtype", Text),
    Column("subtype_p", FLOATS, nullable=False),
    Column("final_class", Text, nullable=False),
    Column("is_leukocyte", Boolean, nullable=False),
    Column("is_blast", Boolean, nullable=False),
    Column("marks", ARRAY(Text), nullable=False),
    Column("outline_px", FLOATS, nullable=False, server_default="{}"),  # x, y, x, y, ...
    ForeignKeyConstraint(
        ["analysis_id", "image"], [f"{CASES}.images.analysis_id", f"{CASES}.images.position"]
    ),
    schema=CASES,
)

stage_records = Table(
    "stage_records",
    metadata,
    _analysis_key(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("stage", Text, nullable=False),
    Column("model", _Str, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("engine", _Str, nullable=False),
    Column("threshold_names", _Strs, nullable=False),
    Column("threshold_values", FLOATS, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("items", Integer, nullable=False),
    schema=CASES,
)

analysis_failures = Table(
    "analysis_failures",
    metadata,
    _analysis_key(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("stage", Text),  # null: the run as a whole
    Column("reason", _Str, nullable=False),
    schema=CASES,
)

results = Table(
    "results",
    metadata,
    _analysis_key(),
    Column("leukocytes", Integer, nullable=False),
    Column("blasts", Integer),  # null: stage 5 failed, so none were counted
    Column("morphological_blasts", Integer, nullable=False),
    Column("morphological_total", Integer, nullable=False),  # N and the cells stage 5 rejected
    Column("overruled", Integer, nullable=False),
    Column("disagreements", Integer, nullable=False),
    Column("adequacy", Text, nullable=False),
    _reviewed(primary_key=True),
    schema=CASES,
)

# one row a number: kind `class` (final classes), `differential` (of the leukocytes), `subtype` (of
# the blasts that stage 6 named), `unclassified` (by the stage that rejected)
result_counts = Table(
    "result_counts",
    metadata,
    _analysis_key(),
    Column("kind", Text, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("total", Integer),  # null where the number is no share of anything
    _reviewed(primary_key=True),
    _one_of("kind", ("class", "differential", "subtype", "unclassified"), "kind"),
    schema=CASES,
)

reports = Table(
    "reports",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("case_id", Uuid, ForeignKey(f"{CASES}.cases.id"), nullable=False),
    Column("analysis_id", Uuid, ForeignKey(f"{CASES}.analyses.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("predecessor", Uuid, ForeignKey(f"{CASES}.reports.id")),
    Column("issued_at", TIME, nullable=False),
    _reviewed(primary_key=False),
    UniqueConstraint("case_id", "revision"),
    CheckConstraint("(revision = 1) = (predecessor IS NULL)", name="predecessor"),
    schema=CASES,
)

# what persons did, in the order of `ordinal` (1.. in the case); `report_id` is what they looked at.
# A reclassification says what the cell was called until then, by the networks or another person.
reviews = Table(
    "reviews",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("case_id", Uuid, ForeignKey(f"{CASES}.cases.id"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("analysis_id", Uuid, ForeignKey(f"{CASES}.analyses.id"), nullable=False),
    Column("report_id", Uuid, ForeignKey(f"{CASES}.reports.id"), nullable=False),
    Column("person", _Str, nullable=False),
    Column("organization", _Str, nullable=False),
    Column("comment", _Str, nullable=False),
    Column("at", TIME, nullable=False),
    Column("cell", Integer),
    *(
        Column(f"{when}_{what}", Text)
        for when in ("before", "after")
        for what in ("wbc_class", "malignancy", "subtype", "final_class")
    ),
    UniqueConstraint("case_id", "ordinal"),
    _one_of("kind", ("reclassification", "amendment", "signature"), "kind"),
    CheckConstraint(
        "(kind = 'reclassification') = (cell IS NOT NULL)"
        " AND (cell IS NULL) = (before_final_class IS NULL)"
        " AND (cell IS NULL) = (after_final_class IS NULL)",
        name="change",
    ),
    ForeignKeyConstraint(
        ["analysis_id", "cell"], [f"{CASES}.cells.analysis_id", f"{CASES}.cells.number"]
    ),
    schema=CASES,
)

report_objects = Table(
    "report_objects",
    metadata,
    Column("instance_uid", _Str, primary_key=True),
    Column("report_id", Uuid, ForeignKey(f"{CASES}.reports.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("sop_class_uid", _Str, nullable=False),
    Column("series_uid", _Str, nullable=False),
    Column("transfer_syntax_uid", _Str, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("store_key", _Str, nullable=False),
    # one PDF and one SR, but annotations for each image
    Index(
        "report_objects_report_id_kind_key",
        "report_id",
        "kind",
        unique=True,
        postgresql_where=text("kind <> 'annotations'"),
    ),
    schema=CASES,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("report_id", Uuid, ForeignKey(f"{CASES}.reports.id"), nullable=False),
    Column("destination", _Str, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),  # since it was last asked for
    Column("attempts_ever", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", TIME),
    *_lease(),
    Column("last_error", _Str, nullable=False, server_default=""),
    Column("created_at", TIME, nullable=False),
    Column("changed_at", TIME, nullable=False),
    UniqueConstraint("report_id", "destination"),
    _one_of("state", DELIVERY_STATES, "state"),
    _held("'sending'"),
    CheckConstraint("(state = 'pending') = (next_attempt_at IS NOT NULL)", name="due"),
    Index(None, "state", "next_attempt_at"),
    schema=CASES,
)

delivery_instances = Table(
    "delivery_instances",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("delivery_id", Uuid, ForeignKey(f"{CASES}.deliveries.id"), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column(
        "instance_uid", _Str, ForeignKey(f"{CASES}.report_objects.instance_uid"), nullable=False
    ),
    Column("status", Integer),  # null: the peer gave none
    Column("comment", _Str, nullable=False),
    Column("at", TIME, nullable=False),
    schema=CASES,
)

# `id`, `at`, `sha256` are set by a trigger, whoever writes the row
events = Table(
    "events",
    metadata,
    Column("id", BigInteger, FetchedValue(), primary_key=True, autoincrement=False),
    Column("at", TIME, FetchedValue(), nullable=False),
    Column("actor", _Str, nullable=False),
    Column("event", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("case_id", Uuid),
    Column("objects", _Strs, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("sha256", LargeBinary, FetchedValue(), nullable=False),
    Index(None, "case_id"),
    Index(None, "at"),
    schema=AUDIT,
)

MUTABLE = (cases, analyses, deliveries)
