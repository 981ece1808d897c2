"""Who may call this node, and whom it calls.

In      the calling AE title and address of an association
Out     the services that caller gets, or none
No list at all means any caller of this machine itself; an empty list means nobody. An AE title is
a name and not a credential, so a rule can bind it to an address.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

__all__ = ["ALL_SERVICES", "Peer", "PeerRule", "Service", "is_ae_title", "services_for"]


class Service(StrEnum):
    """What a caller may ask for."""

    ECHO = "echo"
    STORE = "store"
    PHOTOGRAPHIC = "photographic"  # VL Photographic Image Storage beside the other classes


ALL_SERVICES = frozenset(Service)


def is_ae_title(text: str) -> bool:
    """1 to 16 printable ASCII characters without backslash, not all spaces (PS3.5 6.2)."""
    return (
        0 < len(text) <= 16
        and text.isascii()
        and text.isprintable()
        and "\\" not in text
        and bool(text.strip())
    )


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An application entity that this node calls."""

    ae_title: str
    host: str
    port: int

    def __post_init__(self) -> None:
        if not is_ae_title(self.ae_title):
            raise ValueError(
                f"AE title {self.ae_title!r} is none; use 1 to 16 letters, digits, '_', '-'"
            )
        if not 0 < self.port < 65536:
            raise ValueError(f"port {self.port} is none; use 1 to 65535")


@dataclass(frozen=True, kw_only=True)
class PeerRule:
    """One caller that is let in; `address` is an IP address or a network such as 10.1.0.0/16,
    None for any."""

    ae_title: str
    address: str | None = None
    services: frozenset[Service] = frozenset({Service.ECHO, Service.STORE})

    def __post_init__(self) -> None:
        if not is_ae_title(self.ae_title):
            raise ValueError(
                f"AE title {self.ae_title!r} is none; use 1 to 16 letters, digits, '_', '-'"
            )
        if self.address is not None:
            ip_network(self.address, strict=False)

    def admits(self, ae_title: str, address: str) -> bool:
        if self.ae_title != ae_title:
            return False
        return self.address is None or _plain(address) in ip_network(self.address, strict=False)


def services_for(
    rules: Sequence[PeerRule] | None, *, ae_title: str, address: str
) -> frozenset[Service]:
    """What the caller may do; empty when it is not let in."""
    if rules is None:
        return ALL_SERVICES if _plain(address).is_loopback else frozenset()
    granted = [r.services for r in rules if r.admits(ae_title, address)]
    return frozenset().union(*granted)


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Without scope; an IPv4 caller of an IPv6 socket by its IPv4 address."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
