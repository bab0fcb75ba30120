"""Very many flows: listing them, picking some, counting them; and reading as many entries of a kernel hash map.

    ./dev bench flows [--flows 1M,8M] [--rounds N] [--json]

The table is filled through a mapping of its own pinned maps, with flows that no packet has; the lists are printed to
/dev/null.  *daemon* and *client* are the processor seconds of the two processes, *wall* what the client waits, *other*
the longest that a client with a small question (/v1/timeouts) waited meanwhile.  The peer, in the same rounds, is a
preallocated hash map of as many entries (16 bytes of key, 32 of value), read by BPF_MAP_LOOKUP_BATCH into numpy
arrays: nothing is chosen, spelled or sent of it.  Judges nothing.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from _daemon import Daemon
from _director import put_loads
from _figures import Row

from xlvs.dataplane import Map, syscalls
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.uapi import MapType
from xlvs.model import Address

UNITS = {"k": 10**3, "M": 10**6}
SERVERS = 64
VIP = "192.0.2.1"
PEER = "hash map, read in batches"
_PAUSE_S = 0.02

SCRIPTS = Path(sys.executable).parent
TASKS = {
    "xlvs get flows -o json": ("xlvs", "get", "flows", "-o", "json"),
    "xlvs get flows": ("xlvs", "get", "flows"),
    "xlvsadm -Lnc": ("xlvsadm", "-Lnc"),
    "xlvs get flows --server (1 of 64)": ("xlvs", "get", "flows", "--server", "10.0.0.7:80"),
    "xlvs get flows --client (a /16)": ("xlvs", "get", "flows", "--client", "100.65.0.0/16"),
    "xlvs get flows --sort bytes --limit 10": ("xlvs", "get", "flows", "--sort", "bytes", "--limit", "10"),
    "xlvs get flows --count": ("xlvs", "get", "flows", "--count"),
    "xlvs get flows --count --by client/24": ("xlvs", "get", "flows", "--count", "--by", "client/24"),
}


def fill(daemon: Daemon, count: int) -> None:
    """Write that many IPv4 flows into random slots of the daemon's table, and as many into the loads of its servers."""
    rng = np.random.default_rng(count)
    maps = {
        name: _pinned(daemon, name)
        for name in ("flows4", "flow_stripes", "servers", "loads", "overheads", "sweep", "config")
    }
    numbers = np.flatnonzero(maps["servers"].read()["proto"]).astype(np.uint32)
    at, hz = maps["sweep"].get(0), int(maps["config"].get(0)["hz"])
    now = int(at["jiffies"]) + (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - int(at["ns"])) * hz // 10**9
    buckets = maps["flows4"]
    memory = mmap.mmap(buckets.fd, buckets.max_entries * buckets.value_dtype.itemsize)
    slots = np.frombuffer(memory, abi.FLOW, buckets.max_entries * abi.WAYS)
    chosen = rng.permutation(len(slots))[:count]
    state = int(abi.FlowState.ESTABLISHED) ^ abi.FLOW_FREE
    whose = rng.integers(len(numbers), size=count)
    rows = np.zeros(count, abi.FLOW)
    first = int.from_bytes(Address.parse("100.64.0.0").packed, "big")
    rows["client"] = (first + rng.integers(1 << 22, size=count)).astype(">u4").view("<u4")
    rows["cport"], rows["vport"] = rng.integers(1024, 65536, size=count), 80
    rows["virt"] = np.frombuffer(Address.parse(VIP).packed, "<u4")[0]
    rows["seen"] = (now - rng.integers(300 * hz, size=count)) & 0xFFFFFFFF
    rows["in_bytes"], rows["out_bytes"] = rng.integers(1 << 20, size=count), rng.integers(1 << 28, size=count)
    rows["life"] = numbers[whose] << np.uint32(abi.FLOW_SERVER_SHIFT) | np.uint32(state)
    slots[chosen] = rows
    stripes = maps["flow_stripes"].read()
    stripes["used"] = 1
    maps["flow_stripes"].write(0, stripes)
    loads = maps["loads"].read()
    loads["active"][numbers] += np.bincount(whose, minlength=len(numbers)).astype(np.int32)
    put_loads(maps, loads)


def _pinned(daemon: Daemon, name: str) -> Map:
    dtypes = {"flows4": abi.BUCKET, "flow_stripes": abi.STRIPE, "servers": abi.SERVER}
    dtypes |= {"loads": abi.LOAD, "overheads": abi.PAGE, "sweep": abi.SWEEP, "config": abi.CONFIG}
    return Map(name, syscalls.obj_get(daemon.maps / name), np.dtype("<u4"), dtypes[name])


