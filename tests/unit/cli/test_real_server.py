"""Which sysctls a real server needs changed."""

from __future__ import annotations

from xlvs.cli.real_server import Vip, required_sysctls

DEFAULTS: dict[str, int] = {}
ARP = {"all/arp_ignore": 1, "all/arp_announce": 2, "eth0/arp_ignore": 1, "eth0/arp_announce": 2}


def required(original: dict[str, int], **vips: str) -> dict[str, int]:
    """Return the sysctls for one interface; *vips* maps 4 or 6 to the forwarding method."""
    addresses = {"v4": "192.0.2.1", "v6": "2001:db8::1"}
    made = {addresses[family]: Vip(forward, ["eth0"], True) for family, forward in vips.items()}
    return required_sysctls(made, lambda path: original.get(path, 0))


def test_ipv4_address_silences_arp() -> None:
    """ARP neither answers for nor announces an address of the loopback."""
    assert required(DEFAULTS, v4="route") == ARP


def test_ipv6_address_needs_nothing() -> None:
    """Neighbour discovery does not answer for another interface's address."""
    assert required(DEFAULTS, v6="ipip") == {}


def test_stricter_values_stay() -> None:
    """Who ignores more ARP than needed goes on doing so."""
    assert (
        required({"all/arp_ignore": 2, "eth0/arp_ignore": 1, "all/arp_announce": 2, "eth0/arp_announce": 2}, v4="route")
        == {}
    )


def test_strict_filter_loosens_for_tunnels() -> None:
    """The kernel takes the larger value, so loose (2) on the interface wins over strict (1) for all."""
    assert required({"all/rp_filter": 1}, v4="ipip") == ARP | {"eth0/rp_filter": 2}
    assert required({"all/rp_filter": 1}, v4="route") == ARP
    assert required({"all/rp_filter": 1, "eth0/rp_filter": 2}, v4="ipip") == ARP
    assert required({"eth0/rp_filter": 0}, v4="ipip") == ARP
