"""Programs that come from the machine's own packages, and how they get there.

The one list of what the demo, the tests and the benchmarks need besides Python.  A program that is in PATH is
taken as it is; only missing ones are installed, with apt-get.  Other package managers are not guessed at: the
error names what to install.  Standard library only, as this runs before the environment exists.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

PACKAGES = {
    "apache2": "apache2-bin",
    "curl": "curl",
    "dovecot": "dovecot-core",
    "exim4": "exim4-daemon-light",
    "freeradius": "freeradius",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "iperf3": "iperf3",
    "iptables": "iptables",
    "leafnode": "leafnode",
    "mariadbd": "mariadb-server",
    "memcached": "memcached",
    "nft": "nftables",
    "nginx": "nginx",
    "nsd": "nsd",
    "pg_ctlcluster": "postgresql",
    "redis-server": "redis-server",
    "sipp": "sip-tester",
    "slapd": "slapd",
    "socat": "socat",
    "tinyproxy": "tinyproxy-bin",
    "vsftpd": "vsftpd",
    "wrk": "wrk",
    "/usr/lib/dovecot/imap": "dovecot-imapd",
    "/usr/lib/dovecot/pop3": "dovecot-pop3d",
    "/usr/lib/frr/bfdd": "frr",
    STREAM_MODULE: "libnginx-mod-stream",
}
"""Program, or the path of a file: the Debian package that brings it."""

DEMO = ("ip", "nginx")
SERVERS = (
    "apache2",
    "dovecot",
    "exim4",
    "freeradius",
    "haproxy",
    "leafnode",
    "mariadbd",
    "memcached",
    "nsd",
    "pg_ctlcluster",
    "redis-server",
    "sipp",
    "slapd",
    "socat",
    "tinyproxy",
    "vsftpd",
    "/usr/lib/dovecot/imap",
    "/usr/lib/dovecot/pop3",
    "/usr/lib/frr/bfdd",
)
"""What the tests of health checks ask."""
TEST = (*DEMO, "wrk", "nft", "iptables", "curl", *SERVERS)
BENCH = (*TEST, "iperf3", STREAM_MODULE)

SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
"""A user's PATH often lacks the sbin directories, where half of these programs live."""

POLICY = Path("/usr/sbin/policy-rc.d")


class SetupError(Exception):
    """The machine cannot be made ready; the message says what to do."""


def say(message: str) -> None:
    """Tell what set-up is doing and why, on stderr: stdout belongs to the verb."""
    print(f"dev: {message}", file=sys.stderr, flush=True)


def ensure_programs(programs: Iterable[str], purpose: str) -> None:
    """Install those of *programs* that are missing; raises `SetupError`."""
    missing = [name for name in programs if not Path(name).exists() and shutil.which(name, path=SEARCH_PATH) is None]
    if missing:
        install(sorted({PACKAGES[name] for name in missing}), f"{purpose} needs {', '.join(missing)}")


def install(packages: list[str], why: str) -> None:
    """Install Debian *packages*; raises `SetupError` without root, without apt-get, or if apt-get fails."""
    wanted = " ".join(packages)
    if shutil.which("apt-get", path=SEARCH_PATH) is None:
        raise SetupError(f"{why}, and there is no apt-get here: install {wanted} yourself")
    if os.geteuid() != 0:
        raise SetupError(f"{why}: run this once as root, or run: apt-get install {wanted}")
    with services_held_back():
        say("apt-get update (some packages are missing)")
        # A single unreachable source is no reason to stop: the install below says whether it mattered.
        apt_get("update", "-qq", check=False)
        say(f"apt-get install {wanted} ({why})")
        # One mail server conflicts with every other: what the machine has is not given up for ours.
        apt_get("install", "-y", "-qq", "--no-remove", "--no-install-recommends", *packages)


def apt_get(*arguments: str, check: bool = True) -> None:
    """Run apt-get without questions; raises `SetupError` if it fails and *check* is set."""
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments]
    run_quietly(
        command, f"apt-get {arguments[0]}", {"DEBIAN_FRONTEND": "noninteractive", "PATH": SEARCH_PATH}, check=check
    )


def run_quietly(
    command: list[str], name: str, environment: dict[str, str] | None = None, *, check: bool = True
) -> None:
    """Run *command* and show its output only if it fails; raises `SetupError` then, if *check* is set."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        if check:
            raise SetupError(f"{name} failed; its output is above")


@contextlib.contextmanager
def services_held_back() -> Iterator[None]:
    """Keep packages from starting their services: the demo wants nginx's program, not a server on port 80.

    invoke-rc.d(8) and deb-systemd-invoke(1p) ask policy-rc.d; an existing one is the operator's and stays.
    """
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
