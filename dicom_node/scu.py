"""The Storage and Verification SCU: send objects to a peer, bit for bit, and say what it answered.

In      paths of Part 10 files
Out     SendOutcome: the peer's own status for each instance; what a peer does is never an exception
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dicom_node.peers import Peer
from dicom_node.statuses import Category

__all__ = ["EchoOutcome", "InstanceStatus", "Problem", "SendOutcome", "Timeouts", "echo", "send"]


class Problem(StrEnum):
    """Why an association or an instance came to nothing."""

    UNREACHABLE = "unreachable"  # no connection: name, route, refused, timed out
    REJECTED = "rejected"  # A-ASSOCIATE-RJ permanent: titles, policy
    BUSY = "busy"  # A-ASSOCIATE-RJ transient
    ABORTED = "aborted"  # A-ABORT or the connection closed
    NO_ANSWER = "no answer"  # deaf: accepted the connection or the request, then silence
    NO_CONTEXT = "no context"  # the class in this transfer syntax is not accepted
    UNREADABLE_FILE = "unreadable file"  # ours, no Part 10 file
    STATUS = "status"  # the peer answered with a failure

    @property
    def retryable(self) -> bool:
        """May go better later without anyone changing anything."""
        return self in (Problem.UNREACHABLE, Problem.BUSY, Problem.ABORTED, Problem.NO_ANSWER)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """In seconds: to connect, for the answer to A-ASSOCIATE, for each answer to a request."""

    connect: float = 10.0
    associate: float = 30.0
    response: float = 120.0


@dataclass(frozen=True, kw_only=True)
class InstanceStatus:
    """What became of one file; `status` is the peer's, None when it gave none."""

    path: Path
    instance_uid: str
    status: int | None
    comment: str  # the peer's Error Comment, or ours
    category: Category
    problem: Problem | None
    retryable: bool


@dataclass(frozen=True, kw_only=True)
class SendOutcome:
    """One entry per path, in order. `problem` is the association's, None when it held."""

    instances: tuple[InstanceStatus, ...]
    problem: Problem | None
    reason: str

    @property
    def delivered(self) -> bool:
        """The peer said success or warning for every instance."""
        return all(i.category in (Category.SUCCESS, Category.WARNING) for i in self.instances)

    @property
    def retryable(self) -> bool:
        """Something failed that may go better later."""
        return any(i.retryable for i in self.instances)


@dataclass(frozen=True, kw_only=True)
class EchoOutcome:
    """`status` is the peer's answer, None without one."""

    status: int | None
    problem: Problem | None
    reason: str

    @property
    def ok(self) -> bool:
        return self.status == 0


def send(
    paths: Sequence[Path],
    *,
    to: Peer,
    calling_ae: str,
    timeouts: Timeouts,
    on_status: Callable[[InstanceStatus], None] | None = None,
) -> SendOutcome:
    """C-STORE each file over one association (several beyond 128 class and syntax pairs)."""
    raise NotImplementedError


def echo(to: Peer, *, calling_ae: str, timeouts: Timeouts) -> EchoOutcome:
    """C-ECHO."""
    raise NotImplementedError
