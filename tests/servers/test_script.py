"""The checks that ask no server: programs of one's own, and files."""

from __future__ import annotations

import asyncio
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from tests.servers.asking import HASTY_S, TIMED_OUT, UP, ask
from xlvs.demo.wait import until
from xlvs.health import Answer, Target, parse

HANGS = """\
#!/bin/sh
sleep 1000 &
echo $$ $! > {directory}/pids
wait
"""


def answer(kind: str, address: str = "127.0.0.1", port: int = 80, **options: Any) -> Answer | None:
    """Return what a check answers."""
    check = parse({"type": kind, **options})
    check.prepare()
    return asyncio.run(check.probe(Target(address, port)))


def program(directory: Path, text: str, name: str = "program") -> str:
    """Return the path of a program that everybody can run."""
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        ("true", UP),
        ("sh -c 'exit 0'", UP),
        ("false", "the program ended with status 1"),
        ("sh -c 'echo; echo the disk is full >&2; exit 3'", "the program ended with status 3: the disk is full"),
        ("sh -c 'kill -9 $$'", "the program was killed by signal 9"),
        ("""sh -c 'test "$0 $1" = "a  b c"' 'a ' 'b c'""", UP),
        ("sh -c 'test $XLVS_ADDRESS:$XLVS_PORT = 127.0.0.1:80'", UP),
        ("sh -c 'test $PPID != 1; cat'", UP),
    ],
)
def test_the_exit_status_is_the_verdict(command: str, verdict: str) -> None:
    """0 is good; what is not is told with the first line that was said."""
    assert ask("script", 80, {"command": command}) == verdict


@pytest.mark.parametrize("status", [2, 3, 10, 255])
def test_a_dynamic_script_asks_for_a_weight(status: int) -> None:
    """Status 2..255 is a weight 2 less."""
    assert answer("script", command=f"sh -c 'exit {status}'", dynamic=True) == Answer(status - 2)


def test_a_dynamic_script_may_ask_for_nothing() -> None:
    """0 leaves the weight as it is, 1 is bad."""
    assert answer("script", command="true", dynamic=True) is None
    assert ask("script", 80, {"command": "false", "dynamic": True}) == "the program ended with status 1"


@pytest.mark.parametrize(
    ("virtual", "port", "address", "words"),
    [
        ({"virtual_address": "192.0.2.1", "virtual_port": 80}, 8080, "10.0.0.1", "192.0.2.1 80 10.0.0.1 8080"),
        ({"virtual_address": "2001:db8::1", "virtual_port": 80}, 8080, "fd00::1", "2001:db8::1 80 fd00::1 8080"),
        ({"virtual_address": "7"}, 0, "10.0.0.1", "7 - 10.0.0.1 -"),
    ],
)
def test_ldirectord_arguments(tmp_path: Path, virtual: dict[str, Any], port: int, address: str, words: str) -> None:
    """A script for ldirectord gets virtual address and port, then those of the real server, a dash for no port."""
    command = program(tmp_path, f'#!/bin/sh\necho "$@" > {tmp_path}/said\n')
    answer("script", address, port, command=f"{command} first", arguments="ldirectord", **virtual)
    assert (tmp_path / "said").read_text() == f"first {words}\n"


@pytest.mark.parametrize("user", ["nobody", "daemon"])
def test_a_script_runs_as_its_user(user: str) -> None:
    """User, group and further groups are those of the user."""
    found = pwd.getpwnam(user)
    groups = " ".join(map(str, os.getgrouplist(user, found.pw_gid)))
    test = f'test "$(id -u) $(id -g) $(id -G)" = "{found.pw_uid} {found.pw_gid} {groups}"'
    assert ask("script", 80, {"command": f"sh -c '{test}'", "user": user}) == UP


def test_a_script_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """Out of time, every process of its group is gone."""
    command = program(tmp_path, HANGS.format(directory=tmp_path))
    assert ask("script", 80, {"command": command}, timeout=HASTY_S) == TIMED_OUT
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2

    def gone() -> bool:
        return not any(is_alive(pid) for pid in pids)

    until(gone, "a process of the script goes on")


def is_alive(pid: int) -> bool:
    """Return whether a process is there, and no mere entry that its parent has not looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_script_that_goes_away_is_bad_and_is_back(tmp_path: Path) -> None:
    """A program that is removed while it is asked is a failure until it is there again."""
    path = Path(program(tmp_path, "#!/bin/sh\n"))
    check = parse({"type": "script", "command": str(path)})
    check.prepare()
    path.unlink()
    with pytest.raises(OSError, match="No such file"):
        asyncio.run(check.probe(Target("127.0.0.1", 80)))
    program(tmp_path, "#!/bin/sh\n")
    assert asyncio.run(check.probe(Target("127.0.0.1", 80))) is None


def test_a_script_leaves_nothing_open() -> None:
    """Neither a good nor a bad one leaves a file open."""
    ask("script", 80, {"command": "true"})
    before = len(os.listdir("/proc/self/fd"))
    ask("script", 80, {"command": "true"})
    ask("script", 80, {"command": "false"})
    ask("script", 80, {"command": "sleep 1000"}, timeout=HASTY_S)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("text", "options", "weight"),
    [
        ("5\n", {}, 5),
        ("  -3", {"base": 10}, 7),
        ("3", {"base": 10, "reverse": True}, 7),
        ("3", {"base": 10, "weight": -2}, 4),
        ("-3", {"base": 1}, 0),
        ("70000", {}, 65535),
        ("+253", {"reverse": True, "base": 300}, 47),
    ],
)
def test_a_file_says_the_weight(tmp_path: Path, text: str, options: dict[str, Any], weight: int) -> None:
    """The integer times the weight is added to the base, and stays within what a weight can be."""
    path = tmp_path / "file"
    path.write_text(text)
    assert answer("file", path=str(path), **options) == Answer(weight)


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("-254", {}, "says -254"),
        ("254", {"reverse": True}, "says 254"),
        ("-127", {"weight": 2, "base": 1000}, "says -127"),
        ("", {}, "has no integer but ''"),
        ("up\n", {}, "has no integer but 'up\\n'"),
        ("1.5", {}, "has no integer but '1.5'"),
    ],
)
def test_a_file_takes_a_server_down(tmp_path: Path, text: str, options: dict[str, Any], why: str) -> None:
    """-254 or less, or something that is no integer, is down."""
    path = tmp_path / "file"
    path.write_text(text)
    assert ask("file", 80, {"path": str(path), **options}) == f"{path} {why}"


def test_a_file_that_goes_away(tmp_path: Path) -> None:
    """A file that is removed is a failure, unless it may be missing; written again it counts again."""
    path = tmp_path / "file"
    path.write_text("1")
    strict, lax = (parse({"type": "file", "path": str(path), "missing": missing}) for missing in ("down", "up"))
    path.unlink()
    with pytest.raises(Exception, match=f"^there is no file {path}$"):
        asyncio.run(strict.probe(Target("127.0.0.1", 80)))
    assert asyncio.run(lax.probe(Target("127.0.0.1", 80))) is None
    path.write_text("2")
    assert asyncio.run(strict.probe(Target("127.0.0.1", 80))) == Answer(2)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe without a writer in place of the file is a failure at once."""
    path = tmp_path / "file"
    path.write_text("1")
    check = parse({"type": "file", "path": str(path)})
    check.prepare()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Exception, match="there is no file"):
        asyncio.run(check.probe(Target("127.0.0.1", 80)))
