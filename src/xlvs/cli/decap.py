"""The decapsulation program on the interfaces of a real server.

A classifier at the `clsact` hook, not a pinned link: the interface itself
holds it, so it outlives the command that put it there even inside
`ip netns exec`, whose private mounts take every pin with them.  Leaves alone
what others attached there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from xlvs.dataplane import OBJECTS, Loader, _abi
from xlvs.errors import HostError
from xlvs.model import Address

PROGRAM = "xlvs_decap"
INGRESS = 0xFFFFFFF2  # TC_H_CLSACT, TC_H_MIN_INGRESS: include/uapi/linux/pkt_sched.h
EGRESS = 0xFFFFFFF3
PRIORITY = 0x786C  # ours alone, so that attaching again replaces and detaching finds it
HANDLE = 1
ETH_P_ALL = 0x0003

UNUSED = (
    "services slots servers server_options loads sched_state tables service_stats server_stats flows4 flows6 "
    "flow_stripes flow_spill flow_wide flow_aliases hops imports interfaces nat_servers fragments"
)
"""Maps of the director: the program shares its object with them, and they need not have their size here."""


MAX_VIPS = 4096
"""How many virtual addresses a real server can have."""


def attach(names: Iterable[str], vips: Mapping[Address, int], made: list[str]) -> None:
    """Unwrap what arrives at each interface for one of *vips*, in place of what `attach` put there before.

    With each goes the UDP port at which gue brings its packets, 0 for none.

    Adds interfaces that had no `clsact` to *made*.  Raises `HostError` when
    the program cannot be loaded or attached.
    """
    loaded = Loader([OBJECTS / "tc.bpf.o"], sizes=_sizes()).load(programs={PROGRAM})
    try:
        for vip, port in vips.items():
            loaded.maps["addrs"].put(vip, _abi.ADDR_VIP | port << _abi.ADDR_PORT_SHIFT)
        with IPRoute() as route:
            for name in names:
                index = _index(route, name)
                if _add_clsact(route, index):
                    made.append(name)
                try:
                    _filter(
                        route, "replace-filter", index, fd=loaded.programs[PROGRAM].fd, name=PROGRAM, direct_action=True
                    )
                except NetlinkError as err:
                    raise HostError(f"cannot attach {PROGRAM} to {name}: {err}") from err
    finally:
        loaded.close()


def _sizes() -> dict[str, int]:
    return {**dict.fromkeys(UNUSED.split(), 1), "addrs": MAX_VIPS, "gathering": _abi.GATHERING}


def detach(names: Iterable[str], made: Iterable[str]) -> None:
    """Take the program off each interface that is still there, and `clsact` off those of *made* that hold no more."""
    with IPRoute() as route:
        for name in names:
            for index in route.link_lookup(ifname=name):
                with contextlib.suppress(NetlinkError):  # somebody was faster
                    _filter(route, "del-filter", index)
                if name in made and not any(route.get_filters(index, parent=p) for p in (INGRESS, EGRESS)):
                    with contextlib.suppress(NetlinkError):
                        route.tc("del", "clsact", index)


def _filter(route: IPRoute, command: str, index: int, **options: object) -> None:
    route.tc(command, "bpf", index, handle=HANDLE, parent=INGRESS, prio=PRIORITY, protocol=ETH_P_ALL, **options)


def _add_clsact(route: IPRoute, index: int) -> bool:
    """Give the interface its hooks; return False if it had them."""
    try:
        route.tc("add", "clsact", index)
    except NetlinkError as err:
        if err.code == 17:  # EEXIST
            return False
        raise HostError(f"the kernel refuses the clsact hook: {err}") from err
    return True


def _index(route: IPRoute, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise HostError(f"there is no interface {name!r}")
    return int(found[0])
