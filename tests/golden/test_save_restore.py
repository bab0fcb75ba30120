"""Save and restore: what one prints the other reads, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.golden.conftest import Outcome, Run
from tests.golden.fake import FakeDaemon
from xlvs.errors import XlvsError
from xlvs.model import FORWARDS, MARK, TUNNELS, Address, Server, Service, ServiceKey, State
from xlvs.model.server import CHECKSUMS
from xlvs.model.service import MAX_PERSISTENT
from xlvs.plan.admission import is_unicast

ADDRESSES_OF = {
    4: st.ip_addresses(v=4).map(lambda address: Address.parse(str(address))),
    6: st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None).map(lambda a: Address.parse(str(a))),
}
ADDRESSES = ADDRESSES_OF[4] | ADDRESSES_OF[6]
PORTS = st.integers(1, 65535)


MASKS = {4: st.ip_addresses(v=4).map(str), 6: st.integers(1, 127).map(str)}


@st.composite
def keys(draw: st.DrawFn) -> ServiceKey:
    """What a service may listen on: an address and a port, every port of an address, or a firewall mark."""
    if draw(st.integers(0, 4)) == 0:
        # A larger one is saved as a negative number, which no ipvsadm takes.
        return ServiceKey.of_mark(draw(st.integers(1, 2**31 - 1)), draw(st.sampled_from((4, 6))))
    return ServiceKey(draw(st.sampled_from(("tcp", "udp"))), draw(ADDRESSES), draw(PORTS | st.just(0)))


@st.composite
def services(draw: st.DrawFn) -> Service:
    """A service with servers, all of it supported."""
    key = draw(keys())
    scheduler = draw(st.sampled_from(("rr", "wrr", "lc", "wlc", "sh", "mh")))
    known = ("flag-1", "flag-2") if scheduler in ("sh", "mh") else ("flag-1", "flag-2", "flag-3")
    servers: dict[tuple[Address, int], Server] = {}
    for _ in range(draw(st.integers(0, 5))):
        server = draw(servers_of(key))
        servers[server.key] = server
    every = key.protocol != MARK and not key.port
    persistent = draw(st.integers(1, MAX_PERSISTENT) | st.just(0)) or int(every)
    return Service(
        key,
        scheduler,
        draw(st.frozensets(st.sampled_from(known))),
        tuple(servers.values()),
        persistent=persistent,
        netmask=draw(MASKS[key.version].filter(lambda mask: mask != "255.255.255.255")) if persistent else "",
        ops=key.protocol in ("udp", MARK) and draw(st.booleans()),
    )


@st.composite
def servers_of(draw: st.DrawFn, key: ServiceKey) -> Server:
    """A server that the kernel would take for the service of this *key*."""
    forward = draw(st.sampled_from(FORWARDS))
    family = draw(st.sampled_from((4, 6))) if forward in TUNNELS else key.version
    address = draw(ADDRESSES_OF[family].filter(is_unicast))
    port = draw(st.integers(0, 65535)) if forward == "nat" or key.protocol == MARK else key.port
    checksum = draw(st.sampled_from(CHECKSUMS.get(forward, ("none",))))
    tunnel_port = draw(PORTS) if forward == "gue" else 0
    weight = draw(st.integers(0, 65535))
    return Server(address, port, forward, weight, tunnel_port=tunnel_port, tunnel_checksum=checksum)


def state_of(found: list[Service]) -> State:
    """Return the state with these services, later ones of the same key left out."""
    state = State()
    for service in found:
        if service.key not in state.services:
            state = state.add_service(service)
    return state


@given(found=st.lists(services(), max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_restored_dump_is_saved_again_byte_for_byte(found: list[Service], run: Run, daemon: FakeDaemon) -> None:
    """Any supported configuration survives save, restore and save, and is the same afterwards."""
    daemon.state = state_of(found)
    wanted = {key: set(service.servers) for key, service in daemon.state.services.items()}
    saved = run("ipvsadm -S -n")
    assert (saved.rc, saved.stderr) == (0, "")
    daemon.state = State()
    assert run("ipvsadm -R", stdin=saved.stdout) == Outcome(0, "", "")
    assert run("ipvsadm -S -n") == saved
    assert {key: set(service.servers) for key, service in daemon.state.services.items()} == wanted


def test_restore_uses_one_connection(run: Run, daemon: FakeDaemon) -> None:
    """Thousands of rules must not be thousands of connections, nor of transactions."""
    rules = "".join(f"-A -t 10.0.0.{i}:80\n-a -t 10.0.0.{i}:80 -r 10.1.0.1 -m\n" for i in range(1, 101))
    assert run("ipvsadm -R", stdin=rules) == Outcome(0, "", "")
    assert (daemon.connections, daemon.changes) == (1, 1)


def test_restore_program_replaces_the_table_and_takes_comments(run: Run) -> None:
    """``ipvsadm-restore`` clears first and skips lines that begin with ``#``, which ``-R`` does not."""
    run("ipvsadm -A -t 10.0.0.9:80")
    assert run("ipvsadm-restore", stdin="# saved\n-A -t 10.0.0.1:80 -s rr\n") == Outcome(0, "", "")
    assert run("ipvsadm-save -n").stdout == "-A -t 10.0.0.1:80 -s rr\n"


