"""A case on its road without networks: the database, the store and the steps are real, what the networks
would have read is a value."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from db import queries
from db.analysing import claim_analysis, finish_analysis
from db.database import Database
from db.receiving import Arrival, InstanceRole, complete_case, receive_instance
from dicom_node.dicomize import PictureArray, dicomize
from dicom_node.headers import read_header
from dicom_node.made_objects import Labels
from domain.counts import AdequacyLimits, numbers_of
from domain.identities import CaseId
from domain.image import Domain
from domain.states import CompletedBy
from leukonode import steps
from leukonode.reading import Reading, pictures_to_bytes
from leukonode.settings import Settings
from leukonode.store import FolderStore, Shelf, sha256_of
from tests import reporting_cases as cases

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


class Road:
    """A case that waits for its report, and the hands that lead it on."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        destinations: list[dict],
        *,
        pixels: np.ndarray | None = None,
    ) -> None:
        self.time = NOW
        self._pixels = np.full((60, 80, 3), 220, np.uint8) if pixels is None else pixels
        settings = Settings.model_validate(
            {"destinations": destinations, "delivery_retry_seconds": [5, 30]}
        )
        store = FolderStore(folder / "store")
        self.house = steps.House(
            settings=settings,
            database=database,
            store=store,
            producer=cases.PRODUCER,
            bundle=folder,
            bundle_info=cases.bundle(),
            owner="w1",
            now=lambda: self.time,
            read=lambda _request: pytest.fail("nothing is read here"),
            stopping=lambda: False,
        )
        self.case_id = self._analysed(store, folder)

    def _analysed(self, store: FolderStore, folder: Path) -> CaseId:
        picture = PictureArray(name="field", pixels=self._pixels)
        labels = Labels(patient_id="P|1", patient_name="DOE^JANE", accession="A-1")
        made = dicomize([picture], out=folder / "made", labels=labels, spacing_um=0.1, now=NOW)[0]
        digest = sha256_of(made)
        header = read_header(made, sha256=digest)
        arrival = Arrival(
            instance_uid=header.instance_uid,
            sop_class_uid=header.context.evidence[0].sop_class_uid,
            series_uid=header.context.evidence[0].series_uid,
            study_uid=header.study_uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            patient=header.context.patient,
            accession_number="A-1",
            domain=Domain.SMEAR,
            role=InstanceRole.IMAGE,
            sha256=digest,
            size_bytes=made.stat().st_size,
            store_key=store.put(made.read_bytes(), shelf=Shelf.OBJECTS),
            calling_ae="SCOPE",
        )
        image = cases.reading(header=replace(header.image, source=header.instance_uid))
        analysis = cases.analysis_of(cases.BLASTS_35, images=(image,))
        numbers = numbers_of(analysis.cells, wbc_classes=cases.TEN, limits=AdequacyLimits())
        lease = timedelta(minutes=5)
        with self.house.database.transaction() as tx:
            case_id = receive_instance(tx, arrival, quiet=timedelta(0), now=NOW).case_id
        with self.house.database.transaction() as tx:
            assert complete_case(tx, case_id, by=CompletedBy.TIMER, now=NOW)
            claim = claim_analysis(tx, case_id, owner="w1", lease=lease, now=NOW)
            assert claim is not None
            assert finish_analysis(tx, claim, analysis, numbers, now=NOW)
        shown = Reading(analysis=analysis, gallery=(), overviews=())
        store.put_crops(pictures_to_bytes(shown), analysis=claim.analysis_id)
        return case_id

    @property
    def told(self) -> queries.CaseDetail:
        with self.house.database.reading() as conn:
            return queries.case(conn, self.case_id)

    def deliver_all(self) -> dict[str, queries.DeliveryLine]:
        """One attempt of each delivery that is not over, an hour after the last."""
        self.time += timedelta(hours=1)
        for delivery in self.told.deliveries:
            steps.deliver(self.house, delivery.delivery_id)
        return {d.destination: d for d in self.told.deliveries}
