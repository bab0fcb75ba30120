"""Watching: every change is told, in order, to those who listen; who does not is dropped."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.unit.daemon.api.fake import FakeDirector, Running
from xlvs.cli.client import Client
from xlvs.daemon.api import Change
from xlvs.daemon.api.connection import Patience
from xlvs.daemon.api.watch import QUEUE

LISTEN = {"protocol": "tcp", "address": "192.0.2.1", "port": 80}


def told(event: dict[str, str]) -> dict[str, Any]:
    """Return what a change *event* says."""
    assert event["event"] == "change"
    data: dict[str, Any] = json.loads(event["data"])
    assert event["id"] == str(data["generation"])
    return data


def test_watchers_hear_of_every_change(running: Running, client: Client) -> None:
    """With generation, owner and differences; neither of dry runs nor of what changes nothing."""
    events = client.stream("/v1/watch")
    done = client.post("/v1/services", {"listen": LISTEN}, {"owner": "me"})
    client.patch("/v1/services/tcp:192.0.2.1:80", {"scheduler": "rr"}, {"dry-run": True})
    client.patch("/v1/services/tcp:192.0.2.1:80", {"scheduler": "wlc"})
    client.delete("/v1/services/tcp:192.0.2.1:80", {"owner": "me"})
    assert told(next(events)) == {**done, "owner": "me"}
    assert told(next(events))["generation"] == 2
    running.publish(Change(77, "config:/x", []))
    assert told(next(events)) == {"generation": 77, "owner": "config:/x", "differences": []}
    events.close()


def test_silence_is_broken_by_comments(tmp_path: Path) -> None:
    """A watcher can tell a daemon that has nothing to say from one that is gone."""
    patience = Patience(heartbeat_s=0.01)
    with (
        Running(tmp_path / "s", FakeDirector(), patience=patience) as running,
        socket.socket(socket.AF_UNIX) as watcher,
    ):
        watcher.settimeout(10)
        watcher.connect(str(running.path))
        watcher.sendall(b"GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
        text = b""
        while text.count(b": still here\n\n") < 2:
            text += watcher.recv(4096)
    assert b": generation 0\n\n" in text


def test_streams_end_with_the_daemon(tmp_path: Path) -> None:
    """A watcher sees the end, not a broken connection."""
    with Running(tmp_path / "s", FakeDirector()) as running:
        events = Client(str(running.path)).stream("/v1/watch")
    assert list(events) == []


def test_watcher_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    """Its queue is bounded, changes go on, and whoever reads hears them all."""
    count = QUEUE + 100
    with Running(tmp_path / "s", FakeDirector(), patience=Patience(stall_s=0.2)) as running:
        with Client(str(running.path)) as client:
            deaf = client.stream("/v1/watch")
            honest = client.stream("/v1/watch")
            for n in range(count):
                running.publish(Change(n, "x" * 10_000, []))
                assert told(next(honest))["generation"] == n
            assert client.get("/v1/services")["services"] == []
            while len(running.server._watchers) > 1:
                client.get("/v1/timeouts")
        deaf.close()
        honest.close()


def test_watcher_that_has_gone_is_forgotten(running: Running, client: Client) -> None:
    """Nothing is kept for it."""
    events = client.stream("/v1/watch")
    events.close()
    while len(running.server._watchers):
        client.get("/v1/timeouts")