def test_restore_program_knows_one_option(run: Run) -> None:
    """Anything else is named, and the table is not cleared."""
    run("ipvsadm -A -t 10.0.0.9:80")
    for words in ("--atomi", "--atomic rules", "rules"):
        said = f"unexpected argument {words.split()[0]}\n"
        assert run(f"ipvsadm-restore {words}", stdin="-A -t 10.0.0.1:80\n") == Outcome(2, "", said)
    assert run("ipvsadm-save -n").stdout == "-A -t 10.0.0.9:80 -s wlc\n"


@pytest.mark.parametrize(
    ("rules", "rc", "saved"),
    [
        ("-A -t 10.0.0.1:80\n-D -t 10.0.0.2:80\n", 255, 1),
        ("-D -t 10.0.0.2:80\n-A -t 10.0.0.1:80\n", 0, 1),
        ("-A -t 10.0.0.1:80 --bogus\n-A -t 10.0.0.1:80\n", 0, 1),
        ("-A -t 10.0.0.1:80 -w x\n-A -t 10.0.0.1:80\n", 2, 0),
        ("-A -t 10.0.0.1:80 -r 10.0.0.2:80\n-A -t 10.0.0.1:80\n", 2, 0),
        ("-R\n-A -t 10.0.0.1:80\n", 255, 0),
        ("-h\n-A -t 10.0.0.1:80\n", 0, 0),
        ("ipvsadm -A -t 10.0.0.1:80\r\n", 0, 1),
        ("\t-A  -t\t10.0.0.1:80 ", 0, 1),
    ],
)
def test_restore_ends_as_ipvsadm_does(rules: str, rc: int, saved: int, run: Run) -> None:
    """The last line decides the status; what ipvsadm rejects ends the restore, what the kernel rejects does not."""
    assert run("ipvsadm -R", stdin=rules).rc == rc
    assert run("ipvsadm -S -n").stdout.count("\n") == saved


def test_no_daemon_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a daemon the sentence names the socket and what starts one."""
    from xlvs.cli import xlvsadm

    monkeypatch.setenv("XLVS_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("XLVS_INSTANCE", "edge")
    assert xlvsadm.main(["-Ln"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"no xlvs daemon answers on {tmp_path}/edge.sock (No such file or directory); start one with `xlvs daemon`\n"
    )


def test_what_only_the_daemon_knows_is_passed_on(run: Run, daemon: FakeDaemon) -> None:
    """A refusal that IPVS does not know keeps the daemon's sentence, and exits as the kernel's do."""
    daemon.refuse(XlvsError("the map of services is full", code="environment"))
    assert run("ipvsadm -A -t 10.0.0.1:80") == Outcome(255, "", "the map of services is full\n")


@pytest.fixture
def foreign(daemon: FakeDaemon) -> FakeDaemon:
    """A daemon with a service and a server out of a file."""
    owner = "config:/etc/xlvs.yaml"
    server = Server(Address.parse("10.1.0.1"), 80, "nat", owner=owner)
    key = ServiceKey("tcp", Address.parse("10.0.0.1"), 80)
    daemon.state = State().add_service(Service(key, "rr", servers=(server,), owner=owner))
    return daemon


@pytest.mark.parametrize("line", ["-D -t 10.0.0.1:80", "-d -t 10.0.0.1:80 -r 10.1.0.1"])
def test_what_is_in_a_file_is_not_deleted(line: str, run: Run, foreign: FakeDaemon) -> None:
    """One sentence says whose it is, and it stays."""
    before = foreign.state
    answer = run(f"ipvsadm {line}")
    assert (answer.rc, answer.stdout, answer.stderr.count("\n")) == (255, "", 1)
    assert "belongs to config:/etc/xlvs.yaml, not to cli" in answer.stderr
    assert foreign.state == before


def test_clearing_leaves_what_is_in_a_file_and_says_so(run: Run, foreign: FakeDaemon) -> None:
    """``-C`` takes away what ipvsadm's grammar made, also from the services of others."""
    run("ipvsadm -A -t 10.0.0.2:80")
    run("ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.2 -m")
    left = "1 virtual service belongs to others (xlvs get services) and stayed\n"
    assert run("ipvsadm -C") == Outcome(0, "", left)
    assert run("ipvsadm -S -n").stdout == ("-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 1\n")


def test_what_is_in_a_file_may_be_edited(run: Run, foreign: FakeDaemon) -> None:
    """An edit keeps the owner, so that the file can still take it back."""
    assert run("ipvsadm -e -t 10.0.0.1:80 -r 10.1.0.1 -m -w 0") == Outcome(0, "", "")
    (service,) = foreign.state.services.values()
    assert [(s.weight, s.owner) for s in service.servers] == [(0, service.owner)]
