"""The tables of ipvsadm 1.31, byte for byte, trailing blanks included.

Input is what the daemon answers to ``GET /v1/services``; output is text.
Names are asked of the resolver only when they are to be printed.
"""

from __future__ import annotations

import socket

from xlvs.cli.adm.order import sort_servers, sort_services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = dict[str, Any]

_VERSION = "IP Virtual Server version 1.2.1 (size=4096)\n"
"""What ipvsadm prints about the IPVS it would be talking to."""

_FORWARD = {"nat": "Masq", "route": "Route", "ipip": "Tunnel", "gue": "Tunnel", "gre": "Tunnel"}
_SWITCH = {"nat": "-m", "route": "-g", "ipip": "-i", "gue": "-i", "gre": "-i"}
_SERVICE_SWITCH = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_CHECKSUMS = {"none": ("-c", "--tun-nocsum"), "full": ("+c", "--tun-csum"), "remote": ("r+c", "--tun-remcsum")}
_FLAG_NAMES = {"sh": ("sh-fallback", "sh-port"), "mh": ("mh-fallback", "mh-port")}
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
        name = _rule_name(service["listen"], names)
        lines.append(f"-A {name} -s {service['scheduler']}{_rule_options(service)}\n")
        for server in _sorted_servers(service, names, options):
            endpoint = names.endpoint(server["address"], server["port"], service["listen"]["protocol"])
            how = f"{_SWITCH[server['forward']]} -w {server['weight']}{_rule_tunnel(server)}"
            lines.append(f"-a {name} -r {endpoint} {how}\n")
    return "".join(lines)


def _rule_name(listen: Row, names: Names) -> str:
    protocol = listen["protocol"]
    if "mark" in listen:
        return f"-f {_signed(listen['mark'])}{' -6' if listen['family'] == 6 else ''}"
    return f"{_SERVICE_SWITCH[protocol]} {names.endpoint(listen['address'], listen['port'], protocol)}"


def _rule_options(service: Row) -> str:
    persistent, mask, flags = service["persistent"], _mask(service), _flags(service)
    found = f" -p {persistent}{' -M ' + mask if mask else ''}" if persistent else ""
    found += f" --pe {service['engine']}" if service["engine"] else ""
    found += " -o" if service["ops"] else ""
    return found + (f" -b {flags}" if flags else "")


def _rule_tunnel(server: Row) -> str:
    match server["forward"]:
        case "ipip":
            return " --tun-type ipip"
        case "gue":
            return f" --tun-type gue --tun-port {server['tunnel_port']} {_CHECKSUMS[server['tunnel_checksum']][1]}"
        case "gre":
            return f" --tun-type gre {_CHECKSUMS[server['tunnel_checksum']][1]}"
    return ""


def arrange(services: list[Row], options: set[str]) -> list[Row]:
    """Return services and their servers in the order in which tables have them."""
    names = Names(numeric=True)
    return [
        {**service, "servers": _sorted_servers(service, names, options)}
        for service in _sorted_services(services, names, options)
    ]


def format_timeouts(timeouts: Row) -> str:
    """Return the line of ``-L --timeout``."""
    return f"Timeout (tcp tcpfin udp): {timeouts['tcp']} {timeouts['tcpfin']} {timeouts['udp']}\n"


def _sorted_services(services: list[Row], names: Names, options: set[str]) -> list[Row]:
    return services if "nosort" in options else sort_services(services, names.pack)


def _sorted_servers(service: Row, names: Names, options: set[str]) -> list[Row]:
    servers: list[Row] = service["servers"]
    return servers[::-1] if "nosort" in options else sort_servers(servers, names.pack)


def _service_line(service: Row, names: Names, view: str, exact: bool) -> str:
    name = _service_name(service["listen"], names)
    if view in ("stats", "rate"):
        counters = service["stats" if view == "stats" else "rates"]
        return f"{name:33}" + "".join(large(counters[field], exact) for field in _COUNTERS) + "\n"
    flags = _flags(service)
    return f"{name} {service['scheduler']}{' (' + flags + ')' if flags else ''}{_persistence(service)}\n"


def _service_name(listen: Row, names: Names) -> str:
    if "mark" in listen:
        return f"FWM  {_signed(listen['mark'])}{' IPv6' if listen['family'] == 6 else ''}"
    protocol = listen["protocol"]
    name = f"{protocol.upper():4} {names.endpoint(listen['address'], listen['port'], protocol)}"
    return name if ":" in listen["address"] else name[:33]


def _signed(mark: int) -> int:
    """Return a firewall mark as ipvsadm prints it: as an int of C."""
    return mark - 2**32 if mark >= 2**31 else mark


def _persistence(service: Row) -> str:
    found = ""
    if service["persistent"]:
        mask = _mask(service)
        found = f" persistent {service['persistent']}{' mask ' + mask if mask else ''}"
        found += f" pe {service['engine']}" if service["engine"] else ""
    return found + (" ops" if service["ops"] else "")


def _mask(service: Row) -> str:
    """Return the mask of persistence, "" if every client is by itself."""
    mask: str = service["netmask"]
    return "" if mask in ("255.255.255.255", "128") else mask


def _tunnel(server: Row) -> str:
    match server["forward"]:
        case "gue":
            return f"gue:{server['tunnel_port']}:{_CHECKSUMS[server['tunnel_checksum']][0]}"
        case "gre":
            return f"gre:{_CHECKSUMS[server['tunnel_checksum']][0]}"
    return "ipip" if server["forward"] == "ipip" else "n/a"


def _server_line(server: Row, protocol: str, names: Names, view: str, exact: bool) -> str:
    name = names.endpoint(server["address"], server["port"], protocol)
    if ":" not in server["address"]:
        name = name[:28]
    start = f"  -> {name:28}"
    connections = f"{server['active']:<10} {server['inactive']:<10}\n"
    if view == "stats":
        return start + "".join(large(server["stats"][field], exact) for field in _COUNTERS) + "\n"
    if view == "rate":
        rates = [server["rates"][field] for field in _COUNTERS]
        return start + "".join(f" {n:8}" for n in rates[:3]) + "".join(large(n, exact) for n in rates[3:]) + "\n"
    if view == "thresholds":
        return f"{start} {server['upper']:<10} {server['lower']:<10} {connections}"
    if view == "persistent-conn":
        return f"{start} {_weight(server):<9} {server['persistent']:<11} {connections}"
    forward = f"{_FORWARD[server['forward']]:7}"
    if view == "tun-info":
        forward += f" {_tunnel(server):13}"
    return f"{start} {forward} {_weight(server):<6} {connections}"


def _flags(service: Row) -> str:
    names = _FLAG_NAMES.get(service["scheduler"], ("flag-1", "flag-2", "flag-3"))
    numbers = ("flag-1", "flag-2", "flag-3")
    return ",".join(name for number, name in zip(numbers, names, strict=False) if number in service["flags"])


def large(number: int, exact: bool) -> str:
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


def _weight(server: Any) -> int:
    """Return the weight that a server has at this moment: 0 if its health checks fail."""
    weight: int = server.get("effective", server["weight"])
    return weight
