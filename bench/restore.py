"""How long restoring many services takes: ``xlvsadm -R``, ``xlvsadm -R --atomic`` and ``xlvs apply``, whole commands.

    ./dev bench restore [--services 20k] [--servers 8] [--rounds N] [--json]

Each begins with an empty director and gets the same services: as rules of ``xlvsadm -S``, or as a file.  *wall* is what
the shell waits, *client* the processor time of the command, *daemon* that of the daemon.  Ways take turns.  Judges
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _daemon import Daemon
from _figures import Row
from scale import UNITS, services

WAYS = {
    "xlvsadm -R": ("xlvsadm", "-R"),
    "xlvsadm -R --atomic": ("xlvsadm", "-R", "--atomic"),
    "xlvs apply": ("xlvs", "apply", "-"),
}


def rules(count: int, servers: int) -> str:
    """Return that many services in the form of ``xlvsadm -S -n``."""
    lines = []
    for service in services(count, servers):
        listen: dict[str, object] = service["listen"]  # type: ignore[assignment]
        real: list[dict[str, object]] = service["servers"]  # type: ignore[assignment]
        name = f"-t {listen['address']}:{listen['port']}"
        lines.append(f"-A {name} -s wlc\n")
        lines += [f"-a {name} -r {server['address']}:{server['port']} -m -w 1\n" for server in real]
    return "".join(lines)


def restored(command: tuple[str, ...], text: Path, count: int) -> dict[str, float]:
    """Return the figures of one restore of *text*, after which there must be *count* services."""
    program = str(Path(sys.executable).with_name(command[0]))
    with Daemon() as daemon, daemon.client() as client, text.open() as given:
        used, before = daemon.cpu_s(), resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = time.perf_counter()
        subprocess.run([program, *command[1:]], env=daemon.env, stdin=given, stdout=subprocess.DEVNULL, check=True)
        wall = time.perf_counter() - wall
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures = {
            "wall": wall,
            "client": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "daemon": daemon.cpu_s() - used,
        }
        there = len(client.get("/v1/services", {"counters": "false"})["services"])
        if there != count:
            raise RuntimeError(f"{' '.join(command)} has restored {there} services instead of {count}")
    return figures


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="./dev bench restore", description="What restoring many services costs.")
    parser.add_argument("--services", default="20k", help="how many services")
    parser.add_argument("--servers", type=int, default=8, help="real servers per service")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count = int(options.services.rstrip("k")) * (UNITS["k"] if options.services.endswith("k") else 1)
    rows = {name: Row(name) for name in WAYS}
    with tempfile.TemporaryDirectory(prefix="xlvs-bench-") as directory:
        saved, file = Path(directory, "rules"), Path(directory, "xlvs.yaml")
        saved.write_text(rules(count, options.servers))
        # JSON is YAML, too, and what other programs write.
        file.write_text(json.dumps({"services": services(count, options.servers)}))
        for _ in range(options.rounds):
            for name, command in WAYS.items():
                rows[name].add(restored(command, file if command[0] == "xlvs" else saved, count))
    if options.json:
        print(json.dumps({row.name: row.rounds for row in rows.values()}, indent=2))
        return 0
    print(f"# Linux {platform.release()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; ", end="")
    print(f"{count} services with {options.servers} servers; s")
    print(f"{'':20} {'wall':>8} {'client':>8} {'daemon':>8}")
    for row in rows.values():
        print(f"{row.name:20} {row.median('wall'):>8.2f} {row.median('client'):>8.2f} {row.median('daemon'):>8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
