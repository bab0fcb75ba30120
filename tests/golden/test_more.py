"""What xlvsadm has and ipvsadm has not: JSON, restores that are whole, connections by filter."""

from __future__ import annotations

import json

import pytest

from tests.golden.conftest import Outcome, Run
from tests.golden.fake import FakeDaemon
from xlvs.errors import XlvsError

RULES = """\
-A -t 10.0.0.100:80 -s rr -p 60
-a -t 10.0.0.100:80 -r 10.0.1.11:8000 -m -w 2
-A -f 7 -6 -s wlc
"""


def saved(run: Run) -> str:
    """Return what there is."""
    return run("ipvsadm -S -n").stdout


@pytest.mark.parametrize("line", ["-Ln -o json", "-L --output=json", "-lo json", "-L --stats --rate --output json"])
def test_services_as_json(line: str, run: Run) -> None:
    """With all that is counted, whatever columns are asked for, in the order of the table."""
    assert run("ipvsadm -R", stdin=RULES) == Outcome(0, "", "")
    answer = run(f"ipvsadm {line}")
    assert (answer.rc, answer.stderr) == (0, "")
    first, second = json.loads(answer.stdout)
    assert (first["listen"]["port"], first["persistent"], second["listen"]["mark"]) == (80, 60, 7)
    assert first["servers"][0]["stats"]["conns"] == first["servers"][0]["active"] == first["rates"]["in_bytes"] == 0


def test_other_lists_as_json(run: Run, daemon: FakeDaemon) -> None:
    """One service is a list of one; timeouts, the daemon, connections."""
    run("ipvsadm -R", stdin=RULES)
    (one,) = json.loads(run("ipvsadm -L -t 10.0.0.100:80 -o json").stdout)
    assert one["scheduler"] == "rr"
    assert json.loads(run("ipvsadm -L --timeout -o json").stdout) == {"tcp": 900, "tcpfin": 120, "udp": 300}
    assert json.loads(run("ipvsadm -L --daemon -o json").stdout) == []
    daemon.flow("ESTABLISHED", 800, "192.0.2.7:4000", "10.0.0.100:80", "10.0.1.11:8000")
    (flow,) = json.loads(run("ipvsadm -Lc -o json").stdout)
    assert (flow["client"], flow["server"], flow["expires_s"]) == (["192.0.2.7", 4000], ["10.0.1.11", 8000], 800)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("-L -o", Outcome(2, "", "Illegal 'ops' option with the 'list' command\n")),
        ("-L -o jso", Outcome(2, "", "unexpected argument jso\n")),
        ("-L json", Outcome(2, "", "unexpected argument json\n")),
        ("-L --output yaml", Outcome(2, "", "illegal output specified\n")),
        ("-L -o json --output table", Outcome(2, "", "multiple 'output' options specified\n")),
        ("-S --output json", Outcome(255, "", "--output: unknown option\n")),
        ("-A --output json -t 10.0.0.1:80", Outcome(255, "", "--output: unknown option\n")),
        (
            "-L --client 10.0.0.1",
            Outcome(2, "", "You need to supply the 'connection' option for the 'client' option\n"),
        ),
        ("-C --atomic", Outcome(255, "", "--atomic: unknown option\n")),
        ("-Lc --state NO", Outcome(255, "", "")),
    ],
)
def test_wrong_use_is_answered_as_ipvsadm_answers(line: str, answer: Outcome, run: Run) -> None:
    """Nothing of ipvsadm's grammar has another meaning."""
    found = run(f"ipvsadm {line}")
    if answer.stderr:
        assert found == answer
    else:
        assert (found.rc, found.stderr.count("\n")) == (answer.rc, 1)


def test_whole_restore_is_one_change(run: Run, daemon: FakeDaemon) -> None:
    """All of it, with what is taken away first."""
    run("ipvsadm -A -t 10.0.0.9:80")
    assert run("ipvsadm -R --atomic", stdin="-C\n" + RULES) == Outcome(0, "", "")
    assert saved(run) == RULES
    assert daemon.changes == 2
    assert run("ipvsadm-restore --atomic", stdin="# saved\n" + RULES.replace("rr", "wrr")) == Outcome(0, "", "")
    assert saved(run) == RULES.replace("rr", "wrr")


