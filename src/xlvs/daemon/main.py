"""``xlvs daemon``: load or adopt the data plane, then answer clients until told to stop.

Runs in the foreground and logs to stderr.  Ending it, in whatever way, leaves
everything attached; the next start takes over.  Refuses, in one sentence, a
host or a name it cannot work with.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from xlvs.daemon.attach import Attachments, live_links
from xlvs.daemon.engine import Engine
from xlvs.daemon.host import advice, netns, sysctls
from xlvs.daemon.host.interfaces import Wish
from xlvs.daemon.host.netlink import Monitor, Netlink
from xlvs.daemon.host.routes import Routes
from xlvs.daemon.kernel import Kernel
from xlvs.daemon.lock import Lock
from xlvs.daemon.log import log
from xlvs.daemon.ops import Ops
from xlvs.daemon.paths import Paths
from xlvs.daemon.purge import purge
from xlvs.daemon.server import Server
from xlvs.daemon.stats import SAMPLE_S
from xlvs.daemon.store import Store
from xlvs.dataplane import OBJECTS, Loaded, Loader, LoadError, bpffs, probe
from xlvs.dataplane import _abi as abi
from xlvs.errors import HostError, XlvsError

PROGRAMS = ("xlvs_xdp", "xlvs_in", "xlvs_lo", "xlvs_sweep")
ICMP_PER_SECOND = 1000
ACCEPT_LOCAL = "net.ipv4.conf.lo.accept_local"
COLLECT_S = 5
PROBE_S = 20
STOP_S = 0.05
SETTLE_S = 0.1
"""How long to wait for more news from the kernel before acting on the first."""


class Daemon:
    """One running instance; everything is made by the constructor, nothing is attached before `run`."""

    def __init__(self, paths: Paths, options: argparse.Namespace, loaded: Loaded) -> None:
        self._paths = paths
        self._loaded = loaded
        self._netlink = Netlink()
        self._monitor = Monitor()
        self._kernel = Kernel(loaded.maps)
        routes = Routes(self._netlink, lambda address: self._engine.is_virtual(address))
        self._engine = Engine(self._kernel, Store(paths), routes)
        programs = {name: program.fd for name, program in loaded.programs.items()}
        self._attachments = Attachments(
            paths.links, programs, self._kernel, self._netlink, Wish.parse(options.interfaces)
        )
        self._ops = Ops(self._engine, paths.name, options.netns or "", self._attachments.rows, self._warnings)
        self._server = Server(paths.socket, self._answer)
        self._stopping = asyncio.Event()
        self._pending: set[Callable[[], None]] = set()
        self._pause_s = SETTLE_S
        self._warned: set[str] = set()

    async def run(self) -> None:
        """Work until a signal or a client says stop."""
        adopted = bool(self._loaded.adopted)
        if adopted and self._kernel.pinned_abi() not in (0, abi.ABI):
            raise HostError(
                f"the pinned maps are of another xlvs (ABI {self._kernel.pinned_abi()}, not {abi.ABI}): "
                f"run `xlvs stop --instance {self._paths.name} --purge`, which ends its flows, and start again"
            )
        self._kernel.renew_hints()
        self._engine.start(adopted=adopted)
        # Services come first: a packet that a hook takes must find them, and each is whole when it appears.
        self._kernel.configure(self._engine.state.timeouts, self._netlink.loopback(), ICMP_PER_SECOND)
        self._loaded.programs["xlvs_sweep"].test_run(bytes(64))
        self._attachments.start()
        self._after_change()
        await self._server.start()
        log("ready", instance=self._paths.name, socket=self._paths.socket, adopted=adopted)
        _notify("READY=1")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_reader(self._monitor.fileno(), self._heard)
        tasks = [
            loop.create_task(self._every(SAMPLE_S, self._engine.sample)),
            loop.create_task(self._every(COLLECT_S, lambda elapsed: self._engine.collect())),
            loop.create_task(self._every(PROBE_S, lambda elapsed: self._tend())),
        ]
        await self._stopping.wait()
        for task in tasks:
            task.cancel()
        await self._server.stop()
        log("stopped", instance=self._paths.name)

    async def _answer(self, request: dict[str, Any]) -> Any:
        if request.get("op") == "stop":
            if request.get("purge"):
                self._purge()
            # Not before the answer is on its way.
            asyncio.get_running_loop().call_later(STOP_S, self._stopping.set)
            return None
        result = self._ops.answer(request)
        if str(request.get("op")).startswith(("add-", "edit-", "delete-")):
            self._after_change()
        return result

    def _purge(self) -> None:
        self._attachments.detach_all()
        purge(self._paths)
        self._paths.lock.unlink(missing_ok=True)
        log("purged", instance=self._paths.name)

    def _after_change(self) -> None:
        if self._engine.state.services:
            _guarded(self._allow_local_clients)
        self._soon(self._advise)

    def _allow_local_clients(self) -> None:
        """Let replies to clients on this host come from the virtual address, which is the host's own."""
        if sysctls.set_once(ACCEPT_LOCAL, "1", self._paths.sysctls):
            log("sysctl set for clients on this host", name=ACCEPT_LOCAL, value=1)

    def _warnings(self) -> list[str]:
        return advice.warnings(self._engine.state, self._engine.routes, self._attachments.names(), sysctls.read)

    def _advise(self) -> None:
        """Log the warnings that are new."""
        found = self._warnings()
        for warning in found:
            if warning not in self._warned:
                log("warning", why=warning)
        self._warned = set(found)

    def _heard(self) -> None:
        if self._monitor.drain():
            self._kernel.forget_hops()
            self._soon(self._react)

    def _react(self) -> None:
        self._attachments.sync()
        self._engine.refresh()
        self._advise()

    def _tend(self) -> None:
        """Keep neighbours fresh, and notice what the kernel does not tell: a veth's peer that now takes redirects."""
        self._attachments.sync()
        self._engine.probe()

    def _soon(self, act: Callable[[], None]) -> None:
        """Do *act* once when the news has settled."""
        if act not in self._pending:
            self._pending.add(act)
            asyncio.get_running_loop().call_later(self._pause_s, self._settled, act)

    def _settled(self, act: Callable[[], None]) -> None:
        self._pending.discard(act)
        if self._stopping.is_set():
            return
        began = time.monotonic()
        _guarded(act)
        # A router whose routes never settle takes a tenth of our time, no more.
        self._pause_s = max(SETTLE_S, 10 * (time.monotonic() - began))

    async def _every(self, seconds: float, act: Callable[[float], None]) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(seconds)
            now = time.monotonic()
            _guarded(partial(act, now - last))
            last = now


