"""What ``xlvs get`` shows of each kind of thing: where it is asked for, and its columns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from xlvs.cli.show.output import Row, endpoint


class View(NamedTuple):
    """One kind of thing.

    *columns* are those of the table, the last *extra* ones in ``-o wide`` only.
    *rows* makes them of the daemon's answer.  Rows that differ in *restless*
    columns only are no news to who watches.
    """

    path: str
    columns: tuple[str, ...]
    extra: int
    rows: Callable[[Any], list[Row]]
    restless: tuple[str, ...] = ()

    def header(self, *, wide: bool) -> tuple[str, ...]:
        """Return the columns that are shown."""
        return self.columns if wide or not self.extra else self.columns[: -self.extra]

    def table(self, answer: Any, *, wide: bool) -> list[Row]:
        """Return the rows that are shown."""
        shown = len(self.header(wide=wide))
        return [row[:shown] for row in self.rows(answer)]


def service_row(service: Any) -> Row:
    """Return a service's cells."""
    listen, stats, rates = service["listen"], service["stats"], service["rates"]
    return (
        *(listen["protocol"], endpoint(listen["address"], listen["port"]), service["scheduler"]),
        *(len(service["servers"]), stats["conns"], stats["in_bytes"], stats["out_bytes"], rates["conns"]),
        *(service["name"] or "-", ",".join(options_of(service)) or "-", service["device"] or "-", service["owner"]),
        *(stats["in_pkts"], stats["out_pkts"], rates["in_bytes"], rates["out_bytes"]),
    )


def server_rows(service: Any) -> list[Row]:
    """Return the cells of each of a service's servers."""
    listen = service["listen"]
    name = endpoint(listen["address"], listen["port"])
    return [
        (
            *(listen["protocol"], name, endpoint(s["address"], s["port"]), s["forward"], s["weight"]),
            *(s["active"], s["inactive"], s["stats"]["conns"], s["rates"]["conns"]),
            *(service["name"] or "-", s["owner"], s["stats"]["in_bytes"], s["stats"]["out_bytes"]),
            *(s["rates"]["in_bytes"], s["rates"]["out_bytes"]),
        )
        for s in service["servers"]
    ]


def options_of(service: Any) -> list[str]:
    """Return the flags of a service in the words of its scheduler."""
    if not service["flags"]:
        return []
    # The schedulers come with numpy: not before there is something to name.
    from xlvs.config.words import options

    return options(service["scheduler"], frozenset(service["flags"]))


def _flow_rows(flows: Any) -> list[Row]:
    ends = ("client", "virtual", "server")
    return [
        (f["protocol"], f["state"], f["expires_s"], *(endpoint(*f[end]) for end in ends), *f["bytes"], f["idle_s"])
        for f in flows
    ]


_IN_WIDE = ("NAME", "OPTIONS", "DEVICE", "OWNER", "IN-PKTS", "OUT-PKTS", "IN-BYTES/S", "OUT-BYTES/S")


def health_row(state: Mapping[str, Any]) -> Row:
    """Return the row of a server that is checked; how long it has been so, in seconds."""
    since = max(int(time.time() - state["since"]), 0) if state["since"] else ""
    return (
        *(state["service"], state["server"], state["state"], state["weight"], since, state["why"]),
        ", ".join(state["checks"]),
    )


VIEWS: dict[str, View] = {
    "services": View(
        "/v1/services",
        ("PROTOCOL", "SERVICE", "SCHEDULER", "SERVERS", "CONNS", "IN-BYTES", "OUT-BYTES", "CONNS/S", *_IN_WIDE),
        len(_IN_WIDE),
        lambda answer: [service_row(service) for service in answer["services"]],
    ),
    "servers": View(
        "/v1/services",
        (
            *("PROTOCOL", "SERVICE", "SERVER", "FORWARD", "WEIGHT", "ACTIVE", "INACTIVE", "CONNS", "CONNS/S"),
            *("NAME", "OWNER", "IN-BYTES", "OUT-BYTES", "IN-BYTES/S", "OUT-BYTES/S"),
        ),
        6,
        lambda answer: [row for service in answer["services"] for row in server_rows(service)],
    ),
    "flows": View(
        "/v1/flows",
        ("PROTOCOL", "STATE", "EXPIRES", "CLIENT", "VIRTUAL", "SERVER", "IN-BYTES", "OUT-BYTES", "IDLE"),
        1,
        _flow_rows,
        ("EXPIRES", "IN-BYTES", "OUT-BYTES", "IDLE"),
    ),
    "drops": View("/v1/drops", ("REASON", "PACKETS"), 0, lambda reasons: list(reasons.items())),
    "counters": View("/v1/counters", ("COUNTER", "VALUE"), 0, lambda counters: list(counters.items())),
    "health": View(
        "/v1/health",
        ("SERVICE", "SERVER", "STATE", "WEIGHT", "SINCE", "WHY", "CHECKS"),
        1,
        lambda rows: [health_row(row) for row in rows],
        ("SINCE",),
    ),
    "interfaces": View(
        "/v1/interfaces", ("INTERFACE", "HOOK", "WHY"), 0, lambda rows: [(i["name"], i["hook"], i["why"]) for i in rows]
    ),
    "status": View(
        "/v1/status",
        ("ITEM", "VALUE"),
        0,
        lambda status: [(name, value) for name, value in status.items() if name != "warnings"],
    ),
}
"""What can be shown."""