@pytest.mark.parametrize(
    ("line", "status", "sentence"),
    [
        ("-A -t 10.0.0.100:80", 255, "Service already exists"),
        ("-a -t 10.0.0.101:80 -r 10.0.1.1", 255, "Service not defined"),
        ("-a -t 10.0.0.100:80 -r 10.0.1.1 -x 1 -y 2", 255, "Numerical result out of range"),
        ("-A -t 10.0.0.101:80 -s bogus", 255, "Scheduler or persistence engine not found"),
        ("-A -t 10.0.0.101:80 --bogus", 255, "--bogus: unknown option"),
        ("-A -t 10.0.0.101", 2, "Zero port specified for non-persistent service"),
        ("-L", 255, "'list' is no change of services and servers"),
        ("-h", 255, "'-h' is no change of services and servers"),
        ("-R", 255, "'restore' is no change of services and servers"),
        ("#", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information."),
    ],
)
def test_whole_restore_with_a_wrong_line_changes_nothing(line: str, status: int, sentence: str, run: Run) -> None:
    """And says which line; empty ones count."""
    run("ipvsadm -A -t 10.0.0.9:80")
    before = saved(run)
    answer = run("ipvsadm -R --atomic", stdin=f"-C\n\n{RULES}{line}\n-A -t 10.0.0.102:80\n")
    assert answer == Outcome(status, "", f"line 6: {sentence}; nothing was changed\n")
    assert saved(run) == before


def test_what_the_daemon_cannot_put_in_force_together_it_gets_one_by_one(run: Run, daemon: FakeDaemon) -> None:
    """Each line of a restore is answered for itself, also when all of them fail; of a whole one, all."""
    daemon.refuse(XlvsError("the map of services is full", code="error"))
    rules = "-A -t 10.0.0.1:80\n-A -t 10.0.0.2:80\n-A -t 10.0.0.3:80\n"
    assert run("ipvsadm -R", stdin=rules) == Outcome(255, "", "the map of services is full\n" * 3)
    assert run("ipvsadm -R --atomic", stdin=rules) == Outcome(
        255, "", "the map of services is full; nothing was changed\n"
    )


def test_messages_of_a_restore_are_in_the_order_of_its_lines(run: Run) -> None:
    """Whether a line is refused here or by the daemon, or prints something."""
    rules = "-A -t 10.0.0.1:80\n-A -t 10.0.0.1:80\n-A --bogus\n-D -t 10.0.0.2:80\n-L --timeout\n"
    rules += "-d -t 10.0.0.1:80 -r 10.0.0.2\n"
    assert run("ipvsadm -R", stdin=rules) == Outcome(
        255,
        "Timeout (tcp tcpfin udp): 900 120 300\n",
        "Service already exists\n--bogus: unknown option\nNo such service\nNo such destination\n",
    )


def test_connections_by_filter_and_with_more_columns(run: Run, daemon: FakeDaemon) -> None:
    """Chosen by the daemon; the columns of ipvsadm stay where they are."""
    run("ipvsadm -R", stdin=RULES)
    daemon.flow("ESTABLISHED", 800, "192.0.2.7:4000", "10.0.0.100:80", "10.0.1.11:8000")
    daemon.flow("TIME_WAIT", 100, "192.0.2.8:4000", "10.0.0.100:80", "10.0.1.11:8000")
    for filters in ("--client 192.0.2.8", "--state TIME_WAIT --server 10.0.1.11", "--client 192.0.2.8/31 --limit 1"):
        assert run(f"ipvsadm -Lnc {filters}").stdout.count("192.0.2.8:4000") == 1
    assert run("ipvsadm -Lnc --older-than 1h --service tcp:10.0.0.100:80 --protocol tcp").stdout.count("\n") == 2
    plain = run("ipvsadm -Lnc").stdout.splitlines()
    more = run("ipvsadm -Lnc --idle --bytes --largest").stdout.splitlines()
    assert more[1] == plain[1] + "        idle    InBytes OutBytes"
    assert {line[: len(plain[2]) - 0].rstrip() for line in more[2:]} == set(plain[2:])
    assert sorted(line.split()[6:] for line in more[2:]) == [["00:20", "0", "0"], ["01:40", "0", "0"]]
