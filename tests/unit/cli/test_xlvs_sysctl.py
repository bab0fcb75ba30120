"""``xlvs sysctl``: as sysctl(8), with the daemon's values."""

from __future__ import annotations

from tests.unit.cli.xlvs_command import Xlvs, director, running, xlvs
from tests.unit.daemon.api.fake import FakeDirector
from xlvs.model.sysctls import SYSCTLS

__all__ = ["director", "running", "xlvs"]


def test_all_are_shown(xlvs: Xlvs) -> None:
    """One a line."""
    status, shown, said = xlvs("sysctl")
    assert (status, said) == (0, "")
    assert [line.split(" = ")[0] for line in shown.splitlines()] == [f"net.ipv4.vs.{name}" for name in SYSCTLS]
    assert "net.ipv4.vs.pmtu_disc = 1\n" in shown


def test_what_is_written_is_kept(xlvs: Xlvs, director: FakeDirector) -> None:
    """The default again is as if nothing had been written."""
    assert xlvs("sysctl", "net.ipv4.vs.sloppy_tcp=1", "pmtu_disc=0")[:2] == (
        0,
        "net.ipv4.vs.sloppy_tcp = 1\nnet.ipv4.vs.pmtu_disc = 0\n",
    )
    assert director.engine.state.sysctls == {"sloppy_tcp": "1", "pmtu_disc": "0"}
    assert xlvs("sysctl", "-n", "sloppy_tcp=0")[:2] == (0, "0\n")
    assert director.engine.state.sysctls == {"pmtu_disc": "0"}


def test_one_wrong_value_writes_none(xlvs: Xlvs, director: FakeDirector) -> None:
    """And is told with its name."""
    status, shown, said = xlvs("sysctl", "sloppy_tcp=1", "drop_entry=9")
    assert (status != 0, shown, said) == (True, "", "xlvs: sysctl drop_entry: 9 is outside 0..3\n")
    assert director.engine.state.sysctls == {}
    assert xlvs("sysctl", "sloppy_tpc")[2] == "xlvs: there is no sysctl 'sloppy_tpc' (did you mean sloppy_tcp?)\n"
    assert xlvs("sysctl", "sloppy_tcp=")[2] == "xlvs: sysctl sloppy_tcp gets no value; write sloppy_tcp=VALUE\n"


def test_one_that_does_nothing_says_so(xlvs: Xlvs) -> None:
    """When it is asked for by name."""
    status, shown, said = xlvs("sysctl", "conntrack=1")
    assert (status, shown) == (0, "net.ipv4.vs.conntrack = 1\n")
    said_of_it = "xlvs: conntrack has no effect: packets do not pass Netfilter in xlvs\n"
    assert said == said_of_it
    assert xlvs("sysctl", "conntrack") == (0, "net.ipv4.vs.conntrack = 1\n", said_of_it)
