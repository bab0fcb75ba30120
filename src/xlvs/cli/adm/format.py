"""The tables of ipvsadm 1.31, byte for byte, trailing blanks included.

Input is what the daemon answers to ``GET /v1/services`` and ``GET /v1/flows``; output is text.
Names are asked of the resolver only when they are to be printed.
"""

from __future__ import annotations

import socket

from xlvs.cli.adm.order import sort_servers, sort_services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Row = dict[str, Any]

_VERSION = "IP Virtual Server version 1.2.1 (size=4096)\n"
"""What ipvsadm prints about the IPVS it would be talking to."""

_FORWARD = {"nat": "Masq", "route": "Route", "ipip": "Tunnel"}
_SWITCH = {"nat": "-m", "route": "-g", "ipip": "-i"}
_SERVICE_SWITCH = {"tcp": "-t", "udp": "-u"}
_FLAG_NAMES = {"sh": ("sh-fallback", "sh-port"), "mh": ("mh-fallback", "mh-port")}
_FLOW_ROW = b"%-3b %-6b %-11b %-18b %-18b %b\n"
FLOW_FIELDS = ("protocol", "expires_s", "state", "client", "virtual", "server")
"""The columns of flows that are printed, in their order."""
_COUNTERS = ("conns", "in_pkts", "out_pkts", "in_bytes", "out_bytes")

_LOCAL = "Prot LocalAddress:Port"
_REMOTE = "  -> RemoteAddress:Port"
_PLAIN_TITLE = f"{_LOCAL} Scheduler Flags\n{_REMOTE}           Forward Weight ActiveConn InActConn\n"
# In the order in which ipvsadm chooses when several are asked for.
_TITLES = {
    "stats": f"{_LOCAL:33} {'Conns':>8} {'InPkts':>8} {'OutPkts':>8} {'InBytes':>8} {'OutBytes':>8}\n{_REMOTE}\n",
    "rate": f"{_LOCAL:33} {'CPS':>8} {'InPPS':>8} {'OutPPS':>8} {'InBPS':>8} {'OutBPS':>8}\n{_REMOTE}\n",
    "thresholds": f"{_LOCAL:33} {'Uthreshold':10} {'Lthreshold':10} {'ActiveConn':10} {'InActConn':10}\n{_REMOTE}\n",
    "persistent-conn": f"{_LOCAL:33} {'Weight':9} {'PersistConn':11} {'ActiveConn':10} {'InActConn':10}\n{_REMOTE}\n",
    "tun-info": f"{_LOCAL} Scheduler Flags\n{_REMOTE}           Forward TunnelInfo    Weight ActiveConn InActConn\n",
}


class Names:
    """Addresses and ports as ipvsadm writes them; each name is looked up once."""

    def __init__(self, *, numeric: bool) -> None:
        self._numeric = numeric
        self._packed: dict[str, bytes] = {}
        self._hosts: dict[str, str] = {}
        self._ports: dict[tuple[int, str], str] = {}

    def pack(self, address: str) -> bytes:
        """Return the bytes of an *address* in text form."""
        packed = self._packed.get(address)
        if packed is None:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            packed = self._packed[address] = socket.inet_pton(family, address)
        return packed

    def endpoint(self, address: str, port: int, protocol: str) -> str:
        """Return ``host:port`` or ``[host]:port``, cut as ipvsadm's buffer cuts it (59 characters)."""
        host = self._hosts.get(address)
        if host is None:
            host = self._hosts[address] = self._host(address)
        service = str(port) if self._numeric else self._port(port, protocol)
        return (f"[{host}]:{service}" if ":" in address else f"{host}:{service}")[:59]

    def named(self, end: str, protocol: str) -> str:
        """Return an *end* that is written in numbers with its names."""
        address, _, port = end.rpartition(":")
        return self.endpoint(address.strip("[]"), int(port), protocol)

    def _host(self, address: str) -> str:
        packed = self.pack(address)
        text = socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
        if self._numeric:
            return text
        try:
            return socket.gethostbyaddr(text)[0]
        except OSError:
            return text

    def _port(self, port: int, protocol: str) -> str:
        key = (port, protocol)
        if key not in self._ports:
            try:
                self._ports[key] = socket.getservbyport(port, protocol)
            except OSError:
                self._ports[key] = str(port)
        return self._ports[key]


def format_list(services: list[Row], options: set[str], *, single: bool) -> str:
    """Return the table of ``-L``; *options* are the long names given, *single*: one service was asked for."""
    names = Names(numeric="numeric" in options)
    view = next((view for view in _TITLES if view in options), "")
    lines = []
    if not single:
        lines.append(_VERSION)
    lines.append(_TITLES.get(view, _PLAIN_TITLE))
    exact = "exact" in options
    for service in _sorted_services(services, names, options):
        lines.append(_service_line(service, names, view, exact))
        for server in _sorted_servers(service, names, options):
            lines.append(_server_line(server, service["listen"]["protocol"], names, view, exact))
    return "".join(lines)


