"""`leukonode report`, `reclassify`, `reproduce` as they are typed: what they print, and their status."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from db.database import Database
from leukonode import __main__ as program
from tests.revisions_house import Desk, desk

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def at(database: Database, tmp_path: Path) -> Desk:
    made = desk(database, tmp_path, archive=None)
    made.clock.at = datetime.now(UTC)  # the commands read the machine's clock
    return made


@pytest.fixture
def typed(at: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Exit status, standard output, standard error."""
    # a process of its own would open its own; here it would stay open
    monkeypatch.setattr("leukonode.commands.database.opened", lambda: at.database)
    monkeypatch.setenv("LEUKONODE_DATA_DIR", str(at.house.settings.data_dir))

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["leukonode", *words])
        with pytest.raises(SystemExit) as ended:
            program.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_a_case_is_shown_reclassified_signed_and_shown_again(
    at: Desk, typed: Typed, tmp_path: Path
) -> None:
    case_id = at.reported()
    short = case_id[:8]
    status, out, _ = typed("reclassify", short, "47", "pro_b", "--by", "Anna", "--reason", "by eye")
    assert status == 0
    assert "cell 47 of analysis 1: lymphocytes, benign -> blast_cells, malignant, pro_b" in out
    at.report(case_id)
    status, out, _ = typed("report", "sign", short, "--by", "Anna", "--json")
    assert (status, json.loads(out)["review"]["kind"]) == (0, "signature")
    assert "Anna" not in typed("report", "amend", short, "--by", "Anna", "--comment", "x")[2]
    at.report(case_id)

    status, out, _ = typed("report", "show", short, "--out", str(tmp_path / "out"))
    assert status == 0
    assert "revision 3 of 3  verified" in out
    assert "blasts 13: 21.7 % (95 % CI" in out
    assert (
        "1. reclassified cell 47 lymphocytes, benign -> blast_cells, malignant, pro_b by Anna"
        in out
    )
    assert "2. signed by Anna" in out
    assert (tmp_path / "out" / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert dcmread(tmp_path / "out" / "report.dcm").VerificationFlag == "VERIFIED"

    shown = json.loads(typed("report", "show", short, "--revision", "1", "--json")[1])
    assert (shown["report"]["status"], shown["reviews"]) == ("preliminary", [])
    assert shown["numbers"]["blasts"] == {"count": 12, "total": 60}
    assert "review 1: reclassification by Anna" in typed("case", short)[1]


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (("report", "sign", "CASE"), 2, "--by"),
        (("report", "sign", "CASE", "--by", " "), 2, "--by wants a name of 1 to 64 characters"),
        (("report", "sign", "CASE", "--by", "A\\B"), 2, "without control characters"),
        (("report", "sign", "CASE", "--by", "x" * 65), 2, "1 to 64"),
        (("report", "sign", "fffff", "--by", "A"), 1, "no case begins with 'fffff'"),
        (("report", "sign", "CASE", "--by", "A", "--revision", "2"), 1, "revision 1, not 2"),
        (("report", "amend", "CASE", "--by", "A", "--comment", " "), 1, "says what it adds"),
        (("report", "show", "CASE", "--revision", "4"), 1, "no revision 4; its latest is 1"),
        (("reclassify", "CASE", "1", "blast", "--by", "A"), 2, "'blast' is no class; it is one of"),
        (("reclassify", "CASE", "999", "platelet", "--by", "A"), 1, "its cells are 1 to 94"),
        (("reproduce", "CASE"), 1, "name its folder with --bundle"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_status(
    at: Desk, typed: Typed, words: tuple[str, ...], status: int, line: str
) -> None:
    case_id = at.reported()
    got, out, err = typed(*(case_id if w == "CASE" else w for w in words))
    assert (got, out) == (status, "")
    assert line in err
    assert err.count("\n") == 1
    assert at.all_rows("SELECT count(*) FROM leukonode.reviews") == [{"count": 0}]
