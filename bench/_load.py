"""What is sent through the director with real sockets, and what it costs the machine.

wrk asks nginx for a small page, over connections that stay and over one per request; iperf3 sends as much as it can.
Client and server have a CPU each where there are two, so that no run depends on where the scheduler puts them;
proxies on the director may use all.  A run with a failed request, or one that did not go by the hook it should have
gone by, gives no figure: it raises `HostError`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from _net import BULK, HTTP, REAL_HTTP, Net
from _ways import Way

from xlvs.errors import HostError

CONNECTIONS = 32

CPUS = sorted(os.sched_getaffinity(0))
CLIENT_CPU, SERVER_CPU = (str(CPUS[0]), str(CPUS[1])) if len(CPUS) > 1 else ("", "")

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")

SERVER = f"""
daemon off;
worker_processes 1;
pid {{directory}}/server.pid;
error_log stderr;
events {{{{ worker_connections 4096; }}}}
http {{{{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    {{folders}}
    server {{{{
        listen {HTTP} backlog=65535;
        listen {REAL_HTTP} backlog=65535;
        return 200 "well done\\n";
    }}}}
}}}}
"""
FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

Figures = dict[str, float]


def start_server(net: Net) -> None:
    """Start what answers on the server: nginx and iperf3."""
    folders = "".join(f"{name}_temp_path {net.directory}/{name};" for name in FOLDERS)
    config = net.directory / "server.conf"
    config.write_text(SERVER.format(directory=net.directory, folders=folders))
    web = net.start(net.server, "server", "nginx", "-e", "stderr", "-c", str(config), cpus=SERVER_CPU)
    bulk = net.start(net.server, "iperf3", "iperf3", "--server", "--version4", "--port", str(BULK), cpus=SERVER_CPU)
    net.listening(web, "server", net.server, REAL_HTTP)
    net.listening(bulk, "iperf3", net.server, BULK)


def check_hook(way: Way, forwarded: Callable[[], str] | None) -> None:
    """Raise `HostError` if *way* is xlvs and went by the other hook."""
    if forwarded is not None and forwarded() != way.hook:
        raise HostError(f"{way.name}: most packets went by the other hook")


def ask(net: Net, way: Way, seconds: float, *, close: bool = False) -> Figures:
    """Return requests per second and CPU time per request; *close*: with a connection for each."""
    options = ["--threads", "1", "--connections", str(CONNECTIONS), "--duration", str(max(1, round(seconds)))]
    options += ["--header", "Connection: close"] if close else []
    before = busy_us()
    said = net.run(net.client, "wrk", *options, f"http://{way.address}:{way.port}/", cpus=CLIENT_CPU)
    spent = busy_us() - before
    requests, per_second = parse_wrk(said)
    name = "close" if close else "keepalive"
    return {name: per_second, f"{name} cpu": spent / requests}


def parse_wrk(said: str) -> tuple[int, float]:
    """Return the number of requests and their rate from what wrk printed.  Raises `HostError` if one failed."""
    if failed := re.search(r"^ *(Socket errors: .*|Non-2xx or 3xx responses: .*)$", said, re.MULTILINE):
        raise HostError(f"wrk: {failed[1]}")
    requests, rate = re.search(r"(\d+) requests in", said), re.search(r"^Requests/sec: *([\d.]+)", said, re.MULTILINE)
    if not requests or not rate or not int(requests[1]):
        raise HostError("wrk: no request was answered")
    return int(requests[1]), float(rate[1])


def send(net: Net, way: Way, seconds: float) -> Figures:
    """Return what the server received in Gbit/s, and the CPU time per MB, of one stream from client to server."""
    options = ["--port", str(BULK), "--time", str(max(1, round(seconds))), "--json"]
    before = busy_us()
    said = net.run(net.client, "iperf3", "--client", way.address, *options, cpus=CLIENT_CPU)
    spent = busy_us() - before
    received = json.loads(said)["end"]["sum_received"]
    if not received["bytes"]:
        raise HostError("iperf3: nothing arrived")
    return {"bulk": received["bits_per_second"] / 1e9, "bulk cpu": spent / (received["bytes"] / 1e6)}


def busy_us() -> float:
    """Return the time for which CPUs of the whole machine were busy since it started, interrupts included.

    Time that the hypervisor took away (steal) is not in it: it says nothing about the work.
    """
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq")
    ticks = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    spent = dict(zip(names, map(int, ticks), strict=False))
    return TICK_US * sum(value for name, value in spent.items() if name not in ("idle", "iowait"))
