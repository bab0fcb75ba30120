"""Services by firewall mark whose packets xlvs marks itself: no rule of Netfilter, no device of ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.netns.lab import HTTP, PEER, Lab
from tests.netns.test_crash import kill
from tests.netns.test_marks import asked
from xlvs.cli.client import Client, socket_path
from xlvs.demo import netns, topology
from xlvs.demo.topology import VIP
from xlvs.errors import InvalidError


def body(lab: Lab, family: int, *ports: int) -> dict[str, object]:
    """Return a persistent service by mark 7 for these ports of the virtual address."""
    match = [{"address": VIP[family], "protocol": "tcp", "ports": str(lab.real_port(port))} for port in ports]
    servers = [{"address": a, "port": 0, "forward": lab.forward} for a in topology.server_addresses(family)]
    listen = {"protocol": "fwm", "mark": 7, "family": family}
    return {"listen": listen, "scheduler": "rr", "persistent": 300, "servers": servers, "match": match}


@pytest.mark.parametrize("method", ["nat-xdp", "route-tc", "ipip-xdp"])
def test_one_server_for_the_ports_that_match(method: str, tmp_path: Path) -> None:
    """A port that is taken out of the rules is the host's, which refuses; a daemon that dies is not missed."""
    with Lab(*method.split("-"), tmp_path, started=False) as lab:
        lab.director.start()
        with Client(socket_path(lab.director.instance)) as client:
            for family in (4, 6):
                client.post("/v1/services", body(lab, family, HTTP, PEER))
            for family in (4, 6):
                found = []
                for source in range(3):
                    names = {asked(lab, family, port, source) for port in (HTTP, PEER)}
                    assert len(names) == 1, f"client {source} got {names}"
                    found += names
                assert sorted(found) == ["real1", "real2", "real3"]
            links = ["ip", "-br", "link", "show"]
            said = netns.inside(
                lab.topology.director, lambda: subprocess.run(links, check=True, capture_output=True, text=True)
            ).stdout
            assert "xlvs" not in said
            for family, name in ((4, "fwm:7"), (6, "fwm6:7")):
                only = body(lab, family, HTTP)["match"]
                client.patch(f"/v1/services/{name}", {"match": only})
        kill(lab.director)
        for family in (4, 6):
            assert asked(lab, family, HTTP, 0).startswith("real")
            with pytest.raises(ConnectionRefusedError):
                asked(lab, family, PEER, 0)


def test_too_many_rules_change_nothing(tmp_path: Path) -> None:
    """One address can have sixteen."""
    with Lab("nat", "tc", tmp_path, started=False) as lab:
        lab.director.start()
        with Client(socket_path(lab.director.instance)) as client:
            wanted = body(lab, 4)
            wanted["match"] = [{"address": VIP[4], "ports": str(port)} for port in range(1, 18)]
            with pytest.raises(InvalidError, match="17 rules match"):
                client.post("/v1/services", wanted)
            assert client.get("/v1/services")["services"] == []
