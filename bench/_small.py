"""Small frames through the director, as a network card would deliver them: one by one, without an skb.

A BPF program makes frames of 60 bytes (UDP with a checksum, flows in turn) and sends them out of the client's veth
as XDP frames; the director's end polls and hands each to its XDP program, or makes an skb of it as a driver does.
What arrives at the server is counted and dropped by an XDP program there.  Sender, director and receiver share one
CPU, so a figure holds all three; the way ``no director`` shows what sender and receiver take, and ``xdp redirect``
what is left of the director if its XDP program does nothing but send the frame on.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _figures import Column, Row
from _load import check_hook
from _net import CLIENT, FRONT_MAC, SERVER, SERVER_MAC, Net, batch
from _ways import NFTABLES, PLAIN, WAYS, Way

from xlvs.dataplane import Loaded, Loader, syscalls
from xlvs.dataplane.uapi import AttachType
from xlvs.demo import netns
from xlvs.errors import HostError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import build_bpf

LIVE_FRAMES = 1 << 1  # BPF_F_TEST_XDP_LIVE_FRAMES, include/uapi/linux/bpf.h
FRAME = 60
SOURCE = Path(__file__).with_name("small.bpf.c")
BATCH = 1 << 18
"""Frames per system call."""

NO_DIRECTOR = Way("no director", lambda _net: None, address=SERVER)
REDIRECT = Way("xdp redirect", lambda _net: None)
BARE = (NO_DIRECTOR, REDIRECT, PLAIN, NFTABLES)
SMALL = (NO_DIRECTOR, REDIRECT, *(way for way in WAYS if way in (PLAIN, NFTABLES) or way.hook))


@dataclass
class Stand:
    """One way, standing, and the programs at its ends."""

    way: Way
    row: Row
    net: Net
    ends: Loaded
    forwarded: Callable[[], str] | None = None

    def measure(self, seconds: float) -> None:
        """Send for *seconds* and keep what arrived.  Raises `HostError` if more than a hundredth did not."""
        sent, arrived, spent = netns.inside(self.net.client, lambda: self._send(seconds))
        if arrived < 0.99 * sent:
            raise HostError(f"{self.way.name}: of {sent} frames only {arrived} arrived")
        self.row.add({"mpps": arrived / spent / 1e6, "ns": 1e9 * spent / arrived})

    def _send(self, seconds: float) -> tuple[int, int, float]:
        send, length = self.ends.programs["send"], FRAME + room(self.way)
        context = struct.pack("<6I", 0, length, 0, 0, 0, 0)
        before, begin = self._count(), time.monotonic()
        sent = 0
        while (spent := time.monotonic() - begin) < seconds:
            send.test_run(bytes(length), ctx=context, repeat=BATCH, flags=LIVE_FRAMES)
            sent += BATCH
        return sent, self._count() - before, spent

    def _count(self) -> int:
        return int(self.ends.maps["received"].total(0))


def main(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[Row], Sequence[Column]]:
    """Measure all ways in turns."""
    with contextlib.ExitStack() as stack:
        program = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "small.bpf.o"
        build_bpf.compile_one(SOURCE, program)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        stands = []
        for way in SMALL:
            if options.only.lower() in way.name.lower() or way in BARE:
                say(f"setting up {way.name}")
                stands.append(stand_up(way, program, options.flows, stack))
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            # Another one begins each time: whoever is first would always follow the same neighbour.
            for stand in stands[number % len(stands) :] + stands[: number % len(stands)]:
                stand.measure(options.seconds)
        for stand in stands:
            check_hook(stand.way, stand.forwarded)
        wire = stands[0].row.rounds["ns"]
        for stand in stands:
            net = (own - other for own, other in zip(stand.row.rounds["ns"], wire, strict=True))
            stand.row.rounds["net"] = list(net)
    bases = (PLAIN.name, NFTABLES.name)
    return [stand.row for stand in stands], (
        Column("mpps", "Mpackets/s", digits=2, bases=bases),
        Column("ns", "ns/packet", digits=0),
        Column("net", "director's ns", digits=0, bases=bases[1:]),
    )


def stand_up(way: Way, program: Path, flows: int, stack: contextlib.ExitStack) -> Stand:
    """Set *way* up until *stack* closes, and open its flows."""
    net = stack.enter_context(Net(straight=way.straight))
    ends = Loader([program]).load()
    stack.callback(ends.close)
    # A card's driver polls and its hardware has verified the checksum; a veth polls if GRO is on.
    net.gro(net.director, "front")
    batch(f"neighbour replace {SERVER} lladdr {SERVER_MAC} dev back nud permanent\n", net.director)
    netns.inside(net.director, lambda: Path("/proc/sys/net/netfilter/nf_conntrack_checksum").write_text("0"))
    forwarded = way.set_up(net)
    hooks = [("receive", net.director, "front") if way is NO_DIRECTOR else ("receive", net.server, "eth0")]
    if way is REDIRECT:
        hooks.append(("redirect", net.director, "front"))
    for name, namespace, device in hooks:
        stack.callback(os.close, attach(ends.programs[name].fd, namespace, device))
    ends.maps["job"].put(0, job(ends, way, net, flows))
    stand = Stand(way, Row(way.name), net, ends, forwarded)
    stand.measure(0.2)
    stand.row.rounds.clear()
    return stand


def attach(program: int, namespace: str, device: str) -> int:
    """Put *program* on *device* of *namespace* and return the link's descriptor, which holds it there."""
    return netns.inside(namespace, lambda: syscalls.link_create(program, socket.if_nametoindex(device), AttachType.XDP))


def job(ends: Loaded, way: Way, net: Net, flows: int) -> Any:
    """Return what `send` of small.bpf.c is to do for *way*."""
    target = ipaddress.ip_address(way.address).packed
    client = ipaddress.ip_address(CLIENT).packed
    mac = bytes.fromhex((FRONT_MAC + FRONT_MAC).replace(":", ""))
    payload = bytes(FRAME - 42)
    udp = struct.pack(">HHHH", 0, way.port, 8 + len(payload), 0)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp + payload), 0, 0x4000, 64, 17, 0) + bytes(4) + target
    pseudo = target + struct.pack(">HH", 17, len(udp + payload))
    value = np.zeros((), ends.maps["job"].value_dtype)
    value["room"] = room(way)
    value["mask"], value["client"] = flows - 1, int.from_bytes(client, "little")
    value["ifindex"] = netns.inside(net.client, lambda: socket.if_nametoindex("eth0"))
    value["next"] = netns.inside(net.director, lambda: socket.if_nametoindex("back"))
    value["mac"] = np.frombuffer(bytes.fromhex(SERVER_MAC.replace(":", "")), "<u2")
    value["ip_sum"], value["udp_sum"] = words(ip), words(pseudo + udp + payload)
    value["head"] = np.frombuffer(mac + b"\x08\x00" + ip + udp + payload[:2], "<u4")
    return value


def room(way: Way) -> int:
    """Return how many bytes *way* puts in front of a packet that is an skb; only an skb would be copied for them."""
    return 20 if way.hook == "tc" and way.name.endswith("ipip") else 0


def words(data: bytes) -> int:
    """Return the sum of the 16-bit words of *data* as they lie in memory."""
    return int(np.frombuffer(data, "<u2").sum(dtype=np.uint32))
