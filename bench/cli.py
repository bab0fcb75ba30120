"""How long ``xlvsadm -Ln`` takes, beside a Python that does nothing but import json and socket, and ``nft list``.

    ./dev bench cli [--runs N]

Scripts call ipvsadm hundreds of times, so what counts is the whole process: start, question, answer, table.  All
commands take turns.  The director has one service with three servers.  Judges nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from _daemon import Daemon
from _figures import Row


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./dev bench cli", description="How long a command takes.")
    parser.add_argument("--runs", type=int, default=40)
    options = parser.parse_args()
    scripts = Path(sys.executable).parent
    commands = {
        "python3 -c 'import json, socket'": [sys.executable, "-c", "import json, socket"],
        "xlvsadm -Ln": [str(scripts / "xlvsadm"), "-Ln"],
        "xlvsadm -e (one weight)": [str(scripts / "xlvsadm"), "-e", "-t", "192.0.2.1:80", "-r", "10.0.0.1", "-m"],
        "xlvs get services": [str(scripts / "xlvs"), "get", "services"],
    }
    rows = {name: Row(name) for name in commands}
    with Daemon() as daemon, daemon.client() as client:
        servers = [{"address": f"10.0.0.{host}", "port": 80, "forward": "nat"} for host in (1, 2, 3)]
        listen = {"protocol": "tcp", "address": "192.0.2.1", "port": 80}
        client.post("/v1/services", {"listen": listen, "servers": servers}, {"owner": "cli"})
        for _ in range(options.runs):
            for name, command in commands.items():
                began = time.perf_counter()
                nowhere = subprocess.DEVNULL
                subprocess.run(command, env=daemon.env, check=True, stdout=nowhere, stderr=nowhere)
                rows[name].add({"ms": (time.perf_counter() - began) * 1000})
    base = next(iter(rows.values()))
    print(f"# Linux {platform.release()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {options.runs} runs")
    for row in rows.values():
        print(f"{row.name:<34} {row.median('ms'):>7.1f} ms  x {row.ratio('ms', base):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
