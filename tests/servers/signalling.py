"""A RADIUS server, freeradius, and a SIP server, sipp."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.servers.server import LOOPBACK, Server

RADIUS = """\
name = radius
prefix = {directory}
logdir = {directory}
run_dir = {directory}
libdir = /usr/lib/freeradius
client loopback4 {{
  ipaddr = 127.0.0.1
  secret = testing
}}
client loopback6 {{
  ipv6addr = ::1
  secret = testing
}}
modules {{
  pap {{
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {radius}
  }}
  listen {{
    type = auth
    ipv6addr = ::1
    port = {radius}
  }}
  authorize {{
    if (&User-Name == "ann" || &User-Name == "eve") {{
      update control {{
        &Cleartext-Password := "secret"
      }}
    }}
    pap
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
  }}
  post-auth {{
    if (&User-Name == "ann") {{
      update reply {{
        &Message-Authenticator := 0x00
      }}
    }}
    Post-Auth-Type REJECT {{
      update reply {{
        &Reply-Message := "go away"
      }}
    }}
  }}
}}
"""

SIP = """\
<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="options">
  <recv request="OPTIONS"/>
  <send><![CDATA[
{answer}
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"""


def radius() -> Server:
    """Return a server that knows ann, and eve, to whom it answers without a Message-Authenticator."""
    server = Server("radius")
    server.write("dictionary", "")
    server.write("radiusd.conf", RADIUS.format(directory=server.directory, **server.ports))
    server.argv = ("freeradius", "-f", "-l", "stdout", "-d", str(server.directory))
    server.ready = lambda: receives(server.ports["radius"], (4, 6))
    return server


def sip(transport: str, family: int, answer: str = "SIP/2.0 200 OK") -> Server:
    """Return a server that answers OPTIONS at the loopback address of one family.

    By TCP it ends with its first connection, as we end that one by a reset.
    """
    server = Server("sip")
    scenario = server.write("options.xml", SIP.format(answer=answer))
    where = ("-i", LOOPBACK[family], "-p", str(server.ports["sip"]))
    server.argv = ("sipp", "-sf", str(scenario), "-t", f"{transport[0]}1", *where, "-nostdin")
    server.environment = {"TERM": "dumb"}
    server.ready = lambda: receives(server.ports["sip"], (family,), transport)
    return server


def receives(port: int, families: tuple[int, ...], transport: str = "udp") -> bool:
    """Return whether somebody has the port at all loopback addresses of *families*."""
    for family in families:
        rows = Path(f"/proc/net/{transport}{'6' if family == 6 else ''}").read_text().splitlines()[1:]
        packed = socket.inet_pton(socket.AF_INET6 if family == 6 else socket.AF_INET, LOOPBACK[family])
        words = (packed[at : at + 4][::-1] for at in range(0, len(packed), 4))  # each as a number of the host
        local = f"{b''.join(words).hex().upper()}:{port:04X}"
        if not any(
            row.split()[1] == local and row.split()[3] in ("0A", "07") for row in rows
        ):  # listening, or unconnected
            return False
    return True
