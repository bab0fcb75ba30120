"""A DNS server: nsd, with a zone of its own."""

from __future__ import annotations

from tests.servers.server import Server

CONFIG = """\
server:
    ip-address: 127.0.0.1
    ip-address: ::1
    port: {port}
    server-count: 1
    username: ""
    pidfile: ""
    zonesdir: "{directory}"
    xfrdfile: "{directory}/xfrd.state"
    zonelistfile: "{directory}/zone.list"
    xfrdir: "{directory}"
    database: ""
    cookie-secret-file: ""
remote-control:
    control-enable: no
zone:
    name: example.org
    zonefile: zone
"""
ZONE = """\
$ORIGIN example.org.
$TTL 60
@     SOA   ns root 1 60 60 60 60
@     NS    ns
@     MX    10 mail
ns    A     192.0.2.1
www   A     192.0.2.2
www   A     192.0.2.3
www   AAAA  2001:db8::2
long  TXT   ( {long} )
"""


def nsd() -> Server:
    """Return nsd with the zone example.org."""
    server = Server("dns")
    server.write("zone", ZONE.format(long=" ".join(f'"{number:0200}"' for number in range(40))))
    server.write("nsd.conf", CONFIG.format(port=server.ports["dns"], directory=server.directory))
    server.argv = ("nsd", "-d", "-c", str(server.directory / "nsd.conf"))
    return server
