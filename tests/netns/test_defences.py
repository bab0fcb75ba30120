"""The automatic defences come into force, and end, by the memory of this machine."""

from __future__ import annotations

from pathlib import Path

from tests.netns.lab import HTTP, Lab
from xlvs.cli.client import Client, socket_path
from xlvs.daemon.host.memory import free_pages
from xlvs.demo.wait import until


def test_scarce_memory_refuses_new_connections(tmp_path: Path) -> None:
    """A threshold half above what is free makes it scarce: one of three is refused; one of 0 never does."""
    with Lab("nat", "tc", tmp_path) as lab, Client(socket_path(lab.director.instance)) as client:

        def written(**sysctls: str) -> None:
            client.patch("/v1/sysctls", sysctls)

        def mode() -> str:
            return next(row["value"] for row in client.get("/v1/sysctls") if row["name"] == "drop_packet")

        lab.warm_up(4)
        known = lab.connect(4, HTTP)
        written(drop_packet="1", amemthresh="0")
        assert mode() == "1"
        lab.connect(4, HTTP).close()
        refused = client.get("/v1/drops").get("defence", 0)
        written(amemthresh=str(free_pages() * 3 // 2))
        assert mode() == "2"
        for _ in range(4):  # a SYN that is refused comes again
            lab.connect(4, HTTP).close()
        until(lambda: client.get("/v1/drops")["defence"] > refused, "nothing was refused")
        known.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert known.recv(1000).startswith(b"HTTP/1.1 200")
        known.close()
        written(amemthresh="0")
        assert mode() == "1"
        before = client.get("/v1/drops")["defence"]
        for _ in range(5):
            lab.connect(4, HTTP).close()
        assert client.get("/v1/drops")["defence"] == before
