"""``xlvs daemon``: load or adopt the data plane, then answer clients until told to stop.

Runs in the foreground and logs to stderr.  Ending it, in whatever way, leaves
everything attached; the next start takes over.  Refuses, in one sentence, a
host or a name it cannot work with.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import os
import signal
import sys
from pathlib import Path

from xlvs.daemon.attach import live_links
from xlvs.daemon.director import Daemon, Options
from xlvs.daemon.host import memory, netns
from xlvs.daemon.host.interfaces import Wish
from xlvs.daemon.lock import Lock
from xlvs.daemon.paths import Paths
from xlvs.daemon.purge import purge
from xlvs.dataplane import OBJECTS, Loaded, Loader, LoadError, bpffs, probe, syscalls
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import table_sizes
from xlvs.errors import HostError, InvalidError, XlvsError

_MOST = {"flows": 1 << 26, "flows6": 1 << 26, "services": 1 << 20, "servers": 1 << abi.SERVER_BITS}

_GARBAGE = 50_000
"""New objects after which cycles are looked for: a request may make 100,000 that are none."""

PROGRAMS = ("xlvs_xdp", "xlvs_in", "xlvs_lo", "xlvs_mark", "xlvs_out", "xlvs_sweep", "xlvs_import", "xlvs_clock")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xlvs daemon", description="Balance, and answer xlvsadm and xlvs.")
    parser.add_argument("--instance", default=os.environ.get("XLVS_INSTANCE") or "default", metavar="NAME")
    parser.add_argument("--netns", metavar="NAME", help="work in this network namespace (a name, a path, or pid:N)")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="keep what this file says in force; SIGHUP reads it again"
    )
    parser.add_argument("--watch", action="store_true", help="read the file again when it has changed, too")
    parser.add_argument(
        "--interfaces", metavar="CHOICE", help="auto (the default), none, xdp, tc, or eth0=xdp,eth1=none,auto"
    )
    for name, default in (("flows", abi.MAX_FLOWS), ("services", abi.MAX_SERVICES), ("servers", abi.MAX_SERVERS)):
        what = "real servers" if name == "servers" else name
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"room for N {what} (default {default})")
    parser.add_argument("--flows6", type=int, metavar="N", help="room for N IPv6 flows (default: as --flows)")
    return parser


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    """Return how large maps are to be, where the command line says; raises `HostError`."""
    sizes: dict[str, int] = {}
    for name in _MOST:
        wanted = getattr(options, name)
        if wanted is not None and not 1 <= wanted <= _MOST[name]:
            raise HostError(f"--{name} {wanted} is outside 1..{_MOST[name]}")
    if options.flows or options.flows6:
        sizes |= table_sizes(options.flows or abi.MAX_FLOWS, options.flows6)
    if n := options.services:
        sizes |= {"services": n, "service_stats": n, "sched_state": 2 * n, "tables": 2 * n}
    if n := options.servers:
        sizes |= {"servers": n, "server_options": n, "loads": n, "server_stats": n, "nat_servers": n}
        sizes["overheads"] = -(-n // abi.PAGE_SERVERS)
    if options.services or options.servers:
        services, servers = options.services or abi.MAX_SERVICES, options.servers or abi.MAX_SERVERS
        sizes |= {"addrs": services + servers, "slots": 2 * (services + -(-servers // abi.SLOTS_PER_BLOCK))}
    return sizes


def _load(paths: Paths, options: argparse.Namespace) -> Loaded:
    sizes = _sizes(options)
    if "flows4" in sizes and not _is_there(paths, sizes):
        memory.require(sizes, memory.available())
    try:
        constants = {"l4_csum_v6": probe.BPF_F_IPV6 if probe.has_csum_ipv6() else 0}
        loader = Loader([OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o"], sizes=sizes, constants=constants)
        return loader.load(paths.bpffs, programs=PROGRAMS, commit=False)
    except FileNotFoundError as err:
        raise HostError(
            f"the compiled programs are missing ({err.filename}); install xlvs anew, or run ./dev build"
        ) from err
    except LoadError as err:
        raise HostError(f"this kernel refuses the programs: {err}") from err
    except HostError as err:
        if isinstance(err.__cause__, OSError) and err.__cause__.errno == errno.ENOMEM:
            raise memory.refused(sizes or table_sizes(abi.MAX_FLOWS), memory.available()) from err
        raise


def _is_there(paths: Paths, sizes: dict[str, int]) -> bool:
    """Return whether the flow table that is pinned has these sizes, and will be adopted."""
    for name in ("flows4", "flows6"):
        if not (paths.maps / name).exists():
            return False
        fd = syscalls.obj_get(paths.maps / name)
        try:
            if syscalls.map_info(fd).max_entries != sizes[name]:
                return False
        finally:
            os.close(fd)
    return True


def _start(options: argparse.Namespace) -> None:
    paths = Paths.of(options.instance)
    wish = Wish.parse(options.interfaces or "auto")
    config = options.config.absolute() if options.config else None
    if options.watch and not config:
        raise InvalidError("--watch is for a file; name it with --config FILE, or leave --watch out")
    if os.geteuid() != 0:
        raise HostError("xlvs daemon loads BPF programs, so it must run as root")
    probe.require_bpf()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the file is read at the start anyway
    with Lock(paths) as lock:
        is_first = not paths.state_dir.exists()
        mounted = netns.prepare_bpffs(paths.bpffs)
        try:
            if options.netns:
                netns.enter(options.netns)
            _refuse_other_namespace(paths)
            loaded = _load(paths, options)
            lock.sign()
            asyncio.run(_run(paths, Options(wish, config, options.netns or "", options.watch), loaded))
        except XlvsError:
            if mounted:  # by us, just now: what could not be begun leaves nothing behind
                bpffs.purge(paths.bpffs)
            if mounted and is_first:
                purge(paths)
                paths.lock.unlink(missing_ok=True)
            raise


async def _run(paths: Paths, options: Options, loaded: Loaded) -> None:
    daemon = Daemon(paths, options, loaded)
    # What was imported and made by now stays: the cycle collector need not go through it again and again.
    gc.freeze()
    gc.set_threshold(_GARBAGE, 50, 1000)
    await daemon.run()


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
