"""A small network in namespaces: one switch, and on it a client, a director and three real servers.

    client ──────┐
                 ├── switch ── real1
    director ────┤          ├─ real2
                 │          └─ real3

Everything hangs on one switch, so that real servers are neighbours of the
director (as `route` needs) and can reach the client without it (as `route`
and `ipip` do).  Two subnets keep `nat` honest: a real server behind it knows
the client only through its default gateway, the director.  Both families are
always there.

Refuses nothing and turns no offload off; namespaces carry a prefix of the run
and `Topology.remove` takes all of them away, also after a failed `build`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import NetNS, config
from pyroute2 import netns as namespaces

from xlvs.demo import ethtool, netns

# pyroute2 forks to enter a namespace and ends the child by SIGTERM.  With the demo's own handler the child would
# not end but unwind through the demo's clean-up and take the namespaces away.
config.disable_mp_signal = True

CLIENTS = 16
"""Addresses the client has: schedulers that look at the source have something to look at."""

SERVERS = 3
ETHERNET_MTU = 1500
NODAD = 0x02  # IFA_F_NODAD, include/uapi/linux/if_addr.h

VIP = {4: "10.0.0.100", 6: "fd00:a::100"}
FRONT = {4: "10.0.0", 6: "fd00:a:"}
BACK = {4: "10.0.1", 6: "fd00:b:"}
PREFIX_LENGTH = {4: 24, 6: 64}
GATEWAY = 254

SYSCTLS = {
    "ipv4": {"rp_filter": 0, "accept_redirects": 0, "send_redirects": 0},
    # The answers of a one-armed director must not be bypassed, and addresses must be usable at once.
    "ipv6": {"accept_redirects": 0, "accept_dad": 0, "dad_transmits": 0, "router_solicitations": 0, "accept_ra": 0},
}


def client_addresses(family: int) -> list[str]:
    """Return the client's addresses."""
    return [f"{FRONT[family]}{_dot(family)}{number}" for number in range(1, CLIENTS + 1)]


def director_address(family: int) -> str:
    """Return the director's own address on the network of the real servers."""
    return f"{BACK[family]}{_dot(family)}{GATEWAY}"


def server_addresses(family: int) -> list[str]:
    """Return the addresses of the real servers, real1 first."""
    return [f"{BACK[family]}{_dot(family)}{number}" for number in range(11, 11 + SERVERS)]


def _dot(family: int) -> str:
    return "." if family == 4 else ":"


