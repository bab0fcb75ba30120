"""The director of the packet tests: the real programs on the real maps, one packet at a time.

    director.service("192.0.2.1:80/tcp", "10.0.0.1:8080 nat w=3", sched="wrr")
    out = director.packet(tcp("198.51.100.7:4000 > 192.0.2.1:80", "S"), hook="xdp")
    out.verdict, out.packet

Services go through `xlvs.plan`, as the daemon's do.  Nothing travels: a
redirect is a verdict, and where it leads is seen by the source MAC.
"""

from __future__ import annotations

import enum
import re
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.packet import network as net
from tests.packet.frames import Frame, at
from tests.packet.table_state import make_older
from xlvs import sched as schedulers
from xlvs.daemon.api.table.wanted import STATE_NAMES
from xlvs.daemon.kernel import Kernel
from xlvs.dataplane import OBJECTS, Loaded, Loader, hint_bits
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import table_sizes
from xlvs.model import Address, Server, Service, ServiceKey
from xlvs.plan import records as r
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout
from xlvs.plan.matching import matches
from xlvs.plan.planner import Wants, plan

FLOWS = 64
TUNNEL_PORT = 6080
SIZES = {"services": 16, "slots": 32, "servers": 64, "loads": 64, "server_stats": 64, "service_stats": 16} | {
    "sched_state": 32, "tables": 32, "server_options": 64, "addrs": 64, "nat_servers": 64, "fragments": 64,
    "gathering": abi.GATHERING, "localities": 1024, "overheads": 1,
}  # fmt: skip
DEVICES = ("outside", "inside", "tight")
_PROGRAMS = {"tc": "xlvs_in", "xdp": "xlvs_xdp", "lo": "xlvs_lo", "decap": "xlvs_decap", "mark": "xlvs_mark"}


class Verdict(enum.Enum):
    """What became of a packet, by the same name on both hooks."""

    PASS = enum.auto()
    DROP = enum.auto()
    SENT = enum.auto()
    GONE = enum.auto()


PASS, DROP, SENT, GONE = Verdict
_TC = {0: PASS, 2: DROP, 4: GONE, 7: SENT}
_XDP = {1: DROP, 2: PASS, 4: SENT}


@dataclass(frozen=True, slots=True)
class Out:
    """What came out: the verdict, and the packet as the program left it."""

    verdict: Verdict
    packet: Frame


@dataclass(frozen=True, slots=True)
class Flow:
    """One entry of the flow table."""

    client: tuple[str, int]
    virtual: tuple[str, int]
    server: str
    state: str
    inactive: bool
    local: bool
    bytes: tuple[int, int]
    idle: int
    """Jiffies since the last packet."""


