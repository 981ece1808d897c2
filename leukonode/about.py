"""Who makes the results: the same words in every object, record and page of a run."""

from importlib.metadata import version

from domain.identities import derived_uid
from reporting.report import Producer

__all__ = ["SOFTWARE", "VERSION", "producer_of"]

VERSION = version("leukonode")
SOFTWARE = f"leukonode {VERSION}"


def producer_of(installation: str) -> Producer:
    """The device, told apart by the id of the installation (empty: no database, so none)."""
    return Producer(
        manufacturer="LeukoNode",
        model="LeukoNode",
        version=VERSION,
        serial_number=installation or "standalone",
        device_uid=derived_uid("device", installation),
    )