@dataclass(frozen=True, slots=True)
class Topology:
    """The network of one run; *prefix* keeps it apart from other runs.

    *forward* decides how real servers answer: `nat` through the director,
    anything else straight to the client.  *server_mtu* is the MTU of the
    director's and the real servers' links; the client's stays 1500.
    """

    prefix: str
    forward: str = "nat"
    server_mtu: int = ETHERNET_MTU

    @property
    def client(self) -> str:
        """The client's namespace."""
        return f"{self.prefix}-client"

    @property
    def director(self) -> str:
        """The director's namespace."""
        return f"{self.prefix}-director"

    @property
    def switch(self) -> str:
        """The namespace of the switch."""
        return f"{self.prefix}-switch"

    @property
    def servers(self) -> list[str]:
        """The namespaces of the real servers."""
        return [f"{self.prefix}-real{number}" for number in range(1, SERVERS + 1)]

    @property
    def all(self) -> list[str]:
        """Every namespace."""
        return [self.switch, self.client, self.director, *self.servers]

    def build(self) -> None:
        """Make namespaces, links, addresses and routes.  Raises `OSError` or pyroute2's `NetlinkError`."""
        for name in self.all:
            namespaces.create(name)
            netns.inside(name, _set_sysctls)
        with NetNS(self.switch) as switch:
            switch.link("add", ifname="br0", kind="bridge", br_stp_state=0, br_mcast_snooping=0)
            switch.link("set", index=_index(switch, "br0"), state="up")
            for name in self.all[1:]:
                self._plug(switch, name)
        self._address(self.client, {family: client_addresses(family) for family in (4, 6)}, via=GATEWAY)
        self._address_director()
        for number, name in enumerate(self.servers):
            self._address(name, {family: [server_addresses(family)[number]] for family in (4, 6)}, via=None)
            self._route_replies(name)

    def remove(self) -> None:
        """Remove every namespace of this run that exists."""
        for name in self.all:
            if Path(netns.path(name)).exists():
                with contextlib.suppress(OSError):
                    namespaces.remove(name)

    def turn_gro_on(self) -> str:
        """Prepare the switch for frames that the director redirects by XDP; return the port's name.

        A veth takes a redirected frame only if its peer polls (NAPI), and the
        peer of a veth polls when GRO is on there, or an XDP program
        (drivers/net/veth.c, veth_xdp_xmit).  All that the director sends
        leaves by its one link, whose peer is a port of the switch.
        """
        port = "director"
        netns.inside(self.switch, lambda: ethtool.turn_gro_on(port))
        return port

    def _plug(self, switch: NetNS, name: str) -> None:
        """Connect *name*'s eth0 to a port of the switch that is named after the host."""
        port = name.removeprefix(f"{self.prefix}-")
        mtu = ETHERNET_MTU if name == self.client else self.server_mtu
        switch.link("add", ifname=port, kind="veth", mtu=mtu, peer={"ifname": "eth0", "net_ns_fd": name, "mtu": mtu})
        switch.link("set", index=_index(switch, port), master=_index(switch, "br0"), state="up")
        with NetNS(name) as host:
            host.link("set", index=_index(host, "lo"), state="up")
            host.link("set", index=_index(host, "eth0"), state="up")
        if name != self.director:
            netns.inside(name, _steer_flows)

    def _address(self, name: str, addresses: dict[int, list[str]], via: int | None) -> None:
        with NetNS(name) as host:
            eth0 = _index(host, "eth0")
            for family, chosen in addresses.items():
                for address in chosen:
                    _add_address(host, eth0, family, address, PREFIX_LENGTH[family])
                if via is not None:
                    gateway = f"{FRONT[family]}{_dot(family)}{via}"
                    host.route("add", family=_af(family), dst="default", gateway=gateway)

    def _address_director(self) -> None:
        with NetNS(self.director) as host:
            eth0 = _index(host, "eth0")
            for family in (4, 6):
                for net in (FRONT, BACK):
                    address = f"{net[family]}{_dot(family)}{GATEWAY}"
                    _add_address(host, eth0, family, address, PREFIX_LENGTH[family])
                _add_address(host, eth0, family, VIP[family], 32 if family == 4 else 128)
        netns.inside(self.director, _turn_forwarding_on)

    def _route_replies(self, name: str) -> None:
        """Tell a real server the way to the client: the director for nat, the wire for the others."""
        with NetNS(name) as host:
            eth0 = _index(host, "eth0")
            for family in (4, 6):
                if self.forward == "nat":
                    host.route("add", family=_af(family), dst="default", gateway=director_address(family))
                else:
                    net = f"{FRONT[family]}.0/24" if family == 4 else f"{FRONT[family]}:/64"
                    host.route("add", family=_af(family), dst=net, oif=eth0, scope=253 if family == 4 else 0)


def _af(family: int) -> int:
    return 2 if family == 4 else 10


def _index(host: NetNS, interface: str) -> int:
    return int(host.link_lookup(ifname=interface)[0])


def _add_address(host: NetNS, index: int, family: int, address: str, length: int) -> None:
    options = {"flags": NODAD} if family == 6 else {}
    host.addr("add", index=index, family=_af(family), address=address, prefixlen=length, **options)


def _set_sysctls() -> None:
    for family, values in SYSCTLS.items():
        for scope in ("all", "default"):
            for key, value in values.items():
                file = Path(f"/proc/sys/net/{family}/conf/{scope}/{key}")
                if file.exists():
                    file.write_text(f"{value}\n")


def _steer_flows() -> None:
    """Let one CPU receive all packets of a connection, as the queues of a network card do (receive packet steering).

    A veth leaves each packet to the CPU that sent it.  When a client's ACK and its request meet on two, a kernel before
    6.19 may find no socket for the request and reset the connection (net/ipv4/inet_hashtables.c, inet_ehash_insert).
    """
    mask = (1 << min(os.cpu_count() or 1, 32)) - 1
    script = f"mount -t sysfs sysfs /sys && echo {mask:x} > /sys/class/net/eth0/queues/rx-0/rps_cpus"
    subprocess.run(["unshare", "--mount", "sh", "-c", script], check=True)  # /sys shows the network it was mounted in


def _turn_forwarding_on() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1\n")
