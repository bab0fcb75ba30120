"""Every captured command line, right and wrong: what IPVS answered is what xlvsadm answers.

The captures ran against a base with a firewall mark service and a persistent
service.  Those are left out here, and their lines are taken out of what is expected.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.golden.conftest import DATA, Outcome, Run, outcome
from tests.golden.fake import FakeDaemon

COMMANDS = json.loads((DATA / "commands.json").read_text())
NOT_IN_BASE = (
    "-A -f 5 ",
    "-a -f 5 ",
    "-A -t 10.0.0.101:80 ",
    "TCP  10.0.0.101:80 ",
    "TCP  10.0.0.101:http ",
    "FWM  5 ",
)
NOT_ROOT = "su nobody"

PERSISTENT = "xlvs does not support persistent services yet\n"
TIMEOUTS = "xlvs does not support changing timeouts yet\n"
WEIGHT = "xlvs does not support weights above 65535 yet\n"

NOT_SUPPORTED_YET = {
    "ipvsadm -E -t 10.0.0.100:80 -s wrr -p": PERSISTENT,
    "ipvsadm -A -t 10.0.0.100:0 -s rr -p": PERSISTENT,
    "ipvsadm -A -t 10.0.0.100:82 -s rr -p 60 -M 255.255.255.0": PERSISTENT,
    "ipvsadm -A -t 10.0.0.100:82 -s rr -p 60 -M 255.0.255.0": PERSISTENT,
    "ipvsadm -A -t 10.0.0.100:82 -s rr -p 60 -M 24": PERSISTENT,
    "ipvsadm -A -t 10.0.0.100:82 -s rr -p 60 -M 0.0.0.0": PERSISTENT,
    "ipvsadm -A -t [fd00::1]:82 -s rr -p 60 -M 64": PERSISTENT,
    "ipvsadm -A -u 10.0.0.100:82 -s rr -p --pe sip": PERSISTENT,
    "ipvsadm -A -t 10.0.0.100:82 -s rr -p --pe sip": PERSISTENT,
    "ipvsadm -A -u 10.0.0.100:82 -s rr --ops": "xlvs does not support one-packet scheduling yet\n",
    "ipvsadm -A -f 4294967295 -s rr": "xlvs does not support firewall marks yet\n",
    "ipvsadm -a -t 10.0.0.100:80 -r 10.0.1.12:80 -m -w 65536": WEIGHT,
    "ipvsadm -a -t 10.0.0.100:80 -r 10.0.1.12:80 -m -w 2147483647": WEIGHT,
    "ipvsadm -a -t 10.0.0.100:80 -r 10.0.1.12:80 -m -x 10 -y 5": "xlvs does not support connection thresholds yet\n",
    "ipvsadm --set 900 120 300": TIMEOUTS,
    "ipvsadm --set 0 0 0": TIMEOUTS,
    "ipvsadm --set 2147483 2 3": TIMEOUTS,
    "ipvsadm -R # set": TIMEOUTS,
    "ipvsadm --start-daemon master --mcast-interface lo": "xlvs does not support the connection sync daemon yet\n",
    # The base of the captures has this firewall mark, ours cannot: it is answered as IPVS answers for any other.
    "ipvsadm -D -f 5": "No such service\n",
    "ipvsadm -a -f 5 -r 10.0.1.12:0 -g": "Service not defined\n",
    "ipvsadm -a -f 5 -r 10.0.1.12:80 -g": "Service not defined\n",
    "ipvsadm -a -f 5 -r 10.0.1.12 -m": "Service not defined\n",
}
"""Commands that succeed in IPVS and are refused here, with the sentence.  Anything else is to be as captured."""


def name(case: dict[str, Any]) -> str:
    """Return the command line with the note that tells several ``-R`` apart."""
    note = f" # {case['note']}" if "note" in case and case["cmd"] == "ipvsadm -R" else ""
    return case["cmd"] + note


CASES = [case for case in COMMANDS["cases"] if not case["cmd"].startswith(NOT_ROOT)]


def supported(text: str) -> str:
    """Return *text* without the lines of services that are not in the reduced base."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(NOT_IN_BASE))


@pytest.fixture
def base(run: Run) -> str:
    """The base of the captures, as far as it is supported; returns it as saved."""
    assert run("ipvsadm -R", stdin=supported(COMMANDS["base"])) == Outcome(0, "", "")
    saved = run("ipvsadm -S -n").stdout
    assert saved == supported(COMMANDS["base_saved"])
    return saved


@pytest.mark.parametrize("case", CASES, ids=name)
def test_command_answers_as_ipvs_does(case: dict[str, Any], base: str, run: Run) -> None:
    """Output, exit status and the state afterwards are those of IPVS, or the command is refused in so many words."""
    answer = run(case["cmd"], stdin=case.get("stdin", ""))
    saved = run("ipvsadm -S -n").stdout
    if name(case) in NOT_SUPPORTED_YET:
        assert case["rc"] == 0
        assert answer == Outcome(255, "", NOT_SUPPORTED_YET[name(case)])
        assert saved == base
    else:
        expected = outcome(case)
        assert answer == expected._replace(stdout=supported(expected.stdout))
        assert saved == supported(case.get("state_after", COMMANDS["base_saved"]))
        assert run("ipvsadm -L --timeout").stdout == case.get(
            "timeout_after", "Timeout (tcp tcpfin udp): 900 120 300\n"
        )
        assert run("ipvsadm -L --daemon").stdout == case.get("daemon_after", "")


def test_every_refusal_is_a_captured_command() -> None:
    """A refusal in the table that no capture asks for would hide a spelling mistake."""
    assert NOT_SUPPORTED_YET.keys() <= {name(case) for case in CASES}


def test_a_user_without_rights_is_told_so_in_the_words_of_ipvsadm(
    run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that this user may not open is what IPVS without root is."""

    def refuse(_socket: socket.socket, _path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    (case,) = (case for case in COMMANDS["cases"] if case["cmd"].startswith(NOT_ROOT))
    assert run("ipvsadm -A -t 10.0.0.100:90") == outcome(case)
    assert daemon.connections == 0
