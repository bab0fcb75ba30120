"""``xlvs drain`` and ``xlvs undrain``: take a real server out of service without breaking connections."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any, NamedTuple

from xlvs.cli import base
from xlvs.cli.client import Client
from xlvs.cli.show.output import endpoint
from xlvs.errors import NoSuchServerError

POLL_S = 0.5
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh]?)", re.ASCII)


class Place(NamedTuple):
    """A server of a service, as the API names it."""

    service: str
    server: str
    protocol: str

    @property
    def path(self) -> str:
        """Where it is drained."""
        return f"/v1/services/{self.service}/servers/{self.server}/drain"


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs drain``."""
    found = _parser("drain", "Let a real server take no new connections; those it has go on.")
    found.add_argument("--wait", action="store_true", help="return when it has no connections left")
    found.add_argument(
        "--timeout", type=_seconds, metavar="TIME", help="wait no longer than 30s, 5m, 1h; implies --wait"
    )
    return found


def parser_undrain() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs undrain``."""
    return _parser("undrain", "Have a drained server in service again.")


def _parser(verb: str, text: str) -> argparse.ArgumentParser:
    found = base.parser(verb, text)
    found.add_argument("server", metavar="SERVER", help="10.0.0.1 or 10.0.0.1:80, in every service that has it")
    found.add_argument("--service", metavar="NAME", help="in this one only: its name, or its id: tcp:192.0.2.1:80")
    return found


def main(argv: list[str]) -> int:
    """Run ``xlvs drain``; return the exit code: 3 if connections are left when the time is over."""
    options = parser().parse_args(argv)
    with base.connect(options, "cli") as client:
        places = _places(client, options.server, options.service)
        for place in places:
            client.put(place.path, None)
            print(f"{place.service}: {place.server} takes no new connections")
        if not options.wait and options.timeout is None:
            return 0
        return _wait(client, places, options.timeout)


def main_undrain(argv: list[str]) -> int:
    """Run ``xlvs undrain``; return the exit code."""
    options = parser_undrain().parse_args(argv)
    with base.connect(options, "cli") as client:
        for place in _places(client, options.server, options.service):
            client.delete(place.path)
            print(f"{place.service}: {place.server} is in service again")
    return 0


def _places(client: Client, text: str, service: str | None) -> list[Place]:
    """Return where the server is; raises `NoSuchServerError`."""
    query = {"counters": "false"}
    services = (
        [client.get(f"/v1/services/{service}", query)] if service else client.get("/v1/services", query)["services"]
    )
    found = [
        Place(_id(one), endpoint(server["address"], server["port"]), one["listen"]["protocol"])
        for one in services
        for server in one["servers"]
        if text.strip("[]") == server["address"] or text == endpoint(server["address"], server["port"])
    ]
    if not found:
        where = f"service {service}" if service else "no service"
        raise NoSuchServerError(
            f"{where} has {'no' if service else 'a'} real server {text}; `xlvs get servers` lists them"
        )
    return found


def _id(service: Any) -> str:
    listen = service["listen"]
    if listen["protocol"] == "fwm":
        return f"fwm{'6' if listen['family'] == 6 else ''}:{listen['mark']}"
    return f"{listen['protocol']}:{endpoint(listen['address'], listen['port'])}"


def _wait(client: Client, places: list[Place], timeout: float | None) -> int:
    deadline = None if timeout is None else time.monotonic() + timeout
    left = {place: _connections(client, place) for place in places}
    while any(left.values()):
        if deadline is not None and time.monotonic() >= deadline:
            for place, count in left.items():
                if count:
                    print(f"{place.service}: {place.server} has {count} connections left")
            return 3
        time.sleep(POLL_S)
        left = {place: _connections(client, place) for place in places}
    print("drained")
    return 0


def _connections(client: Client, place: Place) -> int:
    """Return how many connections are in use; of UDP and marks also those that may be."""
    for server in client.get(f"/v1/services/{place.service}", {"counters": "connections"})["servers"]:
        if endpoint(server["address"], server["port"]) == place.server:
            inactive = 0 if place.protocol in ("tcp", "sctp") else server["inactive"]
            return int(server["active"] + inactive)
    return 0


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 30s, 5m or 1h")
    return float(match[1]) * _UNITS[match[2] or "s"]