class Director:
    """Use it inside the network only (`Network.inside`)."""

    def __init__(self, loaded: Loaded) -> None:
        self._maps = loaded.maps
        self._programs = loaded.programs
        self._kernel = Kernel(loaded.maps)
        assert self._programs["xlvs_clock"].test_run(bytes(64)).retval == 0
        self.reset()

    @classmethod
    def loaded(cls, flows: int = FLOWS) -> tuple[Director, Loaded]:
        """Load the compiled programs with small maps, with room for *flows* flows."""
        sizes = SIZES | table_sizes(flows)
        loaded = Loader([OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o"], sizes=sizes).load()
        return cls(loaded), loaded

    def reset(self) -> None:
        """Forget everything."""
        self._layout = Layout(self._kernel.limits)
        for name in ("services", "addrs", "nat_servers", "fragments", "localities", "sip_calls"):
            self._maps[name].clear()
        self._zero("servers", "server_options", "slots", "sched_state", "interfaces", "addr_hints", "gathering")
        for name in ("drops", "counters", "server_stats", "service_stats", "scratch"):
            for i in range(self._maps[name].max_entries):
                self._maps[name].put(i, np.zeros((), self._maps[name].value_dtype))
        self.clear_flows()
        self.configure()
        for name in DEVICES:
            mac = bytes.fromhex(_mac_of(name).replace(":", ""))
            self._kernel.put_interface(socket.if_nametoindex(name), mac, abi.IF_XMIT | abi.IF_HEAL)

    def clear_flows(self) -> None:
        """Forget all flows, and that there were any."""
        for name in ("flow_spill", "flow_wide", "flow_aliases"):
            self._maps[name].clear()
        self._zero("loads", "overheads", "flows4", "flows6", "flow_stripes", "hops", "flow_head")

    def crowd(self) -> None:
        """Leave no room for a flow: both tables have two buckets, full of flows in use by nobody, and no spill."""
        self.configure(buckets=2, spill=0)
        now = self._kernel.flows.now() & 0xFFFFFFFF
        for name, field in (("flows4", None), ("flows6", "low")):
            buckets = np.zeros(2, self._maps[name].value_dtype)
            low = buckets["flow"][field] if field else buckets["flow"]
            low["life"], low["seen"] = abi.FlowState.ESTABLISHED ^ abi.FLOW_FREE, now
            self._maps[name].write(0, buckets)

    def _zero(self, *names: str) -> None:
        for name in names:
            self._maps[name].write(0, np.zeros(self._maps[name].max_entries, self._maps[name].value_dtype))

    def await_marks(self) -> None:
        """Let packets that may open flows go on to Netfilter, as while there is a service by mark."""
        self._kernel.take_marked(net.LO)

    def configure(
        self, *, idle_s: Mapping[str, float] | None = None, buckets: int = 0, spill: int | None = None,
        icmp_per_second: int = 1000, sysctls: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Set what holds for the whole director; *idle_s* by state name, instead of the usual; *sysctls* as written.

        *buckets* of each family (default: all there are) hold four flows each, *spill* is how many find room elsewhere.
        """
        self._kernel.begin_table()
        self._kernel.take_marked(0)
        self.forget_matches()
        self._kernel.heed_calls(0)
        self._kernel.configure({"tcp": 900, "tcpfin": 120, "udp": 300}, net.LO, icmp_per_second, sysctls)
        record = self._maps["config"].get(0)
        for name, seconds in (idle_s or {}).items():
            record["idle"][abi.FlowState[name]] = int(seconds * int(record["hz"]))
        self._maps["config"].put(0, record)
        head = self._maps["flow_head"].get(0)
        if buckets:
            head["buckets"], head["stripes"] = buckets, -(-buckets >> abi.STRIPE_SHIFT)
        if spill is not None:
            head["spill"] = spill
        self._maps["flow_head"].put(0, head)

    def forget_hops(self) -> None:
        """Do what the daemon does when routes change."""
        self._kernel.forget_hops()

    def interface(self, name: str, flags: int) -> None:
        """Give an interface other flags (``XLVS_IF_*``)."""
        mac = bytes.fromhex(_mac_of(name).replace(":", ""))
        self._kernel.put_interface(socket.if_nametoindex(name), mac, flags)

    def forget_interface(self, name: str) -> None:
        """Take an interface out of the map."""
        self._kernel.drop_interface(socket.if_nametoindex(name))

    def crowd_interface(self, name: str) -> None:
        """Describe another interface, and forget it again, whose slot *name* has already."""
        crowd = socket.if_nametoindex(name) + abi.MAX_INTERFACES
        self._kernel.put_interface(crowd, bytes(6), 0)
        self._kernel.drop_interface(crowd)

    def mislead(self, address: str, flags: int) -> None:
        """Make the hint about *address* what it is if an address with these flags (``XLVS_ADDR_*``) shares it."""
        (word,), (bits,) = hint_bits([Address.parse(address)], [flags])
        self._maps["addr_hints"].put(word, self._maps["addr_hints"].get(word) | bits)

    def hints(self) -> int:
        """Return how many flags all hints have together."""
        return sum(int(word).bit_count() for word in self._maps["addr_hints"].read())

    def renew_hints(self) -> None:
        """Do as a daemon that starts."""
        self._kernel.renew_hints()

    def serve(self, family: int, protocol: str, forward: str = "nat", *, server: int = 1) -> None:
        """Put the service on port 80 of the VIP in force, with one real server, which nat reaches at port 8080."""
        self.service(f"{at(net.VIP[family], 80)}/{protocol}", f"{real(family, forward, server)} {forward}")

    def service(
        self, key: str, *servers: str, sched: str = "rr", flags: tuple[str, ...] = (), sources: bool = True
    ) -> None:
        """Put a service in force, or change it to this; servers oldest first, ``10.0.0.1:8080 nat w=1``.

        Without *sources* the director has no address of its own towards them.
        """
        words = frozenset(schedulers.flag(sched, word) for word in flags)
        self.put(Service(_key(key), sched, words, tuple(_server(text) for text in servers)), sources=sources)

    def put(self, service: Service, *, sources: bool = True, own: str = "") -> None:
        """Put a service in force, or change it to this; *own* is the director's address if it is not the usual."""
        source = Address.parse(own) if own else None
        addresses = {s.address: (source or _source(s.address)) if sources else None for s in service.servers}
        self._change({service.key: service}, addresses)
        if service.engine:
            self._kernel.heed_calls(1)
        if service.match:
            self._kernel.put_matches(*matches({service.key: service.match}))

    def forget_matches(self) -> None:
        """Let xlvs mark no packets any more."""
        self._kernel.put_matches(*matches({}))

    def share(self, service: Service, addresses: Sequence[Address]) -> None:
        """Let packets to these *addresses* find the service in force, too, as those with a mark in common do."""
        keys = [service.key, *(ServiceKey(service.key.protocol, a, service.key.port) for a in addresses)]
        records = r.service_keys(keys)
        value = self._maps["services"].get(records[0])
        for write in (
            w.Put("addrs", r.addresses(addresses), r.numbers([abi.ADDR_VIP] * len(addresses))),
            w.Put("services", records[1:], np.array([value] * len(addresses), abi.VERSIONS)),
        ):
            self._kernel.write(write)

    def delete_service(self, key: str) -> None:
        """Delete a service; its flows go on."""
        self._change({_key(key): None}, {})

    def _change(self, wants: Wants, sources: dict[Address, Address | None]) -> None:
        made = plan(self._layout, wants, sources, self._kernel.epoch() + 1)
        for write in [*made.prepare, *made.commit(self._kernel.sched_state), *made.tidy]:
            self._kernel.write(write)
        self._layout.accept(made.change)

    def packet(
        self, frame: Frame, hook: str = "tc", *, device: str = "", gso_size: int = 0, mark: int = 0, priority: int = 0
    ) -> Out:
        """Give the frame to the program of *hook*, at *device* (default: the one with its destination MAC)."""
        ifindex = net.LO if hook == "lo" else socket.if_nametoindex(device or _device_of(frame))
        if hook == "xdp":
            ctx = struct.pack("<6I", 0, len(frame), 0, ifindex, 0, 0)
        else:
            fields = np.zeros((), _SK_BUFF)
            fields["ifindex"], fields["gso_size"] = ifindex, gso_size
            fields["mark"], fields["priority"] = mark, priority
            ctx = fields.tobytes()
        run = self._programs[_PROGRAMS[hook]].test_run(bytes(frame), ctx=ctx)
        return Out((_XDP if hook == "xdp" else _TC)[run.retval], Frame(run.data))

    def sweep(self) -> None:
        """Arm the expiry timer; it then never rests."""
        assert self._programs["xlvs_sweep"].test_run(bytes(64)).retval == 0

    def drops(self) -> dict[str, int]:
        """Return the drop reasons that were counted."""
        return {name: n for name, n in self._kernel.reasons().items() if n}

    def counters(self) -> dict[str, int]:
        """Return the counters that counted something."""
        return {name: n for name, n in self._kernel.counters().items() if n}

    def flows(self) -> list[Flow]:
        """Return the flows that are not idle for too long, by client address and port."""
        found = [self._flow(record) for part in self._kernel.flows.records() for record in part]
        return sorted(found, key=lambda flow: (flow.client, flow.virtual))

    def states(self) -> list[str]:
        """Return the states of all flows."""
        return [flow.state for flow in self.flows()]

    def live(self) -> int:
        """Return how many flows the table counts."""
        return self._kernel.live_flows()

    def held(self) -> int:
        """Return how many slots, of whichever kind, hold a flow, idle for too long or not."""
        lives = [self._maps[name].read()["flow"].ravel() for name in ("flows4", "flows6")]
        lives = [lives[0]["life"], lives[1]["low"]["life"], self._maps["flow_spill"].items()[1]["low"]["life"]]
        return sum(int(((life ^ abi.FLOW_FREE) & 15 < abi.FLOW_BUSY).sum()) for life in lives)

    def aliases(self) -> int:
        """Return how many local clients are known by another name."""
        return len(self._maps["flow_aliases"].items()[0])

    def load(self, server: str) -> tuple[int, int]:
        """Return active and inactive flows of the server ``10.0.0.1:8080``."""
        record = self._maps["loads"].get(self.number(server))
        return int(record["active"]), int(record["inactive"])

    def age(self, seconds: int) -> None:
        """Let what lblc and lblcr remember be so much older."""
        keys, values = self._maps["localities"].items()
        for name in ("used", "changed"):
            values[name] -= np.uint32(seconds)
        self._maps["localities"].write_at(keys, values)
        states = self._maps["sched_state"].read()
        states["cw"] -= np.where(states["cw"] == 0, 0, seconds)
        self._maps["sched_state"].write(0, states)

    def make_older(self, seconds: int) -> None:
        """Let all flows have had their last packet so long before."""
        make_older(self._maps, seconds * int(self._maps["config"].get(0)["hz"]))

    def idle(self) -> None:
        """Let no server have a load."""
        self._zero("loads", "overheads")

    def stats(self, server: str, key: str = "") -> tuple[int, ...]:
        """Return connections, packets in and out, bytes in and out of a server, of the service *key* if given."""
        return tuple(int(n) for n in self._kernel.stat("server", self.number(server, key)))

    def service_stats(self, key: str) -> tuple[int, ...]:
        """Return the same of a service."""
        return tuple(int(n) for n in self._kernel.stat("service", self._layout.services[_key(key)].id))

    def number(self, server: str, key: str = "") -> int:
        """Return the number of the server ``10.0.0.1:8080``, of the service *key* if given."""
        address, port = _end(server)
        rows = self._layout.rows
        found = (rows["addr"] == np.array([address], abi.ADDR)) & (rows["port"] == port)
        if key:
            found &= rows["service"] == self._layout.services[_key(key)].id
        return int(np.flatnonzero(found)[0])

    def _flow(self, record: Any) -> Flow:
        server = self._layout.server(int(record["server"]))
        assert server
        state = abi.FlowState(int(record["state"]))
        return Flow(
            (str(Address(bytes(record["client"]))), int(record["cport"])),
            (str(Address(bytes(record["virt"]))), int(record["vport"])),
            str(server[0]),
            STATE_NAMES[state],
            not state.active,
            bool(record["local"]),
            (int(record["in_bytes"]), int(record["out_bytes"])),
            int(record["idle"]),
        )


# struct __sk_buff of linux/bpf.h, as far as a test run lets us fill it in.
_SK_BUFF = np.dtype(
    {
        "names": ["mark", "priority", "ifindex", "gso_size"],
        "formats": ["<u4"] * 4,
        "offsets": [8, 32, 40, 176],
        "itemsize": 192,
    }
)


def real(family: int, forward: str = "nat", number: int = 1) -> str:
    """Return address and port at which real server *number* is reached."""
    return at(net.server(family, number), 8080 if forward == "nat" else 80)


def _mac_of(device: str) -> str:
    return {"outside": net.OUTSIDE_MAC, "inside": net.INSIDE_MAC, "tight": net.TIGHT_MAC}[device]


def _device_of(frame: Frame) -> str:
    to = frame[:6].hex(":")
    return next((name for name in DEVICES if _mac_of(name) == to), "outside")


def _key(text: str) -> ServiceKey:
    end, _, protocol = text.rpartition("/")
    return ServiceKey(protocol, *_end(end))


def _end(text: str) -> tuple[Address, int]:
    address, _, port = text.rpartition(":")
    return Address.parse(address.strip("[]")), int(port)


def _server(text: str) -> Server:
    match = re.fullmatch(
        r"(\S+) (nat|route|ipip|gue|gre)(?: w=(\d+))?(?: x=(\d+))?(?: y=(\d+))?(?: (none|full|remote))?", text
    )
    assert match, f"not a server: {text!r}"
    port = TUNNEL_PORT if match[2] == "gue" else 0
    weight, upper, lower, checksum = int(match[3] or 1), int(match[4] or 0), int(match[5] or 0), match[6] or "none"
    return Server(*_end(match[1]), match[2], weight, upper, lower, tunnel_port=port, tunnel_checksum=checksum)


def _source(server: Address) -> Address:
    return Address.parse(
        net.DIRECTOR[server.version].replace("10.0.", "10.1.").replace("fd00", "fd01")
        if str(server).startswith(("10.1.", "fd01"))
        else net.DIRECTOR[server.version]
    )
