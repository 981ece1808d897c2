"""Who may call."""

import pytest

from dicom_node.peers import ALL_SERVICES, Peer, PeerRule, Service, is_ae_title, services_for

CAMERA = PeerRule(ae_title="CAMERA", address="10.1.0.0/16", services=frozenset({Service.STORE}))
ECHO = PeerRule(ae_title="CAMERA", services=frozenset({Service.ECHO}))


@pytest.mark.parametrize(
    ("rules", "title", "address", "services"),
    [
        (None, "ANY", "127.0.0.1", ALL_SERVICES),
        (None, "ANY", "127.9.9.9", ALL_SERVICES),
        (None, "ANY", "::1", ALL_SERVICES),
        (None, "ANY", "::ffff:127.0.0.1", ALL_SERVICES),
        (None, "ANY", "10.1.2.3", frozenset()),
        ((), "ANY", "127.0.0.1", frozenset()),
        ((CAMERA,), "CAMERA", "10.1.2.3", frozenset({Service.STORE})),
        ((CAMERA,), "CAMERA", "::ffff:10.1.2.3", frozenset({Service.STORE})),
        ((CAMERA,), "CAMERA", "10.2.2.3", frozenset()),
        ((CAMERA,), "camera", "10.1.2.3", frozenset()),
        ((CAMERA, ECHO), "CAMERA", "10.1.2.3", frozenset({Service.STORE, Service.ECHO})),
        ((CAMERA, ECHO), "CAMERA", "fe80::1%eth0", frozenset({Service.ECHO})),
    ],
)
def test_services_of_a_caller(
    rules: tuple[PeerRule, ...] | None,
    title: str,
    address: str,
    services: frozenset[Service],
) -> None:
    assert services_for(rules, ae_title=title, address=address) == services


@pytest.mark.parametrize("title", ["A", "LEUKONODE", "X" * 16, "MY PACS"])
def test_ae_titles(title: str) -> None:
    assert is_ae_title(title)


@pytest.mark.parametrize("title", ["", " ", "X" * 17, "A\\B", "A\nB", "Ä"])
def test_what_is_no_ae_title(title: str) -> None:
    assert not is_ae_title(title)
    with pytest.raises(ValueError, match="AE title"):
        PeerRule(ae_title=title)


def test_wrong_peers_are_refused_when_they_are_written_down() -> None:
    with pytest.raises(ValueError, match="port 0"):
        Peer(ae_title="PACS", host="pacs", port=0)
    with pytest.raises(ValueError, match=r"10\.1\.2"):
        PeerRule(ae_title="CAMERA", address="10.1.2")
