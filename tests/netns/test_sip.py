"""SIP over UDP by Call-ID, with real sipp on both sides."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import Lab
from xlvs.demo import netns, servers, topology
from xlvs.demo.topology import VIP
from xlvs.demo.wait import until

CALLS = 60


@pytest.fixture(scope="module", params=["xdp", "tc"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A director in front of three SIP servers."""
    directory = tmp_path_factory.mktemp("sip")
    with Lab("nat", request.param, directory) as lab, contextlib.ExitStack() as stack:
        for number, namespace in enumerate(lab.topology.servers):
            address = topology.server_addresses(4)[number]
            stack.callback(servers.stop, answer(directory, namespace, address))
        yield lab


def sipp(directory: Path, *words: str) -> list[str]:
    """Return a command line of sipp."""
    program = shutil.which("sipp", path="/usr/bin:/usr/local/bin")
    assert program
    return ["env", f"--chdir={directory}", "TERM=dumb", program, *words, "-nostdin"]


def answer(directory: Path, namespace: str, address: str) -> subprocess.Popen[str]:
    """Start a server that answers calls, and wait until it listens."""
    argv = sipp(directory, "-sn", "uas", "-i", address, "-p", "5060")
    process = netns.popen(namespace, argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens() -> bool:
        ports = netns.inside(namespace, lambda: Path("/proc/thread-self/net/udp").read_text())
        return bool(re.search(r":13C4 0", ports))

    until(listens, f"no SIP server at {address}")
    return process


@pytest.mark.parametrize("ops", ["-o", ""], ids=["ops", "flows"])
def test_all_messages_of_a_call_have_one_server(lab: Lab, ops: str, tmp_path: Path) -> None:
    """INVITE, ACK and BYE of sixty calls: a server that gets a part of one fails it.

    The client's kernel may give two calls the same port, one after the other. Without `-o` the second of them belongs
    to the flow of the first, as in IPVS, and has no template.
    """
    virtual = f"{VIP[4]}:{5060 if ops else 5062}"
    lab.director.admin("-A", "-u", virtual, "-s", "rr", "-p", "300", "--pe", "sip", *ops.split())
    try:
        for address in topology.server_addresses(4):
            lab.director.admin("-a", "-u", virtual, "-r", f"{address}:5060", "-m")
        own = topology.client_addresses(4)[0]
        argv = sipp(
            tmp_path, "-sn", "uac", virtual, "-i", own, "-t", "un", "-m", str(CALLS), "-r", "50", "-max_socket", "200"
        )
        done = lab.in_client(lambda: subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60))
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        table = lab.director.admin("-L", "-n", "-c", "--persistent-conn")
        mine = [line for line in table.splitlines() if f" {virtual} " in line]
        rows = [line for line in mine if " ASSURED " in line]
        ports = {line.split()[3] for line in set(mine) - set(rows)}
        assert len(rows) == (CALLS if ops else len(ports))
        found = [
            re.fullmatch(rf"UDP \S+ +ASSURED +{own}:0 +{virtual} +(\S+):5060 +sip +\S+@{own}", row) for row in rows
        ]
        assert sorted({match[1] for match in found if match}) == sorted(topology.server_addresses(4))
        assert all(found), rows
        assert bool(ports) == (not ops)
    finally:
        lab.director.admin("-D", "-u", virtual)
