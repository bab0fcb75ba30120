"""The network of the forwarding benchmarks: a client, a director and a server, each in a network namespace.

    client ══ front ══ director ══ back ══ server
       ╚═══════════════ side ═════════════════╝

Plain veth pairs with every offload as the kernel makes them.  ``side`` is there for methods whose replies do not
pass the director (route, ipip) and carries nothing else.  Everything is made anew for each turn of a case and goes
with it, so that no connection, conntrack entry or cache of one case is met by the next.  Nothing here touches the
machine's own interfaces, routes or firewall.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from xlvs.demo import ethtool, netns, servers
from xlvs.errors import HostError

CLIENT, SERVER = "10.0.0.1", "10.0.1.11"
VIP = "10.0.0.100"
GATEWAY = "10.0.1.254"
SIDE = ("10.0.2.1", "10.0.2.11")
FRONT_MAC, SERVER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"

HTTP, REAL_HTTP, BULK = 80, 8080, 5201
"""Ports: of the virtual service, of the server where a method can change the port, and of iperf3."""

NUMBERS = itertools.count(1)

LINKS = """
link add eth0 netns {client} type veth peer name front netns {director} address 02:00:00:00:00:01
link add back netns {director} type veth peer name eth0 netns {server} address 02:00:00:00:00:02
link add side netns {client} type veth peer name side netns {server}
"""

INSIDE = {
    "client": """
address add 10.0.0.1/24 dev eth0
address add 10.0.2.1/24 dev side
route add default via 10.0.0.254
""",
    "director": """
address add 10.0.0.254/24 dev front
address add 10.0.0.100/32 dev front
address add 10.0.1.254/24 dev back
""",
    "server": """
address add 10.0.1.11/24 dev eth0
address add 10.0.2.11/24 dev side
""",
}
DEVICES = {"client": ("eth0", "side"), "director": ("front", "back"), "server": ("eth0", "side")}

SYSCTLS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/send_redirects": "0",
    # A connection per request leaves tens of thousands of ports in TIME_WAIT.
    "ipv4/ip_local_port_range": "1024 65535",
    "ipv4/tcp_max_syn_backlog": "65535",
    "core/somaxconn": "65535",
}


class Net:
    """The network of one turn, to be used in a `with` statement; *straight* sends replies over ``side``."""

    def __init__(self, *, straight: bool = False) -> None:
        self.name = f"xlvs-b{os.getpid()}-{next(NUMBERS)}"
        self.client, self.director, self.server = (f"{self.name}-{role}" for role in DEVICES)
        self.made = contextlib.ExitStack()
        self._straight = straight

    def __enter__(self) -> Net:
        try:
            self._build()
        except BaseException:
            self.made.close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.made.close()

    def _build(self) -> None:
        self.directory = Path(self.made.enter_context(tempfile.TemporaryDirectory(prefix="xlvs-bench-")))
        self.directory.chmod(0o755)  # the workers of nginx are not root
        names = {role: f"{self.name}-{role}" for role in DEVICES}
        for name in names.values():
            self.made.callback(command, "ip", "netns", "delete", name)
            command("ip", "netns", "add", name)
        batch(LINKS.format(**names))
        for role, lines in INSIDE.items():
            netns.inside(names[role], set_sysctls)
            ups = "".join(f"link set {device} up\n" for device in ("lo", *DEVICES[role]))
            batch(ups + lines, names[role])
        back = f"{CLIENT} via {SIDE[0]} dev side" if self._straight else f"10.0.0.0/24 via {GATEWAY}"
        batch(f"route add {back}\n", self.server)

    def gro(self, namespace: str, device: str) -> None:
        """Turn generic receive offload of one end on, which makes a veth poll (NAPI)."""
        netns.inside(namespace, lambda: ethtool.turn_gro_on(device))

    def run(self, namespace: str, *argv: str, cpus: str = "") -> str:
        """Run *argv* in *namespace* to its end and return what it prints.  Raises `HostError` with what it said."""
        process = netns.popen(namespace, pinned(argv, cpus), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate()
        except BaseException:
            servers.stop(process)
            raise
        if process.returncode != 0:
            raise HostError(f"`{argv[0]}` failed: {last_line(err or out) or f'exit code {process.returncode}'}")
        return out

    def start(self, namespace: str, name: str, *argv: str, cpus: str = "") -> subprocess.Popen[str]:
        """Start *argv* in *namespace* until the turn ends; what it says goes to the file *name*.log."""
        with (self.directory / f"{name}.log").open("w") as log:
            process = netns.popen(namespace, pinned(argv, cpus), stdout=log, stderr=log)
        self.made.callback(servers.stop, process)
        return process

    def listening(self, process: subprocess.Popen[str], name: str, namespace: str, port: int) -> None:
        """Return when someone listens at *port* in *namespace*.  Raises `HostError` with the end of *name*.log."""
        end = time.monotonic() + 20
        while not (up := netns.inside(namespace, lambda: listens(port))):
            if process.poll() is not None or time.monotonic() > end:
                break
            time.sleep(0.02)
        if not up:
            said = last_line((self.directory / f"{name}.log").read_text())
            raise HostError(f"{name} does not listen at port {port}: {said or 'it says nothing'}")


def pinned(argv: Sequence[str], cpus: str) -> list[str]:
    """Return *argv* so that it runs on *cpus* only, such as ``0`` or ``0,1``; anywhere if that is empty."""
    return ["taskset", "--cpu-list", cpus, *argv] if cpus else list(argv)


def listens(port: int) -> bool:
    """Return whether a TCP socket of this thread's namespace listens at *port*."""
    rows = [line.split() for line in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def set_sysctls() -> None:
    """Set what a network under load needs, alike in all three namespaces."""
    for name, value in SYSCTLS.items():
        Path("/proc/sys/net", name).write_text(value)


def batch(lines: str, namespace: str = "") -> None:
    """Run *lines* of `ip -batch` in *namespace*.  Raises `HostError`."""
    inside = ("-n", namespace) if namespace else ()
    command("ip", *inside, "-batch", "-", stdin=lines)


def command(*argv: str, stdin: str = "") -> None:
    """Run *argv*.  Raises `HostError` with what it said if it fails."""
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise HostError(f"`{' '.join(argv)}` failed: {last_line(done.stderr) or f'exit code {done.returncode}'}")


def last_line(text: str) -> str:
    """Return the last line of *text* that is not empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
