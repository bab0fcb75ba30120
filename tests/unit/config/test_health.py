"""`health` in a configuration file: read, written again, and all that is wrong with it told at once."""

from __future__ import annotations

import pytest

from xlvs.config import ConfigError, dump, load
from xlvs.model import Address, Health, Notify, Server, ServerHealth

WHOLE = """\
services:
  - listen: {address: 192.0.2.1, port: 80}
    health:
      checks:
        - {type: http, path: /ready, interval: 500ms, status: "200-299,404"}
        - {type: tcp, port: 8081}
      alpha: true
      omega: true
      quorum: 3
      hysteresis: 1
      inhibit: true
      slow_start: 1m
      sorry_server: {address: 10.0.0.99, port: 8080}
      notify: {up: /bin/up now, quorum_down: /bin/down}
      maintenance: /run/maintenance
    servers:
      - address: 10.0.0.1
        health: {checks: [{type: tcp}], alpha: false, inhibit: false, notify: {down: /bin/gone}}
      - {address: 10.0.0.2, health: {checks: []}}
"""


def test_everything_is_read() -> None:
    """Durations become seconds, checks stay as they are written but for defaults."""
    (service,) = load(WHOLE, filename="x.yaml", owner="me").services
    assert service.health == Health(
        (
            {"type": "http", "path": "/ready", "interval": "500ms", "status": "200-299,404"},
            {"type": "tcp", "port": 8081},
        ),
        alpha=True,
        omega=True,
        quorum=3,
        hysteresis=1,
        inhibit=True,
        slow_start=60,
        notify=Notify(up="/bin/up now", quorum_down="/bin/down"),
        maintenance="/run/maintenance",
    )
    assert service.sorry_server == Server(Address.parse("10.0.0.99"), 8080, "nat", owner="me")
    assert service.servers[0].health == ServerHealth(({"type": "tcp"},), False, False, Notify(down="/bin/gone"))
    assert service.servers[1].health == ServerHealth(())


def test_it_is_written_as_it_is_read() -> None:
    """What was read from what was written is the same."""
    services = load(WHOLE, filename="x.yaml", owner="me").services
    assert load(dump(services), filename="y.yaml", owner="me").services == services


@pytest.mark.parametrize(
    ("line", "complaints"),
    [
        (
            "checks: [{type: htp}]",
            ["services[0].health.checks[0]: there is no health check 'htp' (did you mean 'http'?)"],
        ),
        (
            "checks: [{type: tcp, x: 1}, {path: /}]",
            [
                "services[0].health.checks[0]: the health check tcp has no 'x'",
                "services[0].health.checks[1]: a health check lacks its type",
            ],
        ),
        ("quorum: 0", ["services[0].health.quorum: "]),
        ("{quorum: 2, hysteresis: 2}", ["services[0].health: a quorum of 2 with a hysteresis of 2 cannot be"]),
        ("slow_start: soon", ["services[0].health.slow_start"]),
        ("qorum: 2", ["services[0].health.qorum: unknown key (did you mean 'quorum'?)"]),
        ("sorry_server: {address: 300.0.0.1}", ["services[0].health.sorry_server.address: "]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(line: str, complaints: list[str]) -> None:
    """Every fault of a file, not the first alone."""
    health = line if line.startswith("{") else "{" + line + "}"
    text = f"services:\n  - listen: {{address: 192.0.2.1, port: 80}}\n    health: {health}\n"
    with pytest.raises(ConfigError) as caught:
        load(text, filename="x.yaml", owner="me")
    told = str(caught.value)
    for complaint in complaints:
        assert complaint in told
    assert len(caught.value.problems) == len(complaints)
