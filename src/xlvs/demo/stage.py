"""One performance: builds the network, starts everything, sends the requests, and clears up.

Each step registers what takes it back before the next begins, so that leaving
the `with` block removes exactly what was made, however far it went.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from xlvs.demo import netns, report, servers, topology
from xlvs.demo.director import Director, real_server
from xlvs.demo.progress import Progress
from xlvs.demo.topology import VIP, Topology
from xlvs.demo.traffic import Job, Result
from xlvs.errors import HostError, XlvsError

PORTS = {"tcp": 80, "udp": 5000}
TRANSLATED_PORTS = {"tcp": 8080, "udp": 5001}
"""Where real servers listen behind `nat`; the other methods cannot change the port."""

XLVSADM_FORWARD = {"nat": "-m", "route": "-g", "ipip": "-i"}
WARM_UP = 48


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one performance."""

    forward: str
    family: int
    scheduler: str
    protocol: str
    hook: str
    requests: int

    @property
    def vip(self) -> str:
        """The virtual address."""
        return VIP[self.family]

    @property
    def real_port(self) -> int:
        """The port real servers listen at."""
        return (TRANSLATED_PORTS if self.forward == "nat" else PORTS)[self.protocol]

    @property
    def service(self) -> str:
        """The virtual service as `xlvsadm` writes it."""
        return _endpoint(self.vip, PORTS[self.protocol])


