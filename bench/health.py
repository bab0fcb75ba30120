"""What health checks cost: probes per second of one CPU, and the CPU of a thousand targets beside HAProxy's.

    ./dev bench health [--seconds N] [--targets N]

Targets are the addresses 127.1.0.1 and up of one nginx.  The first table has as many probes under way as pays; what
counts is the process's own CPU time.  In the second both ask every target each two seconds.  Judges nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from xlvs import health
from xlvs.demo.wait import until
from xlvs.health.prober import Prober, once, question

PORT = 18280
UNDER_WAY = 100
CHECKS = {"tcp": {"type": "tcp"}, "http": {"type": "http"}, "ping": {"type": "ping"}}
NGINX = """daemon off; worker_processes 1; pid {home}/pid; error_log {home}/log;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
uwsgi_temp_path {home}/u; scgi_temp_path {home}/s; server {{ listen {port} backlog=4096; return 200 "ok"; }} }}
"""
HAPROXY = """global
  maxconn 1000
defaults
  mode tcp
  timeout connect 1s
  timeout client 1s
  timeout server 1s
listen all
  bind 127.0.0.1:{port}
"""


@contextlib.contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for so long."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def used() -> float:
    """Return the CPU seconds of this process."""
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def used_by(pid: int) -> float:
    """Return the CPU seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def target(number: int) -> str:
    """Return the address of a target."""
    return f"127.1.{number >> 8}.{number & 255 or 1}"


async def as_many_as_go(check: health.Check, seconds: float) -> tuple[int, str]:
    """Probe for so long; return how many were good, and one failure if there was one."""
    good, failure, end = 0, "", time.monotonic() + seconds

    async def go(number: int) -> None:
        nonlocal good, failure
        while time.monotonic() < end:
            why, _ = await once(check, health.Target(target(number), PORT))
            good += not why
            failure = failure or why

    await asyncio.gather(*(go(n) for n in range(1, UNDER_WAY + 1)))
    return good, failure


async def plain_connects(seconds: float) -> int:
    """Do what asyncio has for it: open a connection and close it."""
    good, end = 0, time.monotonic() + seconds

    async def go(number: int) -> None:
        nonlocal good
        while time.monotonic() < end:
            _, writer = await asyncio.open_connection(target(number), PORT)
            writer.close()
            await writer.wait_closed()
            good += 1

    await asyncio.gather(*(go(n) for n in range(1, UNDER_WAY + 1)))
    return good


async def every_two_seconds(targets: int, seconds: float) -> int:
    """Ask so many targets as the daemon does; return how many probes that were."""
    prober = Prober(lambda one, why, weight: None)
    check = health.parse({"type": "tcp", "interval": 2, "timeout": 1})
    prober.want((question(check, target(n), PORT), check) for n in range(1, targets + 1))
    await asyncio.sleep(seconds)
    await prober.stop()
    return prober.asked


def rates(seconds: float) -> None:
    """Print probes per CPU second."""
    began = used()
    base = asyncio.run(plain_connects(seconds)) / (used() - began)
    print(f"{'asyncio.open_connection':<28} {base:>9,.0f} a CPU second  x 1.00")
    for name, given in CHECKS.items():
        if name not in health.names():
            continue
        began = used()
        good, failure = asyncio.run(as_many_as_go(health.parse(given), seconds))
        rate = good / (used() - began)
        print(f"{name:<28} {rate:>9,.0f} a CPU second  x {rate / base:.2f}{f'  ({failure})' if failure else ''}")


def share(home: Path, targets: int, seconds: float) -> None:
    """Print the CPU share of so many targets, beside HAProxy's."""
    lines = "".join(f"  server s{n} {target(n)}:{PORT} check inter 2s\n" for n in range(1, targets + 1))
    (home / "haproxy.cfg").write_text(HAPROXY.format(port=PORT + 1) + lines)
    found = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    peer = 0.0
    if found:
        with running(found, "-db", "-f", str(home / "haproxy.cfg")) as process:
            time.sleep(3)
            before = used_by(process.pid)
            time.sleep(seconds)
            peer = (used_by(process.pid) - before) / seconds
    began = used()
    asked = asyncio.run(every_two_seconds(targets, seconds))
    ours = (used() - began) / seconds
    print(f"# {targets} targets, tcp, every 2 s: {asked / seconds:,.0f} probes a second")
    print(f"{'haproxy':<28} {peer:>8.1%} of a CPU  x 1.00")
    print(f"{'xlvs':<28} {ours:>8.1%} of a CPU  x {ours / peer if peer else float('nan'):.2f}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./dev bench health", description="What health checks cost.")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--targets", type=int, default=1000)
    options = parser.parse_args()
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert nginx
    with tempfile.TemporaryDirectory() as text:
        home = Path(text)
        (home / "nginx.conf").write_text(NGINX.format(home=home, port=PORT))
        with running(nginx, "-c", str(home / "nginx.conf"), "-e", str(home / "log")):
            until(
                lambda: asyncio.run(once(health.parse({"type": "tcp"}), health.Target("127.0.0.1", PORT)))[0] == "",
                "no nginx",
            )
            print(f"# Linux {platform.release()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
            rates(options.seconds)
            share(home, options.targets, 2 * options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
