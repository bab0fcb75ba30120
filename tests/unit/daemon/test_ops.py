"""Requests: understood whole or refused, in the words of the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.daemon.fake import FakeKernel, engine
from xlvs.daemon.ops import Ops
from xlvs.errors import (
    InvalidError,
    NoSuchServerError,
    NoSuchServiceError,
    ServerExistsError,
    ServiceExistsError,
    UnknownSchedulerError,
    UnsupportedError,
    XlvsError,
)

WEB = {"protocol": "tcp", "address": "192.0.2.1", "port": 80}
SERVICE = {**WEB, "scheduler": "rr", "flags": []}
SERVER = {"address": "10.0.0.1", "port": 8080, "forward": "nat", "weight": 1, "upper": 0, "lower": 0}


@pytest.fixture
def ops(tmp_path: Path) -> Ops:
    """The requests of a director with one service and one server."""
    made = Ops(engine(tmp_path, FakeKernel()), "test", "", lambda: [], lambda: [])
    made.answer({"op": "add-service", "service": SERVICE})
    made.answer({"op": "add-server", "service": WEB, "server": SERVER})
    return made


def listing(ops: Ops, **service: Any) -> list[dict[str, Any]]:
    """Return the services as clients see them."""
    services: list[dict[str, Any]] = ops.answer({"op": "list", **service})["services"]
    return services


def test_what_was_added_is_listed(ops: Ops) -> None:
    """Services and servers come back as they were given, with their counters."""
    zeros = dict.fromkeys(("conns", "in_pkts", "out_pkts", "in_bytes", "out_bytes"), 0)
    server = {**SERVER, "active": 0, "inactive": 0, "persistent": 0, "stats": zeros, "rates": zeros}
    assert listing(ops) == [{**SERVICE, "stats": zeros, "rates": zeros, "servers": [server]}]
    assert listing(ops, service=WEB) == listing(ops)


def test_editing_a_service_keeps_its_servers(ops: Ops) -> None:
    """Another scheduler and flags, the same servers."""
    ops.answer({"op": "edit-service", "service": {**SERVICE, "scheduler": "sh", "flags": ["flag-2"]}})
    assert [(s["scheduler"], s["flags"], len(s["servers"])) for s in listing(ops)] == [("sh", ["flag-2"], 1)]


def test_editing_a_server_keeps_its_place(ops: Ops) -> None:
    """An edited server is not the newest."""
    ops.answer({"op": "add-server", "service": WEB, "server": {**SERVER, "address": "10.0.0.2"}})
    ops.answer({"op": "edit-server", "service": WEB, "server": {**SERVER, "weight": 5, "forward": "route"}})
    servers = [(s["address"], s["weight"], s["forward"]) for s in listing(ops)[0]["servers"]]
    assert servers == [("10.0.0.1", 5, "route"), ("10.0.0.2", 1, "nat")]


def test_deleting_and_flushing(ops: Ops) -> None:
    """Servers go one by one, services with what is left of theirs."""
    ops.answer({"op": "delete-server", "service": WEB, "server": {"address": "10.0.0.1", "port": 8080}})
    assert listing(ops)[0]["servers"] == []
    ops.answer({"op": "add-service", "service": {**SERVICE, "port": 81}})
    ops.answer({"op": "delete-service", "service": WEB})
    assert [s["port"] for s in listing(ops)] == [81]
    ops.answer({"op": "flush"})
    assert listing(ops) == []


REFUSED: list[tuple[dict[str, Any], type[XlvsError]]] = [
    ({"op": "nonsense"}, InvalidError),
    ({}, InvalidError),
    ({"op": "add-service"}, InvalidError),
    ({"op": "add-service", "service": 3}, InvalidError),
    ({"op": "add-service", "service": SERVICE}, ServiceExistsError),
    ({"op": "add-service", "service": {**SERVICE, "port": 81, "scheduler": "wlcc"}}, UnknownSchedulerError),
    ({"op": "add-service", "service": {**SERVICE, "port": 81, "flags": ["flag-9"]}}, InvalidError),
    ({"op": "add-service", "service": {**SERVICE, "port": 81, "servers": [SERVER]}}, InvalidError),
    ({"op": "add-service", "service": {**SERVICE, "port": 70000}}, InvalidError),
    ({"op": "add-service", "service": {**SERVICE, "address": "::ffff:192.0.2.1"}}, InvalidError),
    ({"op": "add-service", "service": {**SERVICE, "protocol": "sctp"}}, UnsupportedError),
    ({"op": "add-service", "service": {"fwmark": 1, "scheduler": "rr"}}, UnsupportedError),
    ({"op": "add-service", "service": {**SERVICE, "port": 81, "persistent": 300}}, UnsupportedError),
    ({"op": "edit-service", "service": {**SERVICE, "port": 81}}, NoSuchServiceError),
    ({"op": "delete-service", "service": {**WEB, "port": 81}}, NoSuchServiceError),
    ({"op": "add-server", "service": {**WEB, "port": 81}, "server": SERVER}, NoSuchServiceError),
    ({"op": "add-server", "service": WEB, "server": SERVER}, ServerExistsError),
    ({"op": "add-server", "service": WEB, "server": {**SERVER, "address": "10.0.0.2", "weight": -1}}, InvalidError),
    ({"op": "add-server", "service": WEB, "server": {**SERVER, "address": "10.0.0.2", "upper": 5}}, UnsupportedError),
    ({"op": "add-server", "service": WEB, "server": {**SERVER, "address": "fd00::1"}}, InvalidError),
    ({"op": "add-server", "service": WEB, "server": {**SERVER, "port": 1, "tunnel": "gue"}}, UnsupportedError),
    ({"op": "edit-server", "service": WEB, "server": {**SERVER, "port": 1}}, NoSuchServerError),
    ({"op": "delete-server", "service": WEB, "server": {"address": "10.0.0.9", "port": 1}}, NoSuchServerError),
    ({"op": "delete-server", "service": WEB, "server": {"address": "x"}}, InvalidError),
    ({"op": "list", "service": {**WEB, "port": 81}}, NoSuchServiceError),
    ({"op": "zero", "service": {**WEB, "port": 81}}, NoSuchServiceError),
]


@pytest.mark.parametrize(("request_", "error"), REFUSED, ids=[f"{r.get('op')}-{i}" for i, (r, _) in enumerate(REFUSED)])
def test_what_is_wrong_is_refused_and_changes_nothing(
    ops: Ops, request_: dict[str, Any], error: type[XlvsError]
) -> None:
    """Each wrong request has its own kind of error, and the services stay as they were."""
    before = listing(ops)
    with pytest.raises(error):
        ops.answer(request_)
    assert listing(ops) == before


def test_timeouts_are_those_of_ipvs(ops: Ops) -> None:
    """Fifteen minutes, two minutes, five minutes."""
    assert ops.answer({"op": "timeouts"}) == {"tcp": 900, "tcpfin": 120, "udp": 300}