class Stage:
    """The performance of *settings*, to be used in a `with` statement; *keep* leaves it standing at the end."""

    def __init__(self, settings: Settings, *, keep: bool = False) -> None:
        self.settings = settings
        self.progress = Progress()
        self.result = Result()
        self._keep = keep
        self._made = contextlib.ExitStack()
        self._real: list[servers.RealServer] = []

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._clear(failed=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is not None or not self._keep:
            self._clear(failed=kind is not None)

    def _clear(self, *, failed: bool) -> None:
        """Take everything back; a second Ctrl-C must not leave half of it behind.

        Raises `XlvsError` or `OSError` if something stayed, unless that would hide why the performance *failed*.
        """
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.progress.step("clearing up")
            self._made.close()
        except (XlvsError, OSError) as err:
            if not failed:
                raise
            self.progress.say(str(err))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _build(self) -> None:
        if self.settings.protocol == "tcp":
            servers.find_nginx()
        self.directory = Path(tempfile.mkdtemp(prefix="xlvs-demo-"))
        self._made.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.directory.chmod(0o755)  # nginx's workers are not root
        self.topology = Topology(f"xlvs-{os.getpid()}", self.settings.forward)
        self.progress.step(f"network namespaces {self.topology.prefix}-*")
        self._made.callback(self.topology.remove)
        self.topology.build()
        if self.settings.hook == "xdp":
            port = self.topology.turn_gro_on()
            self.progress.say(
                f"XDP redirects to a veth only if its peer polls: GRO turned on at the switch's port {port!r}"
            )
        self._start_servers()
        self._start_director()
        self._configure()

    def _start_servers(self) -> None:
        tcp = self.settings.protocol == "tcp"
        self.progress.step(
            f"three real servers: {'nginx' if tcp else 'a datagram service'} at {self.settings.real_port}"
        )
        start = servers.start_nginx if tcp else servers.start_datagrams
        addresses = topology.server_addresses(self.settings.family)
        for number, namespace in enumerate(self.topology.servers, 1):
            address = addresses[number - 1]
            server = start(namespace, f"real{number}", address, self.settings.real_port, self.directory)
            self._made.callback(server.stop)
            self._real.append(server)
        if self.settings.forward != "nat":
            vip = ("--vip", self.settings.vip)
            arguments = ("setup", "--forward", self.settings.forward, *vip)
            self.progress.command("real1..3", "xlvs", "real-server", *arguments)
            self._made.callback(real_server, self.topology.servers, "undo", *vip)
            real_server(self.topology.servers, *arguments)

    def _start_director(self) -> None:
        interfaces = {"auto": "auto"}.get(self.settings.hook, f"eth0={self.settings.hook}")
        instance = f"demo-{os.getpid()}"
        self.director = Director(self.topology.director, instance, self.directory / "daemon.log", interfaces)
        arguments = ["--instance", instance, "--netns", self.topology.director, "--interfaces", interfaces]
        self.progress.command("director", "xlvs", "daemon", *arguments)
        self._made.callback(self.director.purge)
        self.director.start()
        if why := self.director.why("eth0"):
            self.progress.say(f"eth0: {why}")

    def _configure(self) -> None:
        kind = "-t" if self.settings.protocol == "tcp" else "-u"
        self._admin("-A", kind, self.settings.service, "-s", self.settings.scheduler)
        for server in self._real:
            real = _endpoint(server.address, self.settings.real_port)
            self._admin("-a", kind, self.settings.service, "-r", real, XLVSADM_FORWARD[self.settings.forward])

    def _admin(self, *arguments: str) -> None:
        self.progress.command("director", "xlvsadm", *arguments)
        self.director.admin(*arguments)

    def play(self) -> dict[str, Any]:
        """Send the requests; return the outcome as one JSON object."""
        self.progress.step(f"warm-up: {WARM_UP} requests that do not count")
        self._send(0, WARM_UP, show=False)
        self.progress.step(f"{self.settings.requests} requests to {self.settings.service}, each a new flow")
        self.result = self._send(WARM_UP, self.settings.requests, show=True)
        settings = asdict(self.settings) | {"hook": self.director.hook()}
        return report.as_json(self.result, self._names(), **settings)

    def _send(self, first: int, requests: int, *, show: bool) -> Result:
        job = Job(
            self.settings.protocol,
            self.settings.vip,
            PORTS[self.settings.protocol],
            topology.client_addresses(self.settings.family),
            requests,
            first,
        )
        argv = [sys.executable, "-m", "xlvs.demo.traffic", json.dumps(asdict(job))]
        with netns.popen(self.topology.client, argv, stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            try:
                for line in client.stdout:
                    said = json.loads(line)
                    if "done" not in said:
                        return Result.from_json(said)
                    if show:
                        self.progress.bar(said["done"], requests)
            finally:
                self.progress.end_bar()
                client.terminate()
        raise HostError("the client ended without a result")

    def _names(self) -> dict[str, str]:
        return {server.address: server.name for server in self._real}

    def report(self) -> str:
        """Return what an operator wants to see at the end."""
        settings = self.settings
        return "\n\n".join(
            (
                "",
                report.drawing(settings.family, settings.forward, settings.service),
                f"    {self.result.done} requests, {settings.protocol}, scheduler {settings.scheduler}, "
                f"hook {self.director.hook()}",
                report.bars(self.result.per_server, self._names()),
                report.latency(self.result) + "\n" + report.errors(self.result),
                f"director# xlvsadm -Ln --stats\n{self.director.admin('-Ln', '--stats')}",
            )
        )

    def leave_standing(self) -> None:
        """Say how to enter and how to remove what is left standing."""
        enter = "\n".join(f"    ip netns exec {name} bash" for name in self.topology.all)
        pids = " ".join(str(server.process.pid) for server in self._real)
        names = " ".join(self.topology.all)
        kind = "curl" if self.settings.protocol == "tcp" else "nc -u"
        self.progress.say(
            f"""left standing; to enter:
{enter}
  to ask through the director, and to ask the director:
    ip netns exec {self.topology.client} {kind} {_url(self.settings)}
    export XLVS_INSTANCE={self.director.instance} PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH
    xlvsadm -Ln --stats
  to remove it:
    xlvs stop --instance {self.director.instance} --purge; kill {pids}
    for n in {names}; do ip netns delete $n; done; rm -r {self.directory}"""
        )


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _url(settings: Settings) -> str:
    if settings.protocol == "udp":
        return f"{settings.vip} {PORTS['udp']}"
    return f"http://{settings.service}/"
