"""`leukonode report` and `reclassify`: what a person sees of a report and does to it.

Who signs is data of the report; it is in no log.
"""

import unicodedata
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from db import queries
from db.analysis_rows import load_numbers
from db.errors import UnknownRow
from db.reporting_rows import IssuedReport, ObjectKind
from domain.counts import AdequacyLimits, Numbers
from domain.identities import CaseId
from domain.reviews import CLASSES_FOR_PERSONS, Review, ReviewKind, counted_after
from leukonode.console import print_json, say
from leukonode.errors import CouldNotError, UsageError

__all__ = ["register"]

NAME_CHARACTERS = 64  # of a component group of PN and of LO (PS3.5 6.2)

Case = Annotated[str, typer.Argument(metavar="CASE", help="The start of its id is enough.")]
By = Annotated[str, typer.Option(help="Who does it; it is printed in the report.")]
Revision = Annotated[
    int | None,
    typer.Option(min=1, help="The revision that was looked at; another one as latest is refused."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Reports: show, sign, amend.", no_args_is_help=True)
    group.command(name="show")(show)
    group.command(name="sign")(sign)
    group.command(name="amend")(amend)
    app.add_typer(group, name="report")
    app.command(name="reclassify")(reclassify)


def show(
    case_id: Case,
    *,
    revision: Annotated[int | None, typer.Option(min=1, help="The latest without.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.pdf and report.dcm as issued.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """One report: its status, its numbers, what persons did, what it replaces."""
    from leukonode.commands.database import opened

    with opened().reading() as conn:
        found = queries.case(conn, case_id)
        report = _chosen(found, revision)
        ordinal = next(a.ordinal for a in found.analyses if a.analysis_id == report.analysis_id)
        held = tuple(r for r in found.reviews if r.ordinal <= report.reviewed)
        after = counted_after(held, analysis_ordinal=ordinal)
        numbers = load_numbers(conn, report.analysis_id, reviewed=after)
    files = _written(report, out) if out is not None else []
    if json:
        print_json(
            {
                "report": asdict(report),
                "analysis": ordinal,
                "numbers": asdict(numbers),
                "reviews": [asdict(r) for r in held],
                "files": [str(f) for f in files],
            }
        )
        return
    _tell(found, report, ordinal, held, numbers)
    for file in files:
        say(f"written {file}")


def sign(
    case_id: Case,
    *,
    by: By,
    comment: Annotated[str, typer.Option(help="Printed in the report.")] = "",
    organization: Annotated[str, typer.Option(help="Where the person belongs.")] = "",
    revision: Revision = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Verify the latest report: a new one is issued, VERIFIED by this person, and names it."""
    from db.reviewing import sign_report
    from leukonode.commands.database import opened

    database = opened()
    with database.reading() as conn:
        case = queries.case_id_of(conn, case_id)
    with database.transaction() as tx:
        review = sign_report(
            tx,
            case,
            by=_name("--by", by),
            organization=_name("--organization", organization) if organization else "",
            comment=comment,
            revision=revision,
            now=datetime.now(UTC),
        )
    _done(case, review, json=json, said=f"revision {review.revision} is signed")


def amend(
    case_id: Case,
    *,
    by: By,
    comment: Annotated[str, typer.Option(help="What the report is to say beside.")],
    revision: Revision = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Add a comment: a new report is issued with it, unverified until somebody signs."""
    from db.reviewing import amend_report
    from leukonode.commands.database import opened

    database = opened()
    with database.reading() as conn:
        case = queries.case_id_of(conn, case_id)
    with database.transaction() as tx:
        review = amend_report(
            tx,
            case,
            by=_name("--by", by),
            comment=comment,
            revision=revision,
            now=datetime.now(UTC),
        )
    _done(case, review, json=json, said=f"revision {review.revision} is amended")


def reclassify(
    case_id: Case,
    cell: Annotated[int, typer.Argument(metavar="CELL", min=1, help="Its number in the report.")],
    name: Annotated[str, typer.Argument(metavar="CLASS", help=", ".join(CLASSES_FOR_PERSONS))],
    *,
    by: By,
    reason: Annotated[str, typer.Option(help="Printed in the report.")] = "",
    revision: Revision = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Call a cell by another class: the fractions are counted again and an amended report is issued.
    What the networks said stays in the record."""
    from db.reviewing import reclassify_cell
    from leukonode.commands.database import opened
    from leukonode.commands.service import effective_settings

    if name not in CLASSES_FOR_PERSONS:
        raise UsageError(f"{name!r} is no class; it is one of {', '.join(CLASSES_FOR_PERSONS)}")
    settings = effective_settings().settings
    database = opened()
    with database.reading() as conn:
        case = queries.case_id_of(conn, case_id)
    with database.transaction() as tx:
        review = reclassify_cell(
            tx,
            case,
            cell,
            name,
            by=_name("--by", by),
            comment=reason,
            revision=revision,
            limits=AdequacyLimits(
                adequate=settings.leukocytes_wanted, limited=settings.adequacy_limited
            ),
            now=datetime.now(UTC),
        )
    change = review.change
    words = f"{', '.join(change.before.words)} -> {', '.join(change.after.words)}" if change else ""
    _done(
        case, review, json=json, said=f"cell {cell} of analysis {review.analysis_ordinal}: {words}"
    )


def _done(case: CaseId, review: Review, *, json: bool, said: str) -> None:
    if json:
        print_json({"case_id": case, "review": asdict(review)})
        return
    say(f"{said}; the new report of case {case[:8]} is being made")


def _name(option: str, given: str) -> str:
    """A name that every drawing and DICOM's PN and LO can hold."""
    name = given.strip()
    odd = any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") or c == "\\" for c in name)
    if not name or odd or len(name) > NAME_CHARACTERS:
        raise UsageError(
            f"{option} wants a name of 1 to {NAME_CHARACTERS} characters, without control "
            "characters and backslashes"
        )
    return name


def _chosen(found: queries.CaseDetail, revision: int | None) -> IssuedReport:
    if not found.reports:
        raise CouldNotError(
            f"the case has no report yet; its state is {found.line.state.value}, "
            f"see `leukonode case {found.line.case_id[:8]}`"
        )
    chosen = [r for r in found.reports if revision in (None, r.revision)]
    if not chosen:
        raise UnknownRow(f"the case has no revision {revision}; its latest is {len(found.reports)}")
    return chosen[-1]


def _tell(
    found: queries.CaseDetail,
    report: IssuedReport,
    ordinal: int,
    held: tuple[Review, ...],
    numbers: Numbers,
) -> None:
    mark = "  UNTRAINED MODELS" if found.line.untrained else ""
    say(
        f"case {report.case_id}  revision {report.revision} of {len(found.reports)}  "
        f"{report.status.value}  issued {report.issued_at:%Y-%m-%d %H:%M:%S} UTC{mark}"
    )
    if report.predecessor is not None:
        say(f"replaces revision {report.revision - 1}")
    say(f"analysis {ordinal}: {numbers.leukocytes} leukocytes, {numbers.adequacy.value}")
    line = next(a for a in found.analyses if a.ordinal == ordinal)
    if line.blasts is not None:
        say(f"blasts {numbers.blasts.count}: {numbers.blasts.text}")
    counted = ", ".join(f"{name} {count}" for name, count in numbers.counts if count)
    say(counted or "no cells")
    for made in report.objects:
        say(f"{made.kind.value} {made.instance_uid}")
    for review in held:
        say(_said(review))


def _said(review: Review) -> str:
    what = {
        ReviewKind.RECLASSIFICATION: "reclassified",
        ReviewKind.AMENDMENT: "amended",
        ReviewKind.SIGNATURE: "signed",
    }[review.kind]
    change = review.change
    cell = (
        f" cell {change.cell} {', '.join(change.before.words)} -> {', '.join(change.after.words)}"
        if change
        else ""
    )
    comment = f": {review.comment}" if review.comment else ""
    return (
        f"{review.ordinal}. {what}{cell} by {review.by}, {review.at:%Y-%m-%d %H:%M:%S} UTC{comment}"
    )


def _written(report: IssuedReport, out: Path) -> list[Path]:
    """The issued bytes: the PDF taken out of its object, the SR as it is."""
    from pydicom import dcmread

    from leukonode.commands.service import effective_settings
    from leukonode.store import FolderStore

    store = FolderStore(effective_settings().settings.store_dir)
    out.mkdir(parents=True, exist_ok=True)
    wrapped = dcmread(store.path(report.object(ObjectKind.PDF).store_key))
    length = wrapped.EncapsulatedDocumentLength
    files: dict[str, Any] = {
        "report.pdf": bytes(wrapped.EncapsulatedDocument)[:length],
        "report.dcm": store.path(report.object(ObjectKind.SR).store_key).read_bytes(),
    }
    for name, content in files.items():
        (out / name).write_bytes(content)
    return [out / name for name in files]
