"""`xlvs real-server setup|undo`: make a machine a real server for `route`, `ipip`, `gue` or `gre`, or as it was before.

Such a server receives packets for the virtual address itself.  It therefore
has the address on its loopback, must not answer ARP for it (the director
does), and behind a tunnel must take its headers off.  What was changed is
remembered per network namespace below the run directory, each sysctl with the
value it had, so that `undo` restores exactly that.  Any number of virtual
addresses; setting one up twice changes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pyroute2 import IPRoute

from xlvs.cli import decap
from xlvs.errors import HostError, InvalidError, XlvsError
from xlvs.model import Address
from xlvs.model.server import TUNNELS

FORWARDS = ("route", *TUNNELS)
TUNNEL_PORT = 6080
"""The port of gue when none is told (IANA)."""
SYSCTLS = Path("/proc/sys/net/ipv4/conf")
SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h, since Linux 5.14
ARPHRD_ETHER = 1  # include/uapi/linux/if_arp.h
IFF_UP = 1
IFA_F_NODAD = 0x02  # include/uapi/linux/if_addr.h
RT_SCOPE_HOST = 254  # include/uapi/linux/rtnetlink.h
STRICT, LOOSE = 1, 2  # rp_filter, Documentation/networking/ip-sysctl.rst


@dataclass(frozen=True, slots=True)
class Vip:
    """A virtual address that was set up; *added* says that it was not on the loopback before."""

    forward: str
    interfaces: list[str]
    added: bool
    port: int = 0
    """The UDP port of gue."""


@dataclass(slots=True)
class Record:
    """What this network namespace was changed by: enough to undo it."""

    vips: dict[str, Vip] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    clsacts: list[str] = field(default_factory=list)

    def tunnels(self) -> tuple[set[str], dict[Address, int]]:
        """Return the interfaces that must decapsulate, and for which addresses, each with the port of gue or 0."""
        tunnelled = {address: vip for address, vip in self.vips.items() if vip.forward in TUNNELS}
        names = {name for vip in tunnelled.values() for name in vip.interfaces}
        return names, {Address.parse(address): vip.port for address, vip in tunnelled.items()}


def required_sysctls(vips: Mapping[str, Vip], original: Callable[[str], int]) -> dict[str, int]:
    """Return the values that the *vips* need, by path below `SYSCTLS`, where the *original* ones do not do.

    A stricter original stays.  The kernel takes the larger of `all` and the
    interface's value for all three (include/linux/inetdevice.h).
    """
    wanted: dict[str, int] = {}
    for address, vip in vips.items():
        if Address.parse(address).version == 6:
            continue  # neighbour discovery does not answer for an address of another interface
        for scope in ("all", *vip.interfaces):
            for key, least in (("arp_ignore", 1), ("arp_announce", 2)):
                if original(f"{scope}/{key}") < least:
                    wanted[f"{scope}/{key}"] = least
        if vip.forward in TUNNELS:
            for name in vip.interfaces:
                # The client's packet comes out of the tunnel on the interface towards the director.
                if max(original("all/rp_filter"), original(f"{name}/rp_filter")) == STRICT:
                    wanted[f"{name}/rp_filter"] = LOOSE
    return wanted


def setup(vip: Address, forward: str, interface: str | None, port: int = 0) -> list[str]:
    """Make this network namespace a real server for *vip*; return its interfaces.

    *port* is that of gue.  Raises `HostError`.
    """
    with IPRoute() as route, _locked_record() as record:
        interfaces = _interfaces(route, interface)
        before = record.vips.get(str(vip))
        added = before.added if before else not _on_loopback(route, vip)
        record.vips[str(vip)] = Vip(forward, interfaces, added, port)
        try:
            _settle(record, left=set(before.interfaces if before else ()))
            # Last: an address that is there before the sysctls would be answered for.
            if not _on_loopback(route, vip):
                _loopback_address(route, "add", vip)
        except BaseException:
            if before is None:
                del record.vips[str(vip)]
                _settle(record, left=set(interfaces))
            raise
    return interfaces


def undo(vip: Address, forward: str | None, interface: str | None) -> None:
    """Take back what `setup` did for *vip*.  Raises `HostError` if it was not set up, or otherwise."""
    with IPRoute() as route, _locked_record() as record:
        known = record.vips.get(str(vip))
        if known is None:
            raise HostError(f"{vip} was not set up here, so there is nothing to undo")
        if forward not in (None, known.forward) or (interface is not None and [interface] != known.interfaces):
            raise HostError(f"{vip} was set up with --forward {known.forward} on {', '.join(known.interfaces)}")
        if known.added and _on_loopback(route, vip):
            _loopback_address(route, "del", vip)
        del record.vips[str(vip)]
        _settle(record, left=set(known.interfaces))


def _settle(record: Record, left: set[str]) -> None:
    """Make sysctls and programs what the addresses of *record* need; interfaces *left* may need nothing now."""

    def original(path: str) -> int:
        return int(record.sysctls[path]) if path in record.sysctls else _read(path)

    wanted = required_sysctls(record.vips, original)
    for path in [path for path in record.sysctls if path not in wanted]:
        with contextlib.suppress(OSError):  # the interface may be gone
            (SYSCTLS / path).write_text(record.sysctls[path])
        del record.sysctls[path]
    for path in wanted:
        record.sysctls.setdefault(path, str(_read(path)))
    _save(record)  # the old values are on disk before the new ones are in force
    for path, value in wanted.items():
        (SYSCTLS / path).write_text(str(value))
    tunnels, addresses = record.tunnels()
    if tunnels:
        decap.attach(sorted(tunnels), addresses, record.clsacts)
    if idle := left - tunnels:
        decap.detach(sorted(idle), record.clsacts)
        record.clsacts = [name for name in record.clsacts if name not in idle]


def _read(path: str) -> int:
    try:
        return int((SYSCTLS / path).read_text())
    except OSError:
        return 0


def _interfaces(route: IPRoute, chosen: str | None) -> list[str]:
    """Return *chosen*, or every Ethernet-like interface."""
    links = {link.get("ifname"): link for link in route.get_links()}
    if not links["lo"]["flags"] & IFF_UP:
        raise HostError("the loopback interface is down, and the virtual address is to live there: ip link set lo up")
    if chosen is not None:
        if chosen not in links:
            raise HostError(f"there is no interface {chosen!r} (there are: {', '.join(sorted(links))})")
        return [chosen]
    found = sorted(name for name, link in links.items() if link["ifi_type"] == ARPHRD_ETHER)
    if not found:
        raise HostError("there is no network interface besides the loopback")
    return found


def _on_loopback(route: IPRoute, vip: Address) -> bool:
    index = route.link_lookup(ifname="lo")[0]
    return any(row.get("address") == str(vip) for row in route.get_addr(index=index, family=_family(vip)))


def _loopback_address(route: IPRoute, command: str, vip: Address) -> None:
    options = {"flags": IFA_F_NODAD} if vip.version == 6 else {"scope": RT_SCOPE_HOST}
    index = route.link_lookup(ifname="lo")[0]
    route.addr(command, index=index, family=_family(vip), address=str(vip), prefixlen=vip.max_prefixlen, **options)


def _family(vip: Address) -> int:
    return socket.AF_INET if vip.version == 4 else socket.AF_INET6


@contextlib.contextmanager
def _locked_record() -> Iterator[Record]:
    """Give out the record, kept from others meanwhile; write it back, also when something failed half way."""
    file = _record_file()
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = _load(file)
        try:
            yield record
        finally:
            _save(record)
    finally:
        os.close(lock)


def _record_file() -> Path:
    """Return the file of this network namespace.

    Named after the namespace's cookie: unlike its inode it is never used again
    before the next boot.
    """
    with socket.socket() as sock:
        cookie = int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)
    return Path(os.environ.get("XLVS_RUN_DIR", "/run/xlvs")) / f"real-server-{cookie}.json"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _load(file: Path) -> Record:
    try:
        data = json.loads(file.read_text())
    except FileNotFoundError:
        return Record()
    if data["boot"] != _boot():
        return Record()  # a boot undoes everything by itself
    vips = {address: Vip(**vip) for address, vip in data["vips"].items()}
    return Record(vips, data["sysctls"], data["clsacts"])


def _save(record: Record) -> None:
    file = _record_file()
    if not record.vips and not record.sysctls:
        file.unlink(missing_ok=True)
        return
    aside = file.with_suffix(".new")
    with aside.open("w") as out:
        json.dump({"boot": _boot(), **asdict(record)}, out)
        out.flush()
        os.fsync(out.fileno())
    aside.rename(file)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `xlvs real-server`."""
    parser.add_argument("action", choices=("setup", "undo"), help="make this machine a real server, or take it back")
    parser.add_argument("--forward", choices=FORWARDS, help="how the director sends packets here")
    parser.add_argument(
        "--tunnel-port", type=int, default=TUNNEL_PORT, metavar="N", help="the UDP port of gue (default: %(default)s)"
    )
    parser.add_argument("--vip", required=True, metavar="ADDRESS", help="the virtual address")
    parser.add_argument("--interface", metavar="I", help="where packets come in (default: every Ethernet interface)")


