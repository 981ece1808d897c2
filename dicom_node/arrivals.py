"""What the Storage SCP hands out: received objects, and events for the audit trail."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from domain.identities import InstanceUID, Sha256, SopClassUID

__all__ = ["Arrival", "EventKind", "NodeEvent"]


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One received object that passed the structural scan.

    The file is Part 10: 128 zero bytes, DICM, file meta of ours, and from `dataset_offset` on the
    data set exactly as it was sent; `dataset_sha256` is of those bytes alone. It lies in the
    incoming folder until `on_store` returns; what was not moved away by then is removed.
    """

    path: Path
    sop_class_uid: SopClassUID
    sop_instance_uid: InstanceUID  # of the command; the data set says the same
    transfer_syntax: str
    calling_ae: str
    called_ae: str
    peer_address: str
    dataset_offset: int
    dataset_bytes: int
    dataset_sha256: Sha256


class EventKind(StrEnum):
    """What happened at the door."""

    ASSOCIATION_ACCEPTED = "association accepted"
    ASSOCIATION_REJECTED = "association rejected"
    ASSOCIATION_RELEASED = "association released"
    ASSOCIATION_ABORTED = "association aborted"
    CONNECTION_REFUSED = "connection refused"  # before a word was said: too many open ones
    ECHO = "echo"
    OBJECT_ANSWERED = "object answered"  # with the status that on_store gave
    OBJECT_REFUSED = "object refused"  # by this node itself: scan, limits, disk, command
    TRANSFER_BROKEN = "transfer broken"  # the peer went away in the middle of an object


@dataclass(frozen=True, kw_only=True)
class NodeEvent:
    """For the audit trail; free of patient data. `path` is the refused object's file, there until
    the observer returns, so that it can be moved to quarantine; None when nothing was kept."""

    kind: EventKind
    peer_address: str
    calling_ae: str = ""
    called_ae: str = ""
    status: int | None = None
    reason: str = ""
    sop_instance_uid: str = ""
    path: Path | None = None
