"""The Storage and Verification SCU: send objects to a peer, bit for bit, and say what it answered.

In      paths of Part 10 files
Out     SendOutcome: the peer's own status for each instance; what a peer does is never an exception
Source  PS3.7 9.1.1 and 9.1.5, PS3.8 9.3.4 (why an association was refused)
A file goes out in the transfer syntax it is stored in, or not at all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.conformance import UNCOMPRESSED, VERIFICATION
from dicom_node.dimse import CommandField
from dicom_node.errors import MalformedObject
from dicom_node.part10 import FileHead, is_uid, read_file_head
from dicom_node.peers import Peer
from dicom_node.requestor import Link, LinkLost, Problem, Timeouts, open_link
from dicom_node.statuses import Category, StoreStatus, category_of, is_retryable

__all__ = ["EchoOutcome", "InstanceStatus", "Problem", "SendOutcome", "Timeouts", "echo", "send"]

_MOST_CONTEXTS = 128  # odd ids of one byte (PS3.8 table 9-13)
_HEAD_BYTES = 66 * 1024


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
    """One entry per path, in order. `problem` is the first association's that came to nothing,
    None when all held."""

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


@dataclass(frozen=True)
class _Job:
    """One file to send, with its place in the outcome."""

    index: int
    path: Path
    head: FileHead

    @property
    def context(self) -> tuple[str, str]:
        return self.head.sop_class_uid, self.head.transfer_syntax


def send(
    paths: Sequence[Path],
    *,
    to: Peer,
    calling_ae: str,
    timeouts: Timeouts,
    on_status: Callable[[InstanceStatus], None] | None = None,
) -> SendOutcome:
    """C-STORE each file over one association (several beyond 128 class and syntax pairs).

    `on_status` hears of each file as soon as its fate is known. Raises ValueError when
    `calling_ae` is no AE title.
    """
    known: dict[int, InstanceStatus] = {}

    def settle(index: int, status: InstanceStatus) -> None:
        known[index] = status
        if on_status is not None:
            on_status(status)

    jobs = []
    for index, path in enumerate(paths):
        try:
            jobs.append(_Job(index, path, _head_of(path)))
        except (MalformedObject, OSError) as error:
            why = error.reason if isinstance(error, MalformedObject) else "cannot be opened"
            settle(index, _unsent(path, "", Problem.UNREADABLE_FILE, why))

    problem: Problem | None = None
    reason = ""
    for group in _groups(jobs):
        contexts = list(dict.fromkeys(job.context for job in group))
        left = iter(group)
        try:
            with open_link(to, calling_ae=calling_ae, contexts=contexts, timeouts=timeouts) as link:
                for job in left:
                    try:
                        settle(job.index, _stored(link, job))
                    except LinkLost as lost:
                        settle(job.index, _lost(job, lost))
                        raise
        except LinkLost as lost:
            if problem is None:
                problem, reason = lost.problem, lost.reason
            for job in left:
                settle(job.index, _lost(job, lost))
    return SendOutcome(
        instances=tuple(known[i] for i in range(len(paths))), problem=problem, reason=reason
    )


def echo(to: Peer, *, calling_ae: str, timeouts: Timeouts) -> EchoOutcome:
    """C-ECHO. Raises ValueError when `calling_ae` is no AE title."""
    contexts = [(VERIFICATION.uid, entry.uid) for entry in UNCOMPRESSED]
    try:
        with open_link(to, calling_ae=calling_ae, contexts=contexts, timeouts=timeouts) as link:
            context_id = next((i for c in contexts if (i := link.context_id(*c))), None)
            if context_id is None:
                return EchoOutcome(
                    status=None, problem=Problem.NO_CONTEXT, reason="Verification is not accepted"
                )
            answer = link.ask(context_id, CommandField.ECHO, VERIFICATION.uid)
    except LinkLost as lost:
        return EchoOutcome(status=None, problem=lost.problem, reason=lost.reason)
    status = answer.status
    problem = None if status == 0 else Problem.STATUS
    return EchoOutcome(status=status, problem=problem, reason=answer.comment)


def _head_of(path: Path) -> FileHead:
    with path.open("rb") as file:
        head = read_file_head(file.read(_HEAD_BYTES))
        size = file.seek(0, 2) - head.dataset_offset
    if not all(map(is_uid, (head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax))):
        raise MalformedObject(
            StoreStatus.ATTRIBUTE_MISSING,
            "file meta lacks SOP Class, SOP Instance or Transfer Syntax UID",
        )
    if size % 2:
        # PS3.5 7.1.1; peers abort on it
        raise MalformedObject(StoreStatus.ODD_LENGTH, "the data set has an odd number of bytes")
    return head


def _groups(jobs: Sequence[_Job]) -> Iterator[list[_Job]]:
    """In order, each with as many contexts as one association may have."""
    group: list[_Job] = []
    contexts: set[tuple[str, str]] = set()
    for job in jobs:
        if job.context not in contexts and len(contexts) == _MOST_CONTEXTS:
            yield group
            group, contexts = [], set()
        group.append(job)
        contexts.add(job.context)
    if group:
        yield group


def _stored(link: Link, job: _Job) -> InstanceStatus:
    context_id = link.context_id(*job.context)
    if context_id is None:
        return _unsent(
            job.path,
            job.head.sop_instance_uid,
            Problem.NO_CONTEXT,
            "the peer does not accept this SOP class in this transfer syntax",
        )
    try:
        file = job.path.open("rb")
    except OSError:
        return _unsent(
            job.path, job.head.sop_instance_uid, Problem.UNREADABLE_FILE, "cannot be opened"
        )
    with file:
        file.seek(job.head.dataset_offset)
        answer = link.ask(
            context_id,
            CommandField.STORE,
            job.head.sop_class_uid,
            job.head.sop_instance_uid,
            data_set=file,
        )
    status = int(answer.status or 0)
    category = category_of(status)
    failed = category is Category.FAILURE
    return InstanceStatus(
        path=job.path,
        instance_uid=job.head.sop_instance_uid,
        status=status,
        comment=answer.comment,
        category=category,
        problem=Problem.STATUS if failed else None,
        retryable=failed and is_retryable(status),
    )


def _lost(job: _Job, lost: LinkLost) -> InstanceStatus:
    return _unsent(job.path, job.head.sop_instance_uid, lost.problem, lost.reason)


def _unsent(path: Path, instance_uid: str, problem: Problem, why: str) -> InstanceStatus:
    return InstanceStatus(
        path=path,
        instance_uid=instance_uid,
        status=None,
        comment=why,
        category=Category.NOT_SENT,
        problem=problem,
        retryable=problem.retryable,
    )