def run(options: argparse.Namespace) -> int:
    """Carry out parsed *options*; return the exit code.  Raises `XlvsError`."""
    vip = _parse_vip(options.vip)
    if os.geteuid() != 0:
        raise HostError("xlvs real-server must run as root")
    if options.action == "undo":
        undo(vip, options.forward, options.interface)
        return 0
    if options.forward is None:
        raise InvalidError(f"setup needs --forward {', '.join(FORWARDS[:-1])} or {FORWARDS[-1]}")
    if not 1 <= options.tunnel_port <= 65535:
        raise InvalidError(f"the tunnel port {options.tunnel_port} is outside 1..65535")
    port = options.tunnel_port if options.forward == "gue" else 0
    interfaces = setup(vip, options.forward, options.interface, port)
    print(f"{vip} is set up for {options.forward} on {', '.join(interfaces)}")
    return 0


def _parse_vip(text: str) -> Address:
    try:
        vip = Address.parse(text)
    except InvalidError as err:
        raise InvalidError(f"virtual address {text!r} is neither an IPv4 nor an IPv6 address") from err
    kind = vip.ip
    if kind.is_multicast or kind.is_unspecified or kind.is_loopback or kind.is_link_local:
        raise InvalidError(f"{vip} cannot be a virtual address: it is multicast, unspecified, loopback or link-local")
    return vip


def main(argv: Sequence[str] | None = None) -> int:
    """Run `xlvs real-server`; return the exit code."""
    parser = argparse.ArgumentParser(prog="xlvs real-server", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(argv)
    try:
        return run(options)
    except (XlvsError, OSError) as err:
        print(f"xlvs: {err}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
