"""Is a data set what its bytes claim? A bounded walk over its structure, without its pixels."""

from dataclasses import dataclass
from pathlib import Path

from dicom_node.limits import Limits
from domain.identities import InstanceUID, SeriesUID, SopClassUID, StudyUID

__all__ = ["Scan", "scan_dataset"]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Identities and size of a data set that holds together."""

    sop_class_uid: SopClassUID
    sop_instance_uid: InstanceUID
    study_uid: StudyUID
    series_uid: SeriesUID
    transfer_syntax: str
    dataset_offset: int  # where the data set begins in the file
    elements: int
    frames: int  # 0 without Pixel Data


def scan_dataset(path: Path, transfer_syntax: str | None, limits: Limits) -> Scan:
    """Walk the file; `transfer_syntax` None takes that of the file meta.

    Raises MalformedObject.
    """
    raise NotImplementedError
