"""A director without a network behind it: one service, its flows, and packets given by test run.

Lives in a network namespace that `enter` makes for this process.  Writes the maps itself, so that what is measured
is the data plane alone.  Every run is checked afterwards: there is no figure unless every packet was forwarded by
its flow.
"""

from __future__ import annotations

import ctypes
import ipaddress
import mmap
import os
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xlvs.daemon.kernel import Kernel
from xlvs.dataplane import Loader, Map, hint_bits
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import table_sizes
from xlvs.model import Address

CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
TCP, SYN, ACK = 6, 0x02, 0x10

SERVERS = 4
CHASE_STEPS = 256  # STEPS in program.bpf.c
VPORT, PORT = 80, 8080
FRONT_MAC, BACK_MAC, FAR_MAC = "020000000001", "020000000002", "020000000003"


@dataclass(frozen=True)
class Family:
    """The addresses of one family; clients and servers count up from the first.

    Virtual address and servers differ in their last four bytes, which are all that the wrapper puts back.
    """

    client: str
    virt: str
    server: str
    source: str
    elsewhere: str
    header: int


FAMILIES = {
    4: Family("100.64.0.0", "192.0.2.1", "10.0.0.4", "10.0.0.254", "192.0.2.9", 20),
    6: Family("2001:db8:c::", "2001:db8:b::f:1", "2001:db8:b::4", "2001:db8:b::fe", "2001:db8:b::f:9", 40),
}

NETWORK = """
link set lo up
link add front address 02:00:00:00:00:01 type veth peer name front-far
link add back address 02:00:00:00:00:02 type veth peer name back-far
link set front-far up
link set back-far up
link set front up
link set back up
address add 198.51.100.1/24 dev front
address add 192.0.2.1/32 dev front
address add 10.0.0.254/16 dev back
address add 2001:db8:a::1/64 dev front nodad
address add 2001:db8:b::f:1/128 dev front nodad
address add 2001:db8:b::fe/64 dev back nodad
neighbour replace 198.51.100.254 lladdr 02:00:00:00:00:03 dev front nud permanent
neighbour replace 2001:db8:a::fe lladdr 02:00:00:00:00:03 dev front nud permanent
route replace 100.64.0.0/10 via 198.51.100.254 dev front
route replace 100.128.0.0/9 via 198.51.100.254 dev front
route replace 2001:db8:c::/64 via 2001:db8:a::fe dev front
"""


def enter(servers: int = SERVERS) -> None:
    """Move this process into a network namespace of its own, with an interface each way and known neighbours.

    The namespace has no name and ends with the process.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", name).write_text("1")
    lines = NETWORK
    for family in FAMILIES.values():
        first = ipaddress.ip_address(family.server)
        for number in range(servers):
            lines += f"neighbour replace {first + number} lladdr 02:00:00:00:00:03 dev back nud permanent\n"
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)


@dataclass(frozen=True)
class Case:
    """What a packet meets: *hook* is xdp or tc, *family* 4 or 6, *kind* nat, reply, route, ipip or pass.

    *table* is where flows are: the director's own table, or for comparison a kernel hash or LRU hash (IPv4, XDP).
    """

    hook: str
    family: int
    kind: str
    table: str = "xlvs"

    @property
    def wrapper(self) -> str:
        """The program of program.bpf.c that prepares the packets."""
        return f"{self.hook}_{self.kind}{self.family}"

    @property
    def program(self) -> str:
        """The program under test."""
        return "xlvs_xdp" if self.hook == "xdp" else "xlvs_in"

    @property
    def method(self) -> str:
        """The service's forwarding method."""
        return self.kind if self.kind in ("route", "ipip") else "nat"

    @property
    def plain(self) -> Case:
        """The case whose wrapper needs nothing undone by the program: that of ipip takes the outer header off."""
        return Case(self.hook, self.family, "route", self.table) if self.kind == "ipip" else self

    @property
    def opener(self) -> Case:
        """The case whose packets open the flows of this one."""
        return Case(self.hook, self.family, self.method, self.table)


