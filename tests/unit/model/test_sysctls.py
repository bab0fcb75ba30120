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


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("debug_level", 0, 12),
        ("drop_entry", 0, 3),
        ("drop_packet", 0, 3),
        ("est_nice", -20, 19),
        ("secure_tcp", 0, 3),
        ("sync_ports", 1, 64),
        ("sync_qlen_max", 0, 2**31 - 1),
        ("sync_retries", 0, 3),
        ("sync_version", 0, 1),
    ],
)
def test_some_are_within_limits(name: str, low: int, high: int) -> None:
    """Those of vs_vars; the default is one of the values."""
    for number in (low, high, int(SYSCTLS[name].default)):
        assert read(name, str(number)) == str(number)
    for number in (low - 1, high + 1):
        with pytest.raises(InvalidError, match=f"sysctl {name}: {number} is outside {low}[.][.]{high}$"):
            read(name, str(number))


def test_two_numbers_or_one_of_few() -> None:
    """Threads come in powers of two; a threshold is below its period, unless there is none."""
    assert [read("sync_threshold", text) for text in ("0 1", "5 0", "3\t50")] == ["0\t1", "5\t0", "3\t50"]
    for name, text, why in (
        ("sync_threshold", "5 5", "the threshold 5 is not below the period 5"),
        ("sync_threshold", "-1 5", "-1 is outside 0..2147483647"),
        ("sync_threshold", "5", "'5' are not two numbers"),
        ("sync_ports", "3", "3 is no power of two"),
    ):
        with pytest.raises(InvalidError) as caught:
            read(name, text)
        assert str(caught.value) == f"sysctl {name}: {why}"


def test_later_kernels_have_more() -> None:
    """Which the captured one has not."""
    assert [SYSCTLS[name].default for name in ("debug_level", "est_cpulist", "est_nice")] == ["0", "", "0"]


@pytest.mark.parametrize("text", ["", "+5", "1_0", "08", "0b1", "0o7", "5x", "--1", "٣"])
def test_what_is_no_number(text: str) -> None:
    """Though Python would take some of it."""
    with pytest.raises(InvalidError, match="is no number"):
        read("am_droprate", text)
