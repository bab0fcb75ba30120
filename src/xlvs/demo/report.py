"""What the demonstration prints: the network as a drawing, requests per server as bars, the JSON object.

Pure: text out of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xlvs.demo import topology
from xlvs.demo.traffic import Result

BAR = 40

WAYS = {
    "nat": "requests and replies pass the director, which rewrites addresses and ports",
    "route": "requests pass the director, which rewrites MAC addresses; replies go straight to the client",
    "ipip": "requests go through the director in a tunnel; replies go straight to the client",
}


def drawing(family: int, forward: str, service: str) -> str:
    """Return the network as a picture."""
    client = topology.client_addresses(family)
    servers = topology.server_addresses(family)
    return f"""\
    +---------------------------+                  +---------------------------+
    | client                    |              +---| real1  {servers[0]:<19}|
    |   {client[0]:<24}|              |   +---------------------------+
    |   .. {client[-1]:<21}|---+          |   +---------------------------+
    +---------------------------+   |          +---| real2  {servers[1]:<19}|
                                [ switch ]-----+   +---------------------------+
    +---------------------------+   |          |   +---------------------------+
    | director                  |---+          +---| real3  {servers[2]:<19}|
    |   {topology.director_address(family):<24}|                  +---------------------------+
    |   VIP {service:<20}|
    +---------------------------+
    {forward}: {WAYS[forward]}"""


def bars(per_server: Mapping[str, int], names: Mapping[str, str]) -> str:
    """Return requests per server as a table of bars; *names* gives each address its name."""
    total = sum(per_server.values()) or 1
    most = max(per_server.values(), default=0) or 1
    lines = []
    for address, name in names.items():
        count = per_server.get(address, 0)
        bar = "#" * round(BAR * count / most)
        lines.append(f"    {name:<6} {address:<12} {count:>7}  {100 * count / total:5.1f} %  {bar}".rstrip())
    return "\n".join(lines)


def latency(result: Result) -> str:
    """Return the latency line."""
    p50, p99 = result.percentile_ms(0.5), result.percentile_ms(0.99)
    return (
        "    latency  no request was answered" if p50 is None else f"    latency  p50 {p50:.2f} ms   p99 {p99:.2f} ms"
    )


def errors(result: Result) -> str:
    """Return the errors, the most frequent first."""
    lines = [f"    errors   {result.errors.total()}"]
    lines += [f"      {count} x {text}" for text, count in result.errors.most_common(5)]
    return "\n".join(lines)


def as_json(result: Result, names: Mapping[str, str], **settings: Any) -> dict[str, Any]:
    """Return the one object of `--json`: *settings*, and what came out; every server of *names* is in it."""
    return {
        **settings,
        "requests": result.done,
        "errors": result.errors.total(),
        "per_server": {address: result.per_server.get(address, 0) for address in names},
        "p50_ms": result.percentile_ms(0.5),
        "p99_ms": result.percentile_ms(0.99),
    }