def measure(daemon: Daemon, words: tuple[str, ...]) -> dict[str, float]:
    """Run one command and return what it took, and the longest that a small question had to wait meanwhile."""
    over, waited = threading.Event(), [0.0]

    def ask() -> None:
        with daemon.client() as client:
            while not over.wait(_PAUSE_S):
                began = time.perf_counter()
                client.get("/v1/timeouts")
                waited[0] = max(waited[0], time.perf_counter() - began)

    thread = threading.Thread(target=ask)
    before, cpu, wall = resource.getrusage(resource.RUSAGE_CHILDREN), daemon.cpu_s(), time.perf_counter()
    thread.start()
    command = [str(SCRIPTS / words[0]), *words[1:]]
    try:
        subprocess.run(command, env=daemon.env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        wall = time.perf_counter() - wall
        over.set()
        thread.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    client = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {"daemon": daemon.cpu_s() - cpu, "client": client, "wall": wall, "other": waited[0]}
    return {**figures, "cpu": figures["daemon"] + client}


class Peer:
    """A kernel hash map with *count* entries."""

    def __init__(self, count: int) -> None:
        key, value = np.dtype([("a", "<u8"), ("b", "<u8")]), np.dtype((np.void, 32))
        fd = syscalls.map_create(MapType.HASH, key.itemsize, value.itemsize, count, name="bench_peer")
        self._map = Map("bench_peer", fd, key, value)
        for first in range(0, count, 1 << 18):
            keys = np.zeros(min(1 << 18, count - first), key)
            keys["a"] = np.arange(first, first + len(keys))
            self._map.write_at(keys, np.zeros(len(keys), value))

    def measure(self) -> dict[str, float]:
        """Read all of it."""
        cpu, wall = time.process_time(), time.perf_counter()
        self._map.items()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"daemon": 0.0, "client": cpu, "wall": wall, "cpu": cpu}

    def close(self) -> None:
        """Let it go."""
        self._map.close()


def measured(count: int, rounds: int) -> list[Row]:
    """Return what each task took with *count* flows."""
    rows = {name: Row(name) for name in (*TASKS, PEER)}
    peer = Peer(count)
    try:
        # Enough room for the flows, and for one of IPv6.
        with Daemon("--flows", str(count), "--flows6", "1") as daemon, daemon.client() as client:
            servers: list[Any] = [{"address": f"10.0.0.{i + 1}", "port": 80, "forward": "nat"} for i in range(SERVERS)]
            listen = {"protocol": "tcp", "address": VIP, "port": 80}
            client.post("/v1/services", {"listen": listen, "servers": servers})
            for _ in range(rounds):
                fill(daemon, count)
                found = client.get("/v1/flows/count")["flows"]
                if found < count:
                    raise SystemExit(f"the table has {found} flows, not {count}")
                idle = daemon.rss_mib()
                for name, words in TASKS.items():
                    rows[name].add(measure(daemon, words))
                    rows[name].add({"MiB": daemon.rss_mib() - idle})
                rows[PEER].add(peer.measure())
    finally:
        peer.close()
    return list(rows.values())


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="./dev bench flows", description="What listing very many flows costs.")
    parser.add_argument("--flows", default="1M,8M", help="how many flows, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    counts = [int(n.rstrip("kM")) * UNITS.get(n[-1], 1) for n in options.flows.split(",")]
    load = os.getloadavg()[0]
    if not options.json:
        print(
            f"# Linux {platform.release()}, {os.cpu_count()} CPUs, load before {load:.1f}, {options.rounds} rounds; s"
        )
    found = {}
    for count in counts:
        found[count] = measured(count, options.rounds)
        if not options.json:
            _print(count, found[count])
            sys.stdout.flush()
    if options.json:
        print(json.dumps({count: {row.name: row.rounds for row in rows} for count, rows in found.items()}, indent=2))
    return 0


def _print(count: int, rows: list[Row]) -> None:
    peer = rows[-1]
    titles = ("daemon", "client", "CPU", "/peer", "wall", "other", "MiB")
    print(f"{f'{count} flows':<40}" + "".join(f"{title:>8}" for title in titles))
    for row in rows:
        cells = [f"{row.median(figure):.2f}" for figure in ("daemon", "client", "cpu")]
        cells += [f"{row.ratio('cpu', peer) or 0:.2f}", f"{row.median('wall'):.2f}"]
        if row is not peer:
            cells += [f"{row.median('other'):.3f}", f"{row.median('MiB'):.0f}"]
        print(f"{row.name:<40}" + "".join(f"{cell:>8}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
