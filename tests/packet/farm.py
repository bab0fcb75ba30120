"""A service with many servers on the real programs, driven one connection at a time.

The network of the packet tests gets 64 servers in each family; which of them
was chosen is seen by the MAC address that a packet leaves for.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from tests.captures import later
from tests.packet.director import SENT, SIZES, Director
from tests.packet.frames import Frame, tcp
from tests.packet.network import Network
from xlvs.dataplane import OBJECTS, Loader
from xlvs.dataplane.flows import table_sizes
from xlvs.model import Address, Server, Service

FLOWS = 1024
"""More than any test here opens: nothing is forgotten."""

_MANY = SIZES | dict.fromkeys(("servers", "server_options", "loads", "server_stats", "nat_servers", "slots"), 256) | {
    "services": 512, "addrs": 1024,
}  # fmt: skip
_ROOM = table_sizes(FLOWS)


def mac(address: Address) -> str:
    """Return the MAC address of a server: its family and the last byte of its address."""
    return f"02:00:00:00:0{address.version}:{address.packed[-1]:02x}"


def addresses(family: int) -> list[Address]:
    """Return the 64 servers of a family; the IPv4 ones are 10.0.1.1 and up, as in the captured runs."""
    first = Address.parse("10.0.1.1" if family == 4 else "fd02::1")
    return [later(first, i) for i in range(64)]


@contextmanager
def lab() -> Iterator[Director]:
    """Yield a director with a larger flow table, from inside a network with all the servers."""
    network = Network.make()
    lines = ["address add 10.0.1.254/24 dev inside", "address add fd02::fe/64 dev inside nodad"]
    for address in addresses(4) + addresses(6):
        lines.append(f"neighbour add {address} lladdr {mac(address)} dev inside nud permanent")
    try:
        with network.inside():
            subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
            loaded = Loader([OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o"], sizes=_MANY | _ROOM).load()
            try:
                yield Director(loaded)
            finally:
                loaded.close()
    finally:
        network.close()


class Farm:
    """The one service of a director, and what `tests.captures.replay` needs of it."""

    def __init__(
        self, director: Director, service: Service, hook: str, *, closes: bool = False, others: Sequence[Address] = ()
    ) -> None:
        director.reset()
        director.configure()
        self.director = director
        self._hook = hook
        self._closes = closes
        self._service = service
        self._others = others
        self._syn = tcp(_way(service), "S")
        self._fin = tcp(_way(service), "FA")
        self.change(())

    def change(self, servers: Sequence[Server]) -> None:
        """Replace all servers by *servers*, oldest first."""
        self._service = self._service.with_servers(tuple(servers))
        self.director.put(self._service)
        if self._others:
            self.director.share(self._service, self._others)

    def change_scheduler(self, name: str) -> None:
        """Give the service another scheduler."""
        self._service = replace(self._service, scheduler=name)
        self.director.put(self._service)

    def add(self, server: Server) -> None:
        """Add a server."""
        self.change([*self._service.servers, server])

    def edit(self, server: Server) -> None:
        """Replace the server of the same address and port."""
        self.change([server if s.key == server.key else s for s in self._service.servers])

    def delete(self, server: Server) -> None:
        """Delete the server of this address and port."""
        self.change([s for s in self._service.servers if s.key != server.key])

    def connect(self, source: Address, port: int, virtual: Address | None = None) -> Address | None:
        """Send a SYN, and the FIN that ends the connection if it shall end; return the server it went to."""
        virtual = virtual or self._service.key.address
        out = self.director.packet(_filled(self._syn, source, port, virtual), self._hook)
        to = out.packet[:6].hex(":")
        chosen = [s.address for s in self._service.servers if out.verdict is SENT and mac(s.address) == to]
        if chosen and self._closes:
            self.director.packet(_filled(self._fin, source, port, virtual), self._hook)
        return chosen[0] if chosen else None

    def loads(self) -> dict[Address, tuple[int, int]]:
        """Return active and inactive connections as the programs counted them."""
        return {s.address: self.director.load(_end(s)) for s in self._service.servers}

    def numbers(self) -> dict[Address, int]:
        """Return the servers' numbers."""
        return {s.address: self.director.number(_end(s)) for s in self._service.servers}


def _end(server: Server) -> str:
    return f"[{server.address}]:{server.port}" if server.address.version == 6 else f"{server.address}:{server.port}"


def _way(service: Service) -> str:
    port = service.key.port
    return f"[::]:0 > [::]:{port}" if service.key.version == 6 else f"0.0.0.0:0 > 0.0.0.0:{port}"


def _filled(template: Frame, source: Address, port: int, virtual: Address) -> Frame:
    """Return the frame as if it came from there and went there: a hundred times as fast as building it anew."""
    at, tcp_at, ip_sum = (26, 34, 24) if source.version == 4 else (22, 54, None)
    frame = bytearray(template)
    addresses = source.packed + virtual.packed
    frame[at : at + len(addresses)] = addresses
    struct.pack_into("!H", frame, tcp_at, port)
    added = [*struct.unpack(f"!{len(addresses) // 2}H", addresses)]
    if ip_sum:
        _add(frame, ip_sum, added)
    _add(frame, tcp_at + 16, [*added, port])
    return Frame(frame)


def _add(frame: bytearray, at: int, words: list[int]) -> None:
    """Bring the checksum at *at* along, where these words take the place of zeros (RFC 1624)."""
    total = (~struct.unpack_from("!H", frame, at)[0] & 0xFFFF) + sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", frame, at, ~total & 0xFFFF)
