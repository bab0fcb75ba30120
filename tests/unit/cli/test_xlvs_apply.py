"""``xlvs validate``, ``plan``, ``apply`` and ``delete`` against the real API."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.cli.xlvs_command import FILE, Xlvs, director, file, running, xlvs
from tests.unit.daemon.api.fake import FakeDirector
from xlvs.config import schema
from xlvs.model import Address, Server, ServiceKey

__all__ = ["director", "file", "running", "xlvs"]

ALL = """\
+ service web tcp:192.0.2.10:80 (mh, options mh-port, owner config:{file})
    + server 10.0.0.11:8080 (nat, weight 3)
    + server 10.0.0.12:8080 (route, weight 1)
+ service dns udp:[2001:db8::53]:53 (wlc, owner config:{file})
"""


def test_validate_needs_no_daemon(file: Path, xlvs: Xlvs) -> None:
    """A file without faults is counted."""
    assert xlvs("validate", file) == (0, f"{file}: no faults; services: 2, servers: 2\n", "")


@pytest.mark.parametrize("verb", ["validate", "plan", "apply"])
def test_faults_are_told_and_nothing_is_changed(verb: str, file: Path, xlvs: Xlvs, director: FakeDirector) -> None:
    """All of them, one a line, with the number of them at the end; exit code 1."""
    file.write_text(FILE.replace("weight: 3", "wieght: 3").replace("scheduler: mh", "scheduler: sed"))
    assert xlvs(verb, file) == (
        1,
        "",
        f"{file}:7:24: services[0].options.mh-port: mh-port is an option of the scheduler mh; this service has sed\n"
        f"{file}:9:42: services[0].servers[0].wieght: unknown key (did you mean 'weight'?)\n"
        "xlvs: faults: 2; nothing was changed\n",
    )
    assert director.engine.state.services == {}


@pytest.mark.parametrize("verb", ["validate", "plan", "apply"])
def test_a_file_that_cannot_be_read(verb: str, tmp_path: Path, xlvs: Xlvs) -> None:
    """One sentence, whatever the reason."""
    assert xlvs(verb, tmp_path / "none") == (
        1,
        "",
        f"xlvs: cannot read {tmp_path}/none: No such file or directory\n",
    )
    (tmp_path / "latin").write_bytes(b"services: []  # caf\xe9")
    assert xlvs(verb, tmp_path / "latin") == (1, "", f"xlvs: cannot read {tmp_path}/latin: it is not UTF-8 (byte 19)\n")


def test_plan_shows_and_changes_nothing(file: Path, xlvs: Xlvs, director: FakeDirector) -> None:
    """Exit code 2: there is something to do."""
    assert xlvs("plan", file) == (2, ALL.format(file=file) + "to do: 2 services added\n", "")
    assert director.engine.state.services == {}
    assert xlvs("apply", "--dry-run", file) == (0, ALL.format(file=file) + "to do: 2 services added\n", "")
    assert director.engine.state.services == {}


def test_apply_then_nothing_is_left_to_do(file: Path, xlvs: Xlvs, director: FakeDirector) -> None:
    """What is applied belongs to the file, and applying it again is no new generation."""
    assert xlvs("apply", file) == (0, ALL.format(file=file) + "generation 1: 2 services added\n", "")
    assert {s.owner for s in director.engine.state.services.values()} == {f"config:{file}"}
    assert xlvs("apply", file) == (0, "nothing to do: generation 1 is as the file says\n", "")
    assert xlvs("plan", file) == (0, "nothing to do: generation 1 is as the file says\n", "")


def test_a_changed_file_changes_what_differs(file: Path, xlvs: Xlvs) -> None:
    """Added, changed and removed, with what was before."""
    xlvs("apply", file)
    text = FILE.replace("weight: 3", "weight: 1").replace("mh-port: true", "mh-fallback: true")
    text = text.replace("forward: route", "").replace("10.0.0.12", "10.0.0.13")
    file.write_text(text.replace("53, protocol: udp", "54, protocol: udp").replace("name: dns", "name: ns"))
    assert xlvs("apply", file)[1].splitlines() == [
        f"- service dns udp:[2001:db8::53]:53 (wlc, owner config:{file})",
        "~ service web tcp:192.0.2.10:80",
        "    ~ options: mh-port -> mh-fallback",
        "    ~ server 10.0.0.11:8080 (weight: 3 -> 1)",
        "    - server 10.0.0.12:8080 (route, weight 1)",
        "    + server 10.0.0.13:8080 (nat, weight 1)",
        f"+ service ns udp:[2001:db8::53]:54 (wlc, owner config:{file})",
        "generation 2: 1 service added, 1 changed, 1 removed",
    ]


def test_stdin_is_a_file_too(monkeypatch: pytest.MonkeyPatch, xlvs: Xlvs, director: FakeDirector) -> None:
    """`-` reads it, and what it defines belongs to config:stdin."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(FILE.encode())))
    assert xlvs("apply", "-")[0] == 0
    assert {s.owner for s in director.engine.state.services.values()} == {"config:stdin"}


def test_what_belongs_to_others_is_left_alone_unless_taken_over(file: Path, xlvs: Xlvs, director: FakeDirector) -> None:
    """One sentence says whose it is; --take-over has its way."""
    xlvs("apply", file)
    other = file.with_name("other.yaml")
    other.write_text("services: [{name: web2, listen: {address: 192.0.2.10, port: 80}}]")
    status, shown, error = xlvs("apply", other)
    assert (status, shown) == (1, "")
    assert error == (
        f"xlvs: virtual service web (192.0.2.10:80/tcp) belongs to config:{file}, not to config:{other}; "
        "remove it there, or take it over\n"
    )
    assert xlvs("apply", "--take-over", other)[0] == 0
    service = director.engine.state.service(ServiceKey.parse("tcp:192.0.2.10:80"))
    assert (service.name, service.owner, service.servers) == ("web2", f"config:{other}", ())


def test_servers_of_others_stay(file: Path, xlvs: Xlvs, director: FakeDirector) -> None:
    """A server that xlvsadm added to the file's service is there after the next apply."""
    xlvs("apply", file)
    key = ServiceKey.parse("tcp:192.0.2.10:80")
    added = Server(Address.parse("10.0.0.99"), 80, owner="cli")
    director.engine.hold(director.engine.state.add_server(key, added))
    assert xlvs("apply", file)[1] == "nothing to do: generation 1 is as the file says\n"
    assert director.engine.state.service(key).servers[-1] == added


def test_delete(file: Path, xlvs: Xlvs, director: FakeDirector) -> None:
    """What belongs to a file is deleted there, or by force."""
    xlvs("apply", file)
    status, shown, error = xlvs("delete", "service", "web")
    assert (status, shown) == (1, "")
    assert f"belongs to config:{file}, not to cli" in error
    assert "(--force)" in error
    assert xlvs("delete", "service", "web", "--force") == (0, "generation 2: service web removed\n", "")
    assert [s.name for s in director.engine.state.services.values()] == ["dns"]
    assert xlvs("delete", "service", "web") == (1, "", "xlvs: there is no virtual service 'web'\n")


def test_schema(xlvs: Xlvs) -> None:
    """The schema that is published is the one that is printed."""
    status, shown, _ = xlvs("schema")
    assert (status, json.loads(shown)) == (0, json.loads(json.dumps(schema())))


def test_version(xlvs: Xlvs) -> None:
    """The daemon's version is asked for."""
    assert xlvs("version")[1].splitlines()[1] == "daemon default: 0 (ABI 1, pid 4711)"
