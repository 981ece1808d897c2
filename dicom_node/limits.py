"""How much a peer may ask of this node: every declared number is a claim, and has a bound here.

One frozen value, handed down; the defaults are those of the conformance statement.
"""

from dataclasses import dataclass

__all__ = ["Limits"]

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on connections, on one object's bytes and on its structure."""

    # the network
    associations_per_address: int = 16  # one place is left to others, however few there are
    associate_seconds: float = 15.0  # from the connection to the last byte of A-ASSOCIATE-RQ
    pdu_seconds: float = 30.0  # from a PDU's or command's first byte to its last; to send one
    object_seconds: float = 3600.0  # from the C-STORE command to the last byte of its data set
    idle_seconds: float = 60.0  # silence on an open association
    stop_seconds: float = 10.0  # for an answer that is being worked out when the node stops
    associate_bytes: int = 256 * 1024  # 128 contexts of 40 syntaxes are about 160 KiB
    command_bytes: int = 16 * 1024
    # one object
    object_bytes: int = 16 * GIB
    free_disk_bytes: int = 1 * GIB  # below it nothing is taken in
    # its structure
    nesting: int = 32
    elements: int = 4_000_000  # per-frame functional groups of 200,000 tiles
    fragments: int = 1_000_000
    element_bytes: int = 64 * MIB  # one value beside the pixels; they are parsed in memory
    header_bytes: int = 256 * MIB  # all that is beside the pixels
    frames: int = 1_000_000
    frame_bytes: int = 1 * GIB  # decoded
    matrix_px: int = 1_000_000  # longer side of a slide's total pixel matrix
