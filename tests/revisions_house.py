"""A whole house for tests of the steps: real PostgreSQL, store, DICOM objects, drawings and PACS peer;
only the networks are replaced, by a function that gives cells of a plan.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import text

from db.database import Database
from dicom_node.archive import FolderArchive
from dicom_node.begin import data_set_begin
from dicom_node.dicomize import Labels, PictureArray, dicomize
from dicom_node.headers import read_header
from dicom_node.scp import Arrival
from domain.analysis import Analysis
from domain.identities import CaseId, StudyUID, derived_uid
from leukonode import steps
from leukonode.about import producer_of
from leukonode.reading import Reading, ReadingRequest
from leukonode.receiving import Door
from leukonode.settings import Settings
from leukonode.store import FolderStore, sha256_of
from reporting.gallery import gallery_cells
from reporting.report import GalleryCrop, Overview
from tests import reporting_cases as cases

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SMALL = [
    {"n": 30, "kind": "red_blood_cell"},
    {"n": 4, "kind": "platelet"},
    {"n": 12, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
    {"n": 20, "kind": "lymphocytes", "malignancy": "benign"},
    {"n": 28, "kind": "neutrophil"},
]


@dataclass
class Clock:
    """Moves a second on each time it is read."""

    at: datetime = START

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


@dataclass
class Desk:
    """A service with one worker that does a step when a test asks for it."""

    house: steps.House
    door: Door
    folder: Path
    clock: Clock
    received: Path  # what the PACS peer holds, if there is one
    images: int = field(default=0)

    @property
    def database(self) -> Database:
        return self.house.database

    def receive(self, *, study: str = "1") -> CaseId:
        """One more picture of a study arrives."""
        self.images += 1
        pixels = np.full((120, 160, 3), (236, 226, 232), np.uint8)
        pixels[40:80, 40:80] = (98, 62, 140 + self.images)
        made = dicomize(
            [PictureArray(name=f"field {self.images}", pixels=pixels)],
            out=self.folder,
            labels=Labels(
                patient_id="P1",
                patient_name="Doe^Jane",
                accession="A1",
                study_uid=StudyUID(derived_uid("study", study)),
            ),
            spacing_um=0.1,
            now=START,
        )[0]
        header = read_header(made, sha256=sha256_of(made))
        with made.open("rb") as file:
            offset = data_set_begin(file).offset
        answer = self.door.on_store(
            Arrival(
                path=made,
                sop_class_uid=header.sop_class_uid,
                sop_instance_uid=header.instance_uid,
                transfer_syntax=header.transfer_syntax,
                calling_ae="SCANNER",
                called_ae="LEUKONODE",
                peer_address="127.0.0.1",
                dataset_offset=offset,
                dataset_bytes=made.stat().st_size - offset,
                dataset_sha256=sha256_of(made, offset=offset),
            )
        )
        assert answer.status == 0
        found = self.all_rows(
            "SELECT case_id FROM leukonode.instances ORDER BY sequence DESC LIMIT 1"
        )
        return CaseId(str(found[0]["case_id"]))

    def analysed(self, *, study: str = "1") -> CaseId:
        case_id = self.receive(study=study)
        self.clock.at += timedelta(minutes=1)
        steps.complete(self.house, case_id)
        steps.analyse(self.house, case_id)
        return case_id

    def reported(self, *, study: str = "1") -> CaseId:
        """Received, read, reported and delivered."""
        case_id = self.analysed(study=study)
        self.report(case_id)
        return case_id

    def report(self, case_id: CaseId) -> None:
        """The report step, then every delivery that waits."""
        self.clock.at += timedelta(minutes=5)
        steps.report(self.house, case_id)
        for _ in range(3):
            for delivery in self.waiting():
                self.clock.at += timedelta(minutes=5)
                steps.deliver(self.house, delivery)

    def waiting(self) -> list[str]:
        query = text(
            "SELECT d.id::text FROM leukonode.deliveries AS d JOIN leukonode.reports AS r"
            " ON r.id = d.report_id WHERE d.state = 'pending' ORDER BY r.revision"
        )
        with self.database.reading() as conn:
            return list(conn.execute(query).scalars())

    def all_rows(self, query: str) -> list[dict]:
        with self.database.reading() as conn:
            return [dict(r) for r in conn.execute(text(query)).mappings()]


def desk(
    database: Database,
    folder: Path,
    *,
    archive: FolderArchive | None,
    plan: list[dict] | None = None,
) -> Desk:
    """A desk whose networks see the cells of `plan` on the first image; without an archive, reports
    have no destination."""
    clock = Clock()
    (folder / "made").mkdir(parents=True)
    pacs = [] if archive is None else [_destination(archive)]
    settings = Settings.model_validate(
        {"data_dir": folder / "data", "destinations": pacs, "delivery_timeout_seconds": 20}
    )
    (folder / "data").mkdir()
    store = FolderStore(settings.store_dir)
    house = steps.House(
        settings=settings,
        database=database,
        store=store,
        producer=producer_of(store.installation()),
        bundle=folder,
        bundle_info=cases.bundle(),
        owner="w1",
        now=clock,
        read=reader_of(SMALL if plan is None else plan),
        stopping=lambda: False,
    )
    door = Door(settings=settings, database=database, store=store, now=clock)
    return Desk(
        house=house,
        door=door,
        folder=folder / "made",
        clock=clock,
        received=archive.folder if archive else folder / "none",
    )


def _destination(archive: FolderArchive) -> dict[str, str | int]:
    """As it would stand in leukonode.toml."""
    return {"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.port}


def reader_of(
    plan: list[dict],
    change: Callable[[Analysis], Analysis] = lambda analysis: analysis,
    *,
    crops: int = 7,
) -> Callable[[ReadingRequest], Reading]:
    """What stands for the networks: the plan's cells, with pictures of some of them."""

    def read(request: ReadingRequest) -> Reading:
        images = tuple(
            cases.reading(
                header=read_header(path, sha256=sha256).image, um_per_px=(0.1, 0.1), fields_read=1
            )
            for path, sha256 in zip(request.paths, request.sha256s, strict=True)
        )
        analysis = change(
            replace(
                cases.analysis_of(plan, images=images),
                leukocytes_wanted=request.leukocytes_wanted,
                software=request.software,
            )
        )
        return Reading(
            analysis=analysis,
            gallery=tuple(
                GalleryCrop(cell_number=c.number, pixels=cases.picture(c.number), um_per_px=0.2)
                for c in gallery_cells(analysis, limit=crops)[:crops]
            ),
            overviews=(Overview(image=0, pixels=cases.picture(1, 300, 400), scale=2.5),)
            if crops
            else (),
        )

    return read