def format_rules(services: list[Row], options: set[str]) -> str:
    """Return the rules of ``-S``: what ``-R`` reads."""
    names = Names(numeric="numeric" in options)
    lines = []
    for service in _sorted_services(services, names, options):
        listen = service["listen"]
        protocol = listen["protocol"]
        name = f"{_SERVICE_SWITCH[protocol]} {names.endpoint(listen['address'], listen['port'], protocol)}"
        flags = _flags(service)
        lines.append(f"-A {name} -s {service['scheduler']}{' -b ' + flags if flags else ''}\n")
        for server in _sorted_servers(service, names, options):
            tunnel = " --tun-type ipip" if server["forward"] == "ipip" else ""
            endpoint = names.endpoint(server["address"], server["port"], protocol)
            lines.append(f"-a {name} -r {endpoint} {_SWITCH[server['forward']]} -w {server['weight']}{tunnel}\n")
    return "".join(lines)


def format_flows(blocks: Iterable[bytes], options: set[str]) -> Iterator[str]:
    """Yield the table of ``-L -c``: every flow, in the order of the daemon.

    *blocks* are whole lines of what it answers to ``GET /v1/flows`` as CSV with the columns `FLOW_FIELDS`.
    """
    names = Names(numeric="numeric" in options)
    title = f"pro expire {'state':11} {'source':18} {'virtual':18} "
    if "persistent-conn" in options:
        title += f"{'destination':18} {'pe name':16} pe_data\n"
    else:
        title += "destination\n"
    yield "IPVS connection entries\n" + title
    width = len(FLOW_FIELDS)
    header = width
    expires = _Expires()
    for block in blocks:
        # One format for all rows of a block: a step of Python for each row would take twice as long.
        cells = block.replace(b"\n", b",").split(b",")
        del cells[-1], cells[:header]
        header = 0
        if "numeric" not in options:
            for end in (3, 4, 5):
                pairs = zip(cells[end::width], cells[::width], strict=True)
                cells[end::width] = [names.named(name.decode(), protocol.decode()).encode() for name, protocol in pairs]
        cells[::width] = [protocol.upper() for protocol in cells[::width]]
        cells[1::width] = [expires[seconds] for seconds in cells[1::width]]
        yield (_FLOW_ROW * (len(cells) // width) % tuple(cells)).decode()


class _Expires(dict[bytes, bytes]):
    """Minutes and seconds as ipvsadm writes them, by seconds."""

    def __missing__(self, seconds: bytes) -> bytes:
        minutes, rest = divmod(int(seconds), 60)
        text = self[seconds] = b"%02d:%02d" % (minutes, rest)
        return text


def format_timeouts(timeouts: Row) -> str:
    """Return the line of ``-L --timeout``."""
    return f"Timeout (tcp tcpfin udp): {timeouts['tcp']} {timeouts['tcpfin']} {timeouts['udp']}\n"


def _sorted_services(services: list[Row], names: Names, options: set[str]) -> list[Row]:
    return services if "nosort" in options else sort_services(services, names.pack)


def _sorted_servers(service: Row, names: Names, options: set[str]) -> list[Row]:
    servers: list[Row] = service["servers"]
    return servers[::-1] if "nosort" in options else sort_servers(servers, names.pack)


def _service_line(service: Row, names: Names, view: str, exact: bool) -> str:
    listen = service["listen"]
    protocol = listen["protocol"]
    name = f"{protocol.upper():4} {names.endpoint(listen['address'], listen['port'], protocol)}"
    if ":" not in listen["address"]:
        name = name[:33]
    if view in ("stats", "rate"):
        counters = service["stats" if view == "stats" else "rates"]
        return f"{name:33}" + "".join(_large(counters[field], exact) for field in _COUNTERS) + "\n"
    flags = _flags(service)
    return f"{name} {service['scheduler']}{' (' + flags + ')' if flags else ''}\n"


def _server_line(server: Row, protocol: str, names: Names, view: str, exact: bool) -> str:
    name = names.endpoint(server["address"], server["port"], protocol)
    if ":" not in server["address"]:
        name = name[:28]
    start = f"  -> {name:28}"
    connections = f"{server['active']:<10} {server['inactive']:<10}\n"
    if view == "stats":
        return start + "".join(_large(server["stats"][field], exact) for field in _COUNTERS) + "\n"
    if view == "rate":
        rates = [server["rates"][field] for field in _COUNTERS]
        return start + "".join(f" {n:8}" for n in rates[:3]) + "".join(_large(n, exact) for n in rates[3:]) + "\n"
    if view == "thresholds":
        return f"{start} {server['upper']:<10} {server['lower']:<10} {connections}"
    if view == "persistent-conn":
        return f"{start} {server['weight']:<9} {server['persistent']:<11} {connections}"
    forward = f"{_FORWARD[server['forward']]:7}"
    if view == "tun-info":
        forward += f" {'ipip' if server['forward'] == 'ipip' else 'n/a':13}"
    return f"{start} {forward} {server['weight']:<6} {connections}"


def _flags(service: Row) -> str:
    names = _FLAG_NAMES.get(service["scheduler"], ("flag-1", "flag-2", "flag-3"))
    numbers = ("flag-1", "flag-2", "flag-3")
    return ",".join(name for number, name in zip(numbers, names, strict=False) if number in service["flags"])


def _large(number: int, exact: bool) -> str:
    """Return *number* in nine columns, shortened to K, M, G or T unless *exact* (ipvsadm, print_largenum)."""
    if exact:
        return f" {number:8}"
    if number < 10**8:
        return f"{number:9}"
    if number < 10**9:
        return f"{number // 10**3:8}K"
    if number < 10**11:
        return f"{number // 10**6:8}M"
    if number < 10**14:
        return f"{number // 10**9:8}G"
    return f"{number // 10**12:8}T"
