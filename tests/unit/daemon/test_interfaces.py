"""Which hook an interface gets, and why."""

from __future__ import annotations

import pytest

from xlvs.daemon.host.interfaces import Wish, can_redirect_to, choose, hands_partial_checksums
from xlvs.daemon.host.netdev import XDP_BASIC, XDP_NDO_XMIT
from xlvs.daemon.host.netlink import Link
from xlvs.errors import InvalidError

LO = Link(1, "lo", loopback=True)
ETH = Link(2, "eth0", bus="pci", xdp_features=XDP_BASIC | XDP_NDO_XMIT)
VIRTIO = Link(3, "eth1", bus="virtio", xdp_features=XDP_BASIC)
VETH = Link(4, "veth0", kind="veth", xdp_features=XDP_BASIC | XDP_NDO_XMIT)
DEAF = Link(5, "veth1", kind="veth", xdp_features=XDP_BASIC)
OLD = Link(6, "eth2", bus="pci", xdp_features=0)
BRIDGE = Link(10, "br0", kind="bridge", xdp_features=0)
PORT = Link(11, "port0", kind="veth", master=10, xdp_features=XDP_BASIC | XDP_NDO_XMIT)
VRF = Link(20, "red", kind="vrf")
MEMBER = Link(21, "eth3", kind="veth", master=20)


def hooks(wish: str, *links: Link) -> dict[str, str]:
    """Return the hook of every interface by name."""
    by_index = {link.index: link for link in links}
    return {by_index[i].name: choice.hook for i, choice in choose(by_index, Wish.parse(wish)).items()}


def why(wish: str, link: Link) -> str:
    """Return the reason for the hook of a lone interface."""
    return choose({link.index: link}, Wish.parse(wish))[link.index].why


def test_hardware_gets_xdp_and_the_rest_tc() -> None:
    """By default a real network card is taken by XDP, anything virtual by TC, the loopback not at all."""
    assert hooks("auto", LO, ETH, VIRTIO, VETH) == {"eth0": "xdp", "eth1": "tc", "veth0": "tc"}


def test_an_interface_gets_what_was_told() -> None:
    """A choice by name beats the default for all others."""
    assert hooks("eth0=tc,veth0=xdp,none", ETH, VIRTIO, VETH) == {"eth0": "tc", "eth1": "none", "veth0": "xdp"}


def test_a_bridge_is_taken_instead_of_its_ports() -> None:
    """An interface and its master handle a packet once."""
    assert hooks("auto", BRIDGE, PORT) == {"br0": "tc", "port0": "none"}


def test_a_port_that_was_told_is_taken_instead_of_its_bridge() -> None:
    """Choosing a port leaves out its master, aloud."""
    assert hooks("port0=xdp", BRIDGE, PORT) == {"br0": "none", "port0": "xdp"}
    links = {link.index: link for link in (BRIDGE, PORT)}
    assert "port0" in choose(links, Wish.parse("port0=tc"))[BRIDGE.index].why


def test_vrf_members_are_taken() -> None:
    """A VRF is only a routing table: packets enter at its members."""
    assert hooks("auto", VRF, MEMBER) == {"red": "none", "eth3": "tc"}


def test_a_veth_whose_peer_takes_no_redirects_gets_tc_and_says_so() -> None:
    """XDP that was asked for and cannot work becomes TC, with the command that would help."""
    assert hooks("veth1=xdp", DEAF) == {"veth1": "tc"}
    assert "gro on" in why("veth1=xdp", DEAF)


def test_a_driver_without_native_xdp_gets_tc_and_says_so() -> None:
    """Hardware whose driver cannot run XDP is taken by TC."""
    assert hooks("auto", OLD) == {"eth2": "tc"}
    assert "no native XDP" in why("auto", OLD)


def test_every_reason_is_told() -> None:
    """Whatever the choice, there is a sentence for it."""
    links = {link.index: link for link in (LO, ETH, VIRTIO, VETH, DEAF, OLD, BRIDGE, PORT, VRF, MEMBER)}
    for wish in ("auto", "none", "xdp", "tc"):
        assert all(choice.why for choice in choose(links, Wish.parse(wish)).values())


@pytest.mark.parametrize("text", ["eth0", "eth0=fast", "=xdp", "eth0=xdp,quick"])
def test_a_choice_that_cannot_be_read_is_refused(text: str) -> None:
    """A misspelt hook is an error, never a default."""
    with pytest.raises(InvalidError, match="interface choice"):
        Wish.parse(text)


def test_redirects_go_only_where_they_arrive() -> None:
    """XDP may redirect to an interface that says so; where the kernel cannot tell, to hardware alone."""
    assert can_redirect_to(VETH)
    assert not can_redirect_to(DEAF)
    assert can_redirect_to(Link(9, "eth9", bus="pci", xdp_features=None))
    assert not can_redirect_to(Link(9, "veth9", kind="veth", xdp_features=None))


def test_partial_checksums_come_from_neighbours_on_the_same_machine() -> None:
    """veth and virtio hand over packets whose checksum nobody has completed; hardware does not."""
    assert hands_partial_checksums(VETH)
    assert hands_partial_checksums(VIRTIO)
    assert not hands_partial_checksums(ETH)
