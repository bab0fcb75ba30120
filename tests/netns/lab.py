"""The network of the netns tests: the demonstration's, with a director that runs and services of both families.

    client ── switch ── director (VIP) ; switch ── real1, real2, real3

Every real server runs nginx (virtual port 80) and the peer (7000, TCP and
UDP).  Names carry the process id and a number, so that runs do not meet.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from xlvs.cli.client import Client, socket_path
from xlvs.demo import netns, servers, topology
from xlvs.demo.director import Director, real_server
from xlvs.demo.topology import VIP, Topology
from xlvs.demo.wait import until

T = TypeVar("T")

HTTP, PEER = 80, 7000
TRANSLATED = {HTTP: 8080, PEER: 7001}
FLAGS = {"nat": "-m", "route": "-g", "ipip": "-i"}
TUNNEL_PORT = 6080
NUMBERS = itertools.count(1)
TIMEOUT_S = 20.0


def endpoint(family: int, port: int) -> str:
    """Return the virtual service as `xlvsadm` writes it."""
    return f"[{VIP[family]}]:{port}" if family == 6 else f"{VIP[family]}:{port}"


@dataclass(slots=True)
class Lab:
    """One network with everything on it; *directory* is for its files, *hook* is `xdp` or `tc`."""

    forward: str
    hook: str
    directory: Path
    scheduler: str = "rr"
    started: bool = True
    """Whether the daemon runs and has its services from the beginning."""
    checksum: str = "none"
    """Of tunnels: `none`, `full` or `remote`."""
    options: Sequence[str] = ()
    """More options of the daemon."""
    topology: Topology = field(init=False)
    director: Director = field(init=False)
    real: list[servers.RealServer] = field(default_factory=list)
    _made: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        name = f"{os.getpid()}-{next(NUMBERS)}"
        self.topology = Topology(f"xlvs-t{name}", self.forward)
        self.director = Director(
            self.topology.director,
            f"test-{name}",
            self.directory / "daemon.log",
            f"eth0={self.hook}",
            self.options,
        )

    def __enter__(self) -> Lab:
        try:
            self.build()
        except BaseException:
            self._made.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._made.close()

    def build(self) -> None:
        """Make the network and start everything on it."""
        self.directory.chmod(0o755)
        self._made.callback(self.topology.remove)
        self.topology.build()
        if self.hook == "xdp":
            self.topology.turn_gro_on()
        for number, namespace in enumerate(self.topology.servers, 1):
            self._start_server(f"real{number}", namespace, topology.server_addresses(4)[number - 1])
        if self.forward != "nat":
            self._set_up_real_servers()
        self._made.callback(self.director.purge)
        if self.started:
            self.director.start()
            if self.forward in FLAGS:
                self.director.admin("-R", stdin=self.rules())
            else:
                self._serve_tunnels()

    def _start_server(self, name: str, namespace: str, address: str) -> None:
        nginx = servers.start_nginx(namespace, name, address, self.real_port(HTTP), self.directory)
        self._made.callback(nginx.stop)
        self.real.append(nginx)
        ready = self.directory / f"{name}.ready"
        peer = netns.popen(
            namespace,
            [sys.executable, str(Path(__file__).with_name("peer.py")), name, str(self.real_port(PEER)), str(ready)],
            stdout=subprocess.DEVNULL,
        )
        self._made.callback(servers.stop, peer)
        until(ready.exists, f"the peer of {name} did not start")

    def _set_up_real_servers(self) -> None:
        for vip in VIP.values():
            real_server(self.topology.servers, "setup", "--forward", self.forward, "--vip", vip)
            self._made.callback(real_server, self.topology.servers, "undo", "--vip", vip)

    def _serve_tunnels(self) -> None:
        """Put the services in force whose tunnels have options."""
        tunnel = {"forward": self.forward, "tunnel_checksum": self.checksum}
        tunnel |= {"tunnel_port": TUNNEL_PORT} if self.forward == "gue" else {}
        with Client(socket_path(self.director.instance)) as client:
            for family in (4, 6):
                for protocol, port in (("tcp", HTTP), ("tcp", PEER), ("udp", PEER)):
                    servers = [{"address": a, "port": port, **tunnel} for a in topology.server_addresses(family)]
                    listen = {"protocol": protocol, "address": VIP[family], "port": port}
                    client.post("/v1/services", {"listen": listen, "scheduler": self.scheduler, "servers": servers})

    def real_port(self, port: int) -> int:
        """Return where real servers listen for what clients ask for at *port*."""
        return TRANSLATED[port] if self.forward == "nat" else port

    def rules(self) -> str:
        """Return all services in the form of `xlvsadm -S`."""
        lines = []
        for family in (4, 6):
            for option, port in (("-t", HTTP), ("-t", PEER), ("-u", PEER)):
                service = f"{option} {endpoint(family, port)}"
                lines.append(f"-A {service} -s {self.scheduler}")
                for address in topology.server_addresses(family):
                    real = f"[{address}]" if family == 6 else address
                    lines.append(f"-a {service} -r {real}:{self.real_port(port)} {FLAGS[self.forward]} -w 1")
        return "\n".join(lines) + "\n"

    def in_client(self, call: Callable[[], T]) -> T:
        """Return what *call* returns in the client's namespace; sockets it makes stay there."""
        return netns.inside(self.topology.client, call)

    def connect(self, family: int, port: int, *, source: str | None = None) -> socket.socket:
        """Return a TCP connection from the client to the virtual address."""
        where = (source, 0) if source else None
        return self.in_client(lambda: socket.create_connection((VIP[family], port), TIMEOUT_S, where))

    def datagram_socket(self, family: int, port: int) -> socket.socket:
        """Return a UDP socket of the client, connected to the virtual address."""

        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
            sock.settimeout(TIMEOUT_S)
            sock.connect((VIP[family], port))
            return sock

        return self.in_client(make)

    def warm_up(self, family: int) -> None:
        """Reach every server once, so that neighbours are known: before, a datagram may be lost rightly."""
        for _ in range(topology.SERVERS):
            with self.connect(family, HTTP) as sock:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while sock.recv(4096):
                    pass
