"""The switches of IPVS: names, defaults and ranges as a kernel has them (Linux 6.1, captured)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xlvs.errors import InvalidError
from xlvs.model.sysctls import SYSCTLS, lookup, read, value

CAPTURED = json.loads(Path(__file__).with_name("sysctls.json").read_text())
VARIES = {"sync_qlen_max"}
"""By the memory of the machine."""


def test_names_and_defaults_are_the_kernels() -> None:
    """All there are, and those of later kernels."""
    ours = {name: found.default for name, found in SYSCTLS.items() if name not in VARIES}
    theirs = {name: text for name, text in CAPTURED["defaults"].items() if name not in VARIES}
    assert theirs.items() <= ours.items()
    assert ours.keys() - theirs.keys() == {"debug_level", "est_cpulist", "est_nice"}


@pytest.mark.parametrize(("name", "written", "reads"), CAPTURED["writes"])
def test_what_is_written_reads_back_as_in_the_kernel(name: str, written: str, reads: str | None) -> None:
    """Or is refused where it is there."""
    if reads is None:
        with pytest.raises(InvalidError, match=f"sysctl {name}: "):
            read(name, written)
    else:
        assert read(name, written) == reads


def test_names_may_be_written_as_sysctl_does() -> None:
    """With the path before them; a wrong one is answered with a near one."""
    assert lookup("net.ipv4.vs.conntrack") is lookup("net/ipv4/vs/conntrack") is lookup("conntrack")
    with pytest.raises(InvalidError, match=r"no sysctl 'sloppy_tpc' \(did you mean sloppy_tcp\?\)"):
        lookup("sloppy_tpc")


def test_values_are_what_was_written_or_the_default() -> None:
    """As numbers."""
    assert (value({}, "pmtu_disc"), value({"pmtu_disc": "0"}, "pmtu_disc")) == (1, 0)


@pytest.mark.parametrize(("text", "value"), [("010", "8"), ("0x10", "16"), ("-1", "-1"), ("0", "0"), (" 7\n", "7")])
def test_numbers_are_read_as_in_c(text: str, value: str) -> None:
    """A 0 in front makes them octal, 0x hexadecimal."""
    assert read("am_droprate", text) == value


def test_numbers_have_32_bits() -> None:
    """As ints of the kernel have."""
    assert [read("am_droprate", str(number)) for number in (-(2**31), 2**31 - 1)] == ["-2147483648", "2147483647"]
    for number in (-(2**31) - 1, 2**31):
        with pytest.raises(InvalidError) as caught:
            read("am_droprate", str(number))
        assert str(caught.value) == f"sysctl am_droprate: {number} is outside -2147483648..2147483647"


@pytest.mark.parametrize("text", ["", "+5", "1_0", "08", "0b1", "0o7", "5x", "--1", "٣"])
def test_what_is_no_number(text: str) -> None:
    """Though Python would take some of it."""
    with pytest.raises(InvalidError, match="is no number"):
        read("am_droprate", text)
