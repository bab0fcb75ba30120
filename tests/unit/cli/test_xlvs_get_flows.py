"""``xlvs get flows`` against the real API: tables that come in parts, lists for scripts, counts, refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yaml

from tests.unit.cli.xlvs_command import Xlvs, director, file, running, xlvs
from tests.unit.daemon.api.fake import FakeDirector
from xlvs.cli.show import flows

__all__ = ["director", "file", "running", "xlvs"]

VIP, DNS = ("192.0.2.10", 80), ("2001:db8::53", 53)

TABLE = """\
PROTOCOL  STATE        EXPIRES  CLIENT               VIRTUAL            SERVER          IN-BYTES  OUT-BYTES
tcp       ESTABLISHED      895  198.51.100.1:1001    192.0.2.10:80      10.0.0.11:8080       100       2000
tcp       FIN_WAIT          60  198.51.100.2:1002    192.0.2.10:80      10.0.0.12:8080        50          0
udp       UDP              300  [2001:db8::7]:40000  [2001:db8::53]:53  [fd00::1]:53           0          0
"""

COUNTS = """\
Flows:  3

STATE        FLOWS
ESTABLISHED      1
FIN_WAIT         1
UDP              1

IDLE         FLOWS
0s to 1s         1
1s to 10s        1
10s to 30s       0
30s to 1m        0
1m to 2m         1
2m to 5m         0
5m to 15m        0
15m to 1h        0
1h to 1d         0
1d and more      0

PROTOCOL  SERVICE        SERVER          FLOWS
tcp       192.0.2.10:80  10.0.0.11:8080      1
tcp       192.0.2.10:80  10.0.0.12:8080      1
(and 1 more; --limit N shows them)

CLIENTS          FLOWS
198.51.100.0/24      2
2001:db8::/64        1
"""


@pytest.fixture
def busy(file: Any, xlvs: Xlvs, director: FakeDirector) -> Xlvs:
    """The command, with a director that has three flows."""
    file.write_text(file.read_text() + '    servers: [{address: "fd00::1", port: 53}]\n')
    assert xlvs("apply", file)[0] == 0
    add = director.engine.kernel.held.add
    add(("198.51.100.1", 1001), VIP, 0, idle_s=5, sizes=(100, 2000))
    add(("198.51.100.2", 1002), VIP, 1, "FIN_WAIT", idle_s=60, sizes=(50, 0))
    add(("2001:db8::7", 40000), DNS, 2, "UDP")
    return xlvs


def test_table(busy: Xlvs) -> None:
    """Aligned; wide has the idle time, too; warnings go to stderr."""
    assert busy("get", "flows") == (0, TABLE, "warning: forwarding is off\n")
    wide = busy("get", "flows", "-o", "wide", "--protocol", "udp")[1]
    assert [row.split()[-1] for row in wide.splitlines()] == ["IDLE", "0"]


def test_json_and_yaml_are_what_the_api_says(busy: Xlvs, director: FakeDirector) -> None:
    """Both a list of the same objects, also when it is empty."""
    listed = json.loads(busy("get", "flows", "-o", "json")[1])
    assert [flow["client"] for flow in listed] == [
        ["198.51.100.1", 1001], ["198.51.100.2", 1002], ["2001:db8::7", 40000]
    ]  # fmt: skip
    assert yaml.safe_load(busy("get", "flows", "-o", "yaml")[1]) == listed
    for style, load in (("json", json.loads), ("yaml", yaml.safe_load)):
        assert load(busy("get", "flows", "-o", style, "--limit", "0")[1]) == []


@pytest.mark.parametrize(
    ("words", "clients"),
    [
        (["--server", "10.0.0.11"], [1001]),
        (["--server", "10.0.0.11", "--server", "10.0.0.12:8080,fd00::1"], [1001, 1002, 40000]),
        (["--service", "dns"], [40000]),
        (["--client", "198.51.100.0/24"], [1001, 1002]),
        (["--state", "udp", "--state", "established"], [1001, 40000]),
        (["--older-than", "1m"], [1002]),
        (["--sort", "bytes", "--limit", "2"], [1001, 1002]),
    ],
)
def test_options_are_the_parameters_of_the_api(words: list[str], clients: list[int], busy: Xlvs) -> None:
    """Each narrows the list."""
    assert [flow["client"][1] for flow in json.loads(busy("get", "flows", "-o", "json", *words)[1])] == clients


def test_counts(busy: Xlvs) -> None:
    """As tables for people, as the API says for scripts."""
    words = ("get", "flows", "--count", "--by", "client")
    assert busy(*words, "--limit", "2") == (0, COUNTS, "warning: forwarding is off\n")
    answer = json.loads(busy(*words, "-o", "json")[1])
    assert answer["flows"] == 3
    assert yaml.safe_load(busy(*words, "-o", "yaml")[1]) == answer
    assert busy("get", "flows", "--count", "--client", "192.0.2.99")[1] == "Flows:  0\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--state", "open"], "flows have no state 'open' (one of NONE, "),
        (["--older-than", "soon"], "'soon' is no duration; write one as 30s, 5m, 2h or 1d"),
        (["--client", "198.51.100.0/99"], "is no prefix"),
        (["--server", "web1"], "names no real server"),
        (["--count", "--by", "server"], "flows are not counted by 'server'"),
        (["--service", "none"], "there is no virtual service 'none'"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(words: list[str], sentence: str, busy: Xlvs) -> None:
    """That of the daemon, and nothing is printed."""
    status, shown, error = busy("get", "flows", *words)
    assert (status, shown) == (1, "")
    assert error.startswith("xlvs: ") and sentence in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["services", "--limit", "0"], ["drops", "--count"], ["flows", "--count", "--sort", "bytes"],
        ["flows", "--by", "client"], ["flows", "--count", "--watch"], ["flows", "--limit", "many"],
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(words: list[str], xlvs: Xlvs) -> None:
    """With the usage, as all words that the command cannot understand."""
    with pytest.raises(SystemExit) as stop:
        xlvs("get", *words)
    assert stop.value.code == 2


def test_rows_come_in_parts(busy: Xlvs, director: FakeDirector) -> None:
    """Of thousands none is lost and none is in pieces."""
    held = director.engine.kernel.held
    slots = held.maps["flows4"].values["flow"].reshape(-1)
    slots[:] = slots[0]
    slots["cport"] = np.arange(len(slots)) + 10_000
    held.maps["flow_stripes"].values["used"] = 1
    for words in ([], ["-o", "json"], ["-o", "yaml"]):
        shown = busy("get", "flows", "--server", "10.0.0.11", *words)[1]
        rows = [row for row in shown.splitlines() if "198.51.100.1" in row]
        assert len(rows) == len(slots)
        assert all("ESTABLISHED" in row for row in rows)
    assert len({len(row) for row in busy("get", "flows", "--server", "10.0.0.11")[1].splitlines()}) == 1


def test_a_later_row_may_be_wider() -> None:
    """Columns keep the width of the first rows; what needs more is printed whole."""
    blocks = [b"client,in_bytes\n", b"10.0.0.1:1,5\n", b"[2001:db8::1234]:99,12345678901\n"]
    assert "".join(flows._table(iter(blocks), ("CLIENT", "IN-BYTES"), ("client", "in_bytes"))) == (
        "CLIENT      IN-BYTES\n10.0.0.1:1         5\n[2001:db8::1234]:99  12345678901\n"
    )