def _guarded(act: Callable[[], None]) -> None:
    """Do *act*; a failure is logged, and the daemon goes on."""
    try:
        act()
    except (XlvsError, OSError) as err:
        log("failed", why=err)


def _notify(message: str) -> None:
    """Tell systemd (sd_notify(3)), if it asked."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(message.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xlvs daemon", description="Balance, and answer xlvsadm and xlvs.")
    parser.add_argument("--instance", default=os.environ.get("XLVS_INSTANCE") or "default", metavar="NAME")
    parser.add_argument("--netns", metavar="NAME", help="work in this network namespace (a name, a path, or pid:N)")
    parser.add_argument(
        "--interfaces", default="auto", metavar="CHOICE", help="auto, none, xdp, tc, or eth0=xdp,eth1=none,auto"
    )
    parser.add_argument("--flows", type=int, metavar="N", help=f"room for N flows (default {abi.MAX_FLOWS})")
    return parser


def _load(paths: Paths, options: argparse.Namespace) -> Loaded:
    sizes = {}
    if options.flows is not None:
        if not 1 <= options.flows <= 1 << 26:
            raise HostError(f"--flows {options.flows} is outside 1..{1 << 26}")
        sizes = {"flows": options.flows, "flow_index": 2 * options.flows, "flow_free": options.flows}
    try:
        constants = {"l4_csum_v6": probe.BPF_F_IPV6 if probe.has_csum_ipv6() else 0}
        loader = Loader([OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o"], sizes=sizes, constants=constants)
        return loader.load(paths.bpffs, programs=PROGRAMS)
    except FileNotFoundError as err:
        raise HostError(
            f"the compiled programs are missing ({err.filename}); install xlvs anew, or run ./dev build"
        ) from err
    except LoadError as err:
        raise HostError(f"this kernel refuses the programs: {err}") from err


def _start(options: argparse.Namespace) -> None:
    paths = Paths.of(options.instance)
    Wish.parse(options.interfaces)
    if os.geteuid() != 0:
        raise HostError("xlvs daemon loads BPF programs, so it must run as root")
    probe.require_bpf()
    with Lock(paths) as lock:
        mounted = netns.prepare_bpffs(paths.bpffs)
        try:
            if options.netns:
                netns.enter(options.netns)
            _refuse_other_namespace(paths)
            loaded = _load(paths, options)
            lock.sign()
            asyncio.run(_run(paths, options, loaded))
        except XlvsError:
            if mounted:  # by us, just now: what could not be begun leaves nothing behind
                bpffs.purge(paths.bpffs)
            raise


async def _run(paths: Paths, options: argparse.Namespace, loaded: Loaded) -> None:
    await Daemon(paths, options, loaded).run()


def _refuse_other_namespace(paths: Paths) -> None:
    """Links belong to interfaces of one namespace; their numbers mean something else in another."""
    before = Lock.kept_netns(paths)
    if before and before != netns.identity() and live_links(paths.links):
        raise HostError(
            f"instance {paths.name} works in another network namespace: start it there, "
            f"or end it first with `xlvs stop --instance {paths.name} --purge`"
        )


def main(argv: list[str]) -> int:
    """Run ``xlvs daemon`` with these arguments; return the exit code."""
    options = _parser().parse_args(argv)
    try:
        _start(options)
    except XlvsError as err:
        print(f"xlvs: {err}", file=sys.stderr)
        return err.exit_code
    except OSError as err:
        print(f"xlvs: the daemon cannot start: {err}", file=sys.stderr)
        return 1
    return 0
