"""What many services cost: applying all of them, changing one, listing; and what nftables takes for the same.

    ./dev bench scale [--services 10,1k,20k] [--servers 8] [--rounds N] [--json]

A cold apply begins with an empty director; a change gives one server of one service another weight; a list is what
``xlvsadm -Ln`` asks for.  *cpu* is the processor time of the daemon (of nft and of the kernel for it), *wall* what
the client waits.  nftables gets the same services as a map to one chain each with a numbered choice of servers, in
one transaction, as kube-proxy writes them; its change replaces one chain's rule.  Judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from _daemon import Daemon
from _figures import Row

UNITS = {"k": 1000}


def services(count: int, servers: int) -> list[dict[str, object]]:
    """Return that many services with that many real servers each, every server another address."""
    return [
        {
            "name": f"service-{i}",
            "listen": {"address": f"192.0.{i >> 8}.{i & 255}" if i < 1 << 16 else "", "port": 80, "protocol": "tcp"},
            "servers": [
                {"address": f"10.{i >> 8}.{i & 255}.{j + 1}", "port": 8080, "forward": "nat"} for j in range(servers)
            ],
        }
        for i in range(count)
    ]


def ours(count: int, servers: int) -> dict[str, float]:
    """Return the figures of xlvs for one round."""
    body = json.dumps({"services": services(count, servers)}, separators=(",", ":")).encode()
    figures: dict[str, float] = {}
    with Daemon() as daemon, daemon.client() as client:
        idle = daemon.rss_mib()

        def timed(name: str, act: Callable[[], object], times: int = 1) -> None:
            cpu, wall = daemon.cpu_s(), time.perf_counter()
            for _ in range(times):
                act()
            figures[f"{name} wall"] = (time.perf_counter() - wall) / times * 1000
            figures[f"{name} cpu"] = (daemon.cpu_s() - cpu) / times * 1000

        timed("apply", lambda: client.put("/v1/config", body, {"owner": "bench", "differences": "false"}))
        figures["memory"] = daemon.rss_mib()
        figures["memory idle"] = idle
        weights: Iterator[int] = iter(range(2, 1000))
        path = f"/v1/services/service-{count // 2}/servers/10.{count // 2 >> 8}.{count // 2 & 255}.1:8080"
        time.sleep(1)  # what follows an apply is over
        timed("change", lambda: client.patch(path, {"weight": next(weights)}), 50)
        timed("list", lambda: client.get("/v1/services", {"counters": "connections"}))
    return figures


def nftables(count: int, servers: int) -> dict[str, float]:
    """Return the figures of nftables for one round."""
    name = f"xlvs-bench-nft-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    figures: dict[str, float] = {}

    def timed(what: str, script: str, *words: str) -> None:
        before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            ["ip", "netns", "exec", name, "nft", *words], input=script, text=True, check=True, stdout=subprocess.DEVNULL
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures[f"{what} wall"] = (time.perf_counter() - wall) * 1000
        figures[f"{what} cpu"] = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000

    try:
        timed("apply", "".join(_ruleset(count, servers)), "-f", "-")
        timed("change", f"flush chain ip t s{count // 2}\n{_rule(count // 2, servers)}", "-f", "-")
        timed("list", "", "list", "ruleset")
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)
    return figures


def _ruleset(count: int, servers: int) -> Iterator[str]:
    yield "add table ip t\n"
    yield "add map ip t m { type ipv4_addr . inet_proto . inet_service : verdict ; }\n"
    for i in range(count):
        yield f"add chain ip t s{i}\n" + _rule(i, servers)
    for first in range(0, count, 500):
        elements = ", ".join(
            f"192.0.{i >> 8}.{i & 255} . tcp . 80 : goto s{i}" for i in range(first, min(first + 500, count))
        )
        yield f"add element ip t m {{ {elements} }}\n"
    yield "add chain ip t pre { type nat hook prerouting priority -100 ; }\n"
    yield "add rule ip t pre ip daddr . meta l4proto . th dport vmap @m\n"


def _rule(i: int, servers: int) -> str:
    choices = ", ".join(f"{j} : 10.{i >> 8}.{i & 255}.{j + 1} . 8080" for j in range(servers))
    return f"add rule ip t s{i} meta l4proto tcp dnat ip addr . port to numgen inc mod {servers} map {{ {choices} }}\n"


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="./dev bench scale", description="What many services cost.")
    parser.add_argument("--services", default="10,1k,20k", help="how many services, separated by commas")
    parser.add_argument("--servers", type=int, default=8, help="real servers per service")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    counts = [int(n.rstrip("k")) * (UNITS["k"] if n.endswith("k") else 1) for n in options.services.split(",")]
    rows = {(way, count): Row(f"{way} {count}") for count in counts for way in ("xlvs", "nftables")}
    for _ in range(options.rounds):
        for count in counts:
            rows["xlvs", count].add(ours(count, options.servers))
            rows["nftables", count].add(nftables(count, options.servers))
    if options.json:
        print(json.dumps({row.name: row.rounds for row in rows.values()}, indent=2))
        return 0
    _print(rows, counts, options.servers)
    return 0


def _print(rows: dict[tuple[str, int], Row], counts: list[int], servers: int) -> None:
    load = os.getloadavg()[0]
    print(f"# Linux {platform.release()}, {os.cpu_count()} CPUs, load {load:.1f}; {servers} servers per service; ms")
    heads = [f"{f'{what} cpu':>{width}} {'wall':>8}" for what, width in (("apply", 10), ("change", 10), ("list", 9))]
    print(f"{'services':>8}  {'':8}  {'  '.join(heads)}  MiB")
    for count in counts:
        for way in ("xlvs", "nftables"):
            row = rows[way, count]
            cells = [row.median(f"{what} {kind}") for what in ("apply", "change", "list") for kind in ("cpu", "wall")]
            memory = f"{row.median('memory'):.0f} ({row.median('memory idle'):.0f} empty)" if way == "xlvs" else ""
            print(
                f"{count:>8}  {way:8}  {cells[0]:>10.1f} {cells[1]:>8.1f}  {cells[2]:>10.2f} {cells[3]:>8.2f}  "
                f"{cells[4]:>9.1f} {cells[5]:>8.1f}  {memory}"
            )
        ratios = [
            rows["xlvs", count].ratio(f"{what} {kind}", rows["nftables", count])
            for what in ("apply", "change", "list")
            for kind in ("cpu", "wall")
        ]
        text = [f"{ratio:.2f}" if ratio is not None else "-" for ratio in ratios]
        print(f"{'':8}  {'ratio':8}  {text[0]:>10} {text[1]:>8}  {text[2]:>10} {text[3]:>8}  {text[4]:>9} {text[5]:>8}")


if __name__ == "__main__":
    sys.exit(main())
