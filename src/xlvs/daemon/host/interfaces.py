"""Which hook each interface gets, and the sentence that says why.

Pure.  The rules: packets are taken where they enter the network namespace, and
once: an interface and its master (a bridge and its ports, a bond and its
members) are never both taken.  Hardware gets XDP, and TC for what XDP leaves
over; virtual interfaces get TC, which is faster there (segmentation offload).
Refuses nothing an operator asks for in words it knows; what cannot be done
becomes TC, and the sentence says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xlvs.daemon.host.devices.marks import MAC as MARKED_MAC
from xlvs.daemon.host.devices.segmenter import MAC as SEGMENTER_MAC
from xlvs.daemon.host.netdev import XDP_BASIC, XDP_NDO_XMIT
from xlvs.daemon.host.netlink import Link
from xlvs.errors import InvalidError

HOOKS = ("auto", "xdp", "tc", "none")


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator said: a hook for some interfaces by name, and one for all others."""

    default: str = "auto"
    named: Mapping[str, str] | None = None

    @classmethod
    def parse(cls, text: str) -> Wish:
        """Read ``auto``, ``none`` or ``eth0=xdp,eth1=tc,auto``; raises `InvalidError`."""
        default, named = "auto", {}
        for item in filter(None, text.split(",")):
            name, equals, hook = item.rpartition("=")
            if hook not in HOOKS or bool(name) != bool(equals):
                raise InvalidError(
                    f"interface choice {item!r}: say NAME=HOOK or HOOK, where HOOK is {', '.join(HOOKS)}"
                )
            if name:
                named[name] = hook
            else:
                default = hook
        return cls(default, named)

    def of(self, name: str) -> str | None:
        """Return the hook told for this very interface, or None."""
        return (self.named or {}).get(name)


@dataclass(frozen=True, slots=True)
class Choice:
    """One interface's hook, ``xdp`` (which includes TC), ``tc`` or ``none``, and why."""

    hook: str
    why: str


def choose(links: Mapping[int, Link], wish: Wish) -> dict[int, Choice]:
    """Return the choice for every interface but loopback ones, by index."""
    told_ports = {link.master: link for link in links.values() if wish.of(link.name) in ("xdp", "tc", "auto")}
    return {
        index: _choose(link, links.get(link.master), told_ports.get(index), wish)
        for index, link in links.items()
        if not link.loopback
    }


def can_redirect_to(link: Link) -> bool:
    """Return whether XDP may redirect packets to this interface."""
    if link.xdp_features is None:
        return is_hardware(link)
    return bool(link.xdp_features & XDP_NDO_XMIT)


def hands_partial_checksums(link: Link) -> bool:
    """Return whether XDP sees packets here whose checksum is still to be completed by the sender's hardware."""
    return link.kind == "veth" or link.bus == "virtio"


def is_hardware(link: Link) -> bool:
    """Return whether a real device is behind it; a virtio device is another machine's software."""
    return bool(link.bus) and link.bus != "virtio"


def _choose(link: Link, master: Link | None, told_port: Link | None, wish: Wish) -> Choice:
    if link.mac == MARKED_MAC:
        return Choice("none", "what xlvs left to the host, of packets with a firewall mark, comes in here")
    if link.mac == SEGMENTER_MAC:
        return Choice("tc", "the segments of GSO packets come in here")
    told = wish.of(link.name)
    if told is None:
        if link.kind == "vrf":
            return Choice("none", "a VRF's packets are taken at its members")
        if master and master.kind != "vrf":
            return Choice("none", f"its master {master.name} is taken instead, so that a packet is handled once")
        if told_port and link.kind != "vrf":
            return Choice("none", f"its member {told_port.name} was chosen, and a packet is handled once")
    hook = told or wish.default
    if hook == "none":
        return Choice("none", "told so")
    if hook == "tc":
        return Choice("tc", "told so")
    if hook == "xdp":
        return _xdp(link, "told so")
    if is_hardware(link):
        return _xdp(link, "hardware: XDP is faster")
    return Choice("tc", f"{link.kind or link.bus or 'virtual'}: TC keeps segmentation offload, which is faster here")


def _xdp(link: Link, why: str) -> Choice:
    features = link.xdp_features
    if features is not None and not features & XDP_BASIC:
        return Choice("tc", f"{why}, but its driver has no native XDP, so TC is used")
    if link.kind == "veth" and not can_redirect_to(link):
        return Choice("tc", f"{why}, but its peer takes no XDP redirects (ethtool -K PEER gro on), so TC is used")
    return Choice("xdp", why)
