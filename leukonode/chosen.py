"""Which of a case's stored objects are read, and in which order: the same at every run."""

from collections.abc import Sequence

from db.analysing import StoredInstance
from dicom_node.headers import InstanceHeader, read_header
from dicom_node.levels import choose_levels
from leukonode.store import FolderStore

__all__ = ["headers_to_read"]


def headers_to_read(
    store: FolderStore, instances: Sequence[StoredInstance], *, um_per_px: float
) -> tuple[InstanceHeader, ...]:
    """The instances that the cascade reads, in a fixed order. Labels, overviews and the other levels
    of a slide are left out, unless nothing else was sent: then the report says why. `um_per_px` is
    the bundle's."""
    headers = tuple(
        read_header(store.path(i.store_key), sha256=i.sha256)
        for i in sorted(instances, key=lambda i: i.instance_uid)
    )
    analysed, _ = choose_levels(headers, um_per_px=um_per_px)
    return analysed or headers