class Director:
    """A loaded data plane whose one service has *flows* flows (a power of two).

    `new` opens *batch* (a power of two) more at a time.
    """

    def __init__(self, objects: Sequence[Path], case: Case, flows: int, batch: int) -> None:
        self.case, self.flows, self.batch = case, flows, batch
        room = max(flows + batch, 1 << 12)
        loader = Loader(objects, sizes=self._sizes(room))
        names = {case.wrapper, case.plain.wrapper, case.opener.wrapper, case.program, f"{case.hook}_nothing"}
        names |= {self.reply.wrapper} if case.method == "nat" else set()
        names |= {f"xdp_{word}" for word in ("hash", "fib4", "fib6", "chase")} if case.hook == "xdp" else set()
        loaded = loader.load(programs=names)
        self._maps, self._programs, self._close = loaded.maps, loaded.programs, loaded.close
        self._configure()
        if case.kind != "pass":
            # In order: visited in another order later, they are no stroll for a prefetcher.
            self._run(case.opener, SYN, 0, flows, flows, shuffled=False, opens=True)
            self._run(case.opener, ACK, 0, flows, flows, shuffled=False)

    def close(self) -> None:
        """Let go of programs and maps."""
        self._close()

    @property
    def reply(self) -> Case:
        """The case of the servers' packets."""
        return Case(self.case.hook, self.case.family, "reply", self.case.table)

    def _sizes(self, room: int) -> dict[str, int]:
        """Return how large the maps are: the family that is not looked at has little room, a hash twice its entries."""
        if self.case.table != "xlvs":
            return {**table_sizes(16), "hash_flows": 2 * room * (2 if self.case.method == "nat" else 1)}
        small, large = table_sizes(16), table_sizes(room)
        stripes = small["flow_stripes"] // 2 + large["flow_stripes"] // 2
        other = f"flows{10 - self.case.family}"
        chased = {"lines": 1 << 23} if self.case.kind == "pass" and self.case.hook == "xdp" else {}
        return large | {other: small["flows4"], "flow_stripes": stripes} | chased

    def known(self, repeat: int, *, reply: bool = False, work: bool = False) -> int:
        """Return ns per packet of the flows that are there, each in turn; of replies; with work after each.

        Each flow had a packet shortly before, as flows in use have: since then it remembers its next hop.
        """
        case = self.reply if reply else self.case
        self._run(case, ACK, 0, self.flows, repeat)
        return self._run(case, ACK, 0, self.flows, repeat, work=work)

    def new(self) -> int:
        """Return ns per packet that opens a flow, the mean of a batch; afterwards the flows are taken away again."""
        try:
            return self._run(self.case, SYN, self.flows, self.batch, self.batch, opens=True)
        finally:
            self._forget()

    def chase(self, lines: int) -> float:
        """Return ns per step along so many lines of 64 bytes, in random order."""
        chase = self._maps["lines"]
        order = np.random.default_rng(1).permutation(lines).astype(np.uint32)
        with mmap.mmap(chase.fd, lines * 64) as memory:
            table = np.frombuffer(memory, np.uint32).reshape(lines, 16)
            table[order, 0] = np.roll(order, -1)
            del table
        return self._programs["xdp_chase"].test_run(bytes(64), repeat=1 << 10).duration_ns / CHASE_STEPS

    def wrapper(self, repeat: int, program: str = "nothing", *, work: bool = False) -> int:
        """Return what the wrapper costs: ns per packet with a program that returns at once.

        *program*: ``hash`` or ``fib4``, ``fib6`` (XDP only) for one that makes one such lookup.
        """
        name = f"{self.case.hook}_{program}"
        return self._run(self.case.plain, ACK, 0, self.flows, repeat, program=name, work=work)

    def _configure(self) -> None:
        """Write a service and its servers as the daemon would."""
        maps, family = self._maps, FAMILIES[self.case.family]
        virt, method = _packed(family.virt), abi.Fwd[self.case.method.upper()]
        _put(maps["sample"], np.zeros((), maps["sample"].key_dtype))
        Kernel(maps).begin_table()
        Kernel(maps).configure({"tcp": 3600, "tcpfin": 3600, "udp": 3600}, 0, 1000)
        for name, mac in (("front", FRONT_MAC), ("back", BACK_MAC)):
            index = socket.if_nametoindex(name)
            own = {"ifindex": index, "flags": abi.IF_XMIT, "mac": list(bytes.fromhex(mac))}
            _put(maps["interfaces"], index % abi.MAX_INTERFACES, **own)
        service = _record(abi.SERVICE, n=SERVERS, max_weight=1, gcd=1, sched=abi.Sched.WLC, present=1)
        _put(maps["services"], (virt, VPORT, TCP, 0), now=service)
        maps["addrs"].put(virt, abi.ADDR_VIP)
        self._hint(virt, abi.ADDR_VIP)
        choices = [n | method << abi.CHOICE_FWD_SHIFT for n in range(SERVERS)]
        empty = [(0, 0)] * (abi.SLOTS_PER_BLOCK - SERVERS)
        _put(maps["slots"], 0, slot=[*((choice, 1) for choice in choices), *empty])
        for number in range(SERVERS):
            own = {"addr": _packed(family.server, number), "src": _packed(family.source), "port": self._port}
            _put(
                maps["servers"],
                number,
                **own,
                **{"virt": virt, "vport": VPORT, "proto": TCP},
                **{"life": abi.LIFE_LIVE, "fwd": method},
            )
            if method == abi.Fwd.NAT:
                maps["addrs"].put(own["addr"], abi.ADDR_SERVER)
                self._hint(own["addr"], abi.ADDR_SERVER)
                maps["nat_servers"].put((own["addr"], own["port"], TCP, 0), number)

    def _hint(self, address: bytes, flags: int) -> None:
        (word,), (bits,) = hint_bits([address], [flags])
        self._maps["addr_hints"].put(word, self._maps["addr_hints"].get(word) | bits)

    @property
    def _port(self) -> int:
        return PORT if self.case.method == "nat" else VPORT

    def _run(
        self,
        case: Case,
        flags: int,
        first: int,
        count: int,
        repeat: int,
        *,
        shuffled: bool = True,
        opens: bool = False,
        program: str = "",
        work: bool = False,
    ) -> int:
        """Give *repeat* packets to flows *first* ... *first* + *count* - 1, by default in a shuffled order.

        Return the mean ns.  Raises `RuntimeError` unless all of them ended as they should.
        """
        self._prepare(case, first, count, shuffled, work)
        self._maps[f"{case.hook}_measured"].put(0, self._programs[program or case.program].fd)
        forwarded = repeat if case.kind != "pass" and not program else 0
        data, before = packet(case, flags), self._counted()
        run = self._programs[case.wrapper].test_run(data, ctx=context(case, len(data)), repeat=repeat)
        verdicts = {"xdp": (2, 4), "tc": (0, 7)}[case.hook]  # pass, redirect
        want = (before[0] + forwarded, before[1] + repeat * opens, 0, verdicts[forwarded > 0])
        if (got := (*self._counted(), run.retval)) != want:
            raise RuntimeError(f"{case}: (forwarded, opened, stateless, verdict) is {got}, should be {want}")
        return run.duration_ns

    def _prepare(self, case: Case, first: int, count: int, shuffled: bool, work: bool) -> None:
        """Tell the wrapper which flows to visit."""
        family = FAMILIES[case.family]
        bits = count.bit_length() - 1
        _put(
            self._maps["bench"],
            0,
            **{"first": first, "mask": count - 1, "servers": SERVERS - 1},
            **({"mul": 0x9E3779B1, "shift": max(1, bits // 2)} if shuffled else {"mul": 1, "shift": 63}),
            **{name: _last_word(getattr(family, name)) for name in ("client", "server", "virt")},
            **{"vport": VPORT, "port": self._port},
            mac=struct.unpack("<3H", bytes.fromhex(_entry(case)[1])),
            work=work,
        )

    def _counted(self) -> tuple[int, int, int]:
        """Return how many packets were forwarded, flows opened, and packets forwarded without a flow."""
        hook = abi.Counter.XDP_FORWARDED if self.case.hook == "xdp" else abi.Counter.TC_FORWARDED
        totals = self._maps["counters"].totals()
        return int(totals[hook]), int(totals[abi.Counter.FLOW_OPENED]), int(totals[abi.Counter.STATELESS])

    def _forget(self) -> None:
        """Take what `new` opened out of the table again."""
        if self.case.table != "xlvs":
            self._forget_hashed()
            return
        maps, first = self._maps, _last_word(FAMILIES[self.case.family].client) + self.flows
        loads = maps["loads"].read(0, SERVERS).copy()
        name = f"flows{self.case.family}"
        with mmap.mmap(maps[name].fd, maps[name].max_entries * maps[name].value_dtype.itemsize) as memory:
            slots = np.frombuffer(memory, abi.FLOW if self.case.family == 4 else abi.FLOW6)
            low = slots if self.case.family == 4 else slots["low"]
            mine = np.flatnonzero((low["client"].byteswap() >= first) & (low["life"] & abi.FLOW_FREE != 0))
            loads["active"] -= np.bincount(low["life"][mine] >> abi.FLOW_SERVER_SHIFT, minlength=SERVERS).astype("i4")
            low["life"][mine] = 0
            del slots, low
        keys, values = maps["flow_spill"].items()
        mine = values["low"]["client"].byteswap() >= first
        loads["active"] -= np.bincount(values["low"]["life"][mine] >> abi.FLOW_SERVER_SHIFT, minlength=SERVERS).astype(
            "i4"
        )
        maps["flow_spill"].delete_many(keys[mine])
        put_loads(maps, loads)

    def _forget_hashed(self) -> None:
        """Take what `new` opened out of the hash again: the flows of *batch* clients, in both directions."""
        table, numbers = self._maps["hash_flows"], np.arange(self.flows, self.flows + self.batch, dtype=np.uint32)
        keys = np.zeros(self.batch, table.key_dtype)
        family = FAMILIES[4]
        keys["client"] = (_last_word(family.client) + numbers).byteswap()
        cport = (0x8000 | numbers & 0x7FFF).astype(np.uint16).byteswap().astype(np.uint32)
        keys["proto"] = TCP
        keys["other"] = np.uint32(_last_word(family.virt)).byteswap()
        keys["ports"] = cport | np.uint32(VPORT).astype(np.uint16).byteswap().astype(np.uint32) << np.uint32(16)
        servers = np.zeros(SERVERS, np.int32)
        lives = np.array([table.get(key)["life"] for key in keys], np.uint32)
        servers += np.bincount(lives >> np.uint32(abi.FLOW_SERVER_SHIFT), minlength=SERVERS).astype(np.int32)
        table.delete_many(keys)
        if self.case.method == "nat":
            rows = self._maps["servers"].read(0, SERVERS)
            chosen = rows[lives >> np.uint32(abi.FLOW_SERVER_SHIFT)]
            keys["other"] = np.ascontiguousarray(chosen["addr"]).view(np.uint32).reshape(-1, 4)[:, 3]
            keys["ports"] = cport | chosen["port"].astype(np.uint16).byteswap().astype(np.uint32) << np.uint32(16)
            keys["reply"] = 1
            table.delete_many(keys)
        loads = self._maps["loads"].read(0, SERVERS).copy()
        loads["active"] -= servers
        put_loads(self._maps, loads)


def put_loads(maps: Mapping[str, Map], loads: Any) -> None:
    """Write the loads of the first servers, and their overheads with them."""
    maps["loads"].write(0, loads)
    pages = maps["overheads"].read().copy()
    count = -(-len(loads) // abi.PAGE_SERVERS)
    overheads = pages["overhead"][:count].reshape(-1)
    overheads[: len(loads)] = 256 * loads["active"] + loads["inactive"]
    pages["overhead"][:count] = overheads.reshape(count, -1)
    maps["overheads"].write(0, pages)


def packet(case: Case, flags: int) -> bytes:
    """Return a TCP segment of this case, as its program last left it: with ipip, the outer header is still there."""
    family = FAMILIES[case.family]
    ends = {"reply": (family.server, family.client), "pass": (family.client, family.elsewhere)}
    source, target = (ipaddress.ip_address(end).packed for end in ends.get(case.kind, (family.client, family.virt)))
    ports = (PORT, 0x8000) if case.kind == "reply" else (0x8000, VPORT)
    segment = struct.pack(">HHIIBBHHH", *ports, 1, 1, 5 << 4, flags, 65535, 0x3412, 0)
    if case.family == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, TCP, 0x3412) + source + target
    else:
        head = struct.pack(">IHBB", 6 << 28, 20, TCP, 64) + source + target
    ethernet = bytes.fromhex(_entry(case)[1] + FAR_MAC + ("0800" if case.family == 4 else "86dd"))
    outer = bytes(family.header) if case.kind == "ipip" else b""
    if case.hook == "tc" and outer:
        # The kernel looks at the protocol of the packet that it is given.
        outer = bytes([0x45 if case.family == 4 else 0x60]) + outer[1:]
        return ethernet + outer + head + segment
    return outer + ethernet + head + segment


def _entry(case: Case) -> tuple[str, str]:
    """Return the interface by which packets of this case come in, and its MAC."""
    return ("back", BACK_MAC) if case.kind == "reply" else ("front", FRONT_MAC)


def context(case: Case, length: int) -> bytes:
    """Return the context of a test run: ``struct xdp_md`` or the beginning of ``struct __sk_buff``."""
    index = socket.if_nametoindex(_entry(case)[0])
    if case.hook == "xdp":
        return struct.pack("<6I", 0, length, 0, index, 0, 0)
    return bytes(40) + struct.pack("<I", index) + bytes(148)


def _put(target: Map, key: Any, **fields: Any) -> None:
    """Write a value of which only *fields* are not zero."""
    target.put(key, _record(target.value_dtype, **fields))


def _record(dtype: np.dtype[Any], **fields: Any) -> Any:
    value = np.zeros((), dtype)
    for name, field in fields.items():
        value[name] = field
    return value


def _packed(address: str, number: int = 0) -> bytes:
    return Address.parse(str(ipaddress.ip_address(address) + number))


def _last_word(address: str) -> int:
    return int(ipaddress.ip_address(address)) & 0xFFFFFFFF
