"""The Storage SCP: C-ECHO and C-STORE from the peers that are let in.

In      objects over the network, written bit-exact to files of our own naming
Out     for each an Arrival handed to `on_store`, whose Reply is what the peer is told
Promises  an answer for every object; a partial object leaves no file; the node goes on after
          whatever a peer does
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dicom_node.limits import Limits
from dicom_node.peers import PeerRule
from dicom_node.statuses import Reply
from domain.identities import InstanceUID, Sha256, SopClassUID

__all__ = ["Arrival", "EventKind", "NodeEvent", "StorageScp"]


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
    OBJECT_ANSWERED = "object answered"  # on_store was asked
    OBJECT_REFUSED = "object refused"  # by this node itself: scan, limits, disk, command
    TRANSFER_BROKEN = "transfer broken"  # the peer went away in the middle of an object


@dataclass(frozen=True, kw_only=True)
class NodeEvent:
    """For the audit trail; free of patient data. `path` is the refused object's file, there until
    the observer returns, so that it can be moved to quarantine."""

    kind: EventKind
    peer_address: str
    calling_ae: str = ""
    called_ae: str = ""
    status: int | None = None
    reason: str = ""
    sop_instance_uid: str = ""
    path: Path | None = None


class StorageScp:
    """Listens from `start` to `stop`. Every association has a thread of its own, in which
    `on_store` and `on_event` are called: both must bear being called at once from several."""

    def __init__(
        self,
        *,
        ae_title: str,
        bind: str,
        port: int,
        peers: Sequence[PeerRule] | None,
        max_associations: int,
        max_pdu: int,
        limits: Limits,
        incoming_dir: Path,
        transfer_syntaxes: Sequence[str],
        on_store: Callable[[Arrival], Reply],
        on_event: Callable[[NodeEvent], None],
    ) -> None:
        """`port` 0 takes a free one. `transfer_syntaxes`: conformance.accepted_syntaxes."""
        raise NotImplementedError

    def start(self) -> None:
        """Remove what an earlier run left in the incoming folder and listen.

        Raises DicomNodeError when the address or port cannot be had.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """Stop listening, let answers that are being worked out be given, end all associations."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port it listens on."""
        raise NotImplementedError
