"""The check of HAProxy: of agents, which HAProxy itself asks as well, and of its monitor-uri."""

from __future__ import annotations

import asyncio
import csv
import shlex
import socket
from collections.abc import Iterator

import pytest

from tests.servers.asking import UP, ask
from tests.servers.databases import lives
from tests.servers.server import Server, program
from xlvs.demo.wait import until
from xlvs.health import Answer, Failed, Target, parse

HAPROXY = """\
global
  stats socket {directory}/socket mode 600 level admin
defaults
  mode http
  timeout connect 10s
  timeout client 10s
  timeout server 10s
frontend monitored
  bind 127.0.0.1:{main}
  bind [::1]:{main}
  monitor-uri /alive
  monitor fail if {{ nbsrv(farm) lt 1 }}
backend farm
  server one 127.0.0.1:{main} weight 100 check inter 50ms agent-check agent-port {agent} agent-inter 50ms fall 1 rise 1
"""


def agent(line: str) -> Server:
    """Return an agent that answers what its file `line` says."""
    server = Server("main")
    file = server.write("line", line)
    port, system = server.ports["main"], shlex.quote(f"SYSTEM:cat {file}")
    listen = [
        f"{program('socat')} TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork {system}",
        f"{program('socat')} TCP6-LISTEN:{port},bind=[::1],ipv6only,reuseaddr,fork {system}",
    ]
    server.argv = ["sh", "-c", f"{listen[0]} & exec {listen[1]}"]
    return server


class Proxy(Server):
    """HAProxy, whose only server is as its agent says."""

    def __init__(self, agent_port: int) -> None:
        super().__init__("main")
        text = HAPROXY.format(directory=self.directory, main=self.ports["main"], agent=agent_port)
        self.argv = ["haproxy", "-db", "-f", str(self.write("cfg", text))]

    def server(self) -> dict[str, str]:
        """Return what it thinks of its server."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{self.directory}/socket")
            sock.sendall(b"show stat farm 4 -1\n")
            text = b"".join(iter(lambda: sock.recv(1 << 16), b"")).decode()
        return next(csv.DictReader(text.removeprefix("# ").splitlines()))


@pytest.fixture(scope="module")
def talker() -> Iterator[Server]:
    """Give out an agent whose line is changed."""
    with agent("up\n") as server:
        yield server


@pytest.fixture(scope="module")
def proxy(talker: Server) -> Iterator[Proxy]:
    """Give out a HAProxy that asks it."""
    with Proxy(talker.ports["main"]) as server:
        assert isinstance(server, Proxy)
        yield server


def ours(port: int) -> Answer | str | None:
    """Return what our check makes of an agent."""
    try:
        return asyncio.run(parse({"type": "haproxy"}).probe(Target("127.0.0.1", port)))
    except Failed as err:
        return str(err)


@pytest.mark.parametrize(
    ("line", "status", "weight", "verdict"),
    [
        ("ready up 100%\n", "UP", "100", Answer(100)),
        ("ready up 75%\r\nnonsense", "UP", "75", Answer(75)),
        ("READY,UP\t30%\n", "UP", "30", Answer(30)),
        ("ready up 100% maxconn:30\n", "UP", "100", Answer(100)),
        ("drain\n", "DRAIN", None, Answer(0)),
        ("ready up 0%\n", "UP", "0", Answer(0)),
        ("maint\n", "MAINT", None, "its agent says maint"),
        ("ready down #the disk is full\n", "DOWN", None, "its agent says down: the disk is full"),
        ("ready stopped\n", "DOWN", None, "its agent says stopped"),
        ("ready up 50%\n", "UP", "50", Answer(50)),
        ("ready fail # by hand\n", "DOWN", None, "its agent says fail: by hand"),
        ("ready up 100%\n", "UP", "100", Answer(100)),
    ],
)
def test_an_agent_is_understood_as_by_haproxy(
    talker: Server, proxy: Proxy, line: str, status: str, weight: str | None, verdict: Answer | str
) -> None:
    """HAProxy and the check come to the same verdict and the same weight."""
    talker.write("line", line)

    def agrees() -> bool:
        found = proxy.server()
        return found["status"].startswith(status) and weight in (None, found["weight"])

    until(agrees, f"HAProxy makes something else of {line!r}")
    assert ours(talker.ports["main"]) == verdict


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "its agent says nothing"),
        ("\n", "its agent says '', which no agent does"),
        ("220 mail.example.org\n", "its agent says '220 mail.example.org', which no agent does"),
    ],
)
def test_what_is_no_agent_is_down(line: str, why: str, family: int) -> None:
    """What answers, but says nothing that an agent says, is down."""
    with agent(line) as server:
        assert ask("haproxy", server.ports["main"], {}, family) == why


def test_an_agent_without_an_end_of_line(family: int) -> None:
    """The end of the connection is that of the line."""
    with agent("up") as server:
        assert ask("haproxy", server.ports["main"], {}, family) == UP


def test_an_agent_may_be_asked_something() -> None:
    """What is to be sent is sent before the answer."""
    server = Server("main")
    server.families = (4,)
    listen = f"TCP4-LISTEN:{server.ports['main']},bind=127.0.0.1,reuseaddr,fork"
    server.argv = ["socat", listen, "SYSTEM:read word; echo $word"]
    with server:
        assert ask("haproxy", server.ports["main"], {"send": "up\n"}) == UP
        assert ask("haproxy", server.ports["main"], {"send": "down\n"}) == "its agent says down"


def test_an_agent_lives(family: int) -> None:
    """It is up, hangs, is up again, dies, and is back."""
    with agent("up 50%\n") as server:
        lives(server, "haproxy", {}, family)


def test_haproxy_says_itself_that_it_is_well(talker: Server, proxy: Proxy, family: int) -> None:
    """The monitor-uri is answered well until its condition to fail holds."""
    port, options = proxy.ports["main"], {"monitor_uri": "/alive"}
    talker.write("line", "ready up 100%\n")
    until(lambda: ask("haproxy", port, options, family) == UP, "HAProxy is not well")
    talker.write("line", "down\n")
    until(lambda: ask("haproxy", port, options, family) == "status 503, not 200", "HAProxy is well")
    talker.write("line", "ready up 100%\n")
    until(lambda: ask("haproxy", port, options, family) == UP, "HAProxy is not well again")


def test_haproxy_lives(talker: Server, family: int) -> None:
    """It is up, hangs, is up again, dies, and is back."""
    with Proxy(talker.ports["main"]) as server:
        lives(server, "haproxy", {"monitor_uri": "/alive"}, family)
