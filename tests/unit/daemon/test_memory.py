"""A flow table that the machine cannot hold is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from xlvs.daemon import main
from xlvs.daemon.host import memory
from xlvs.dataplane.flows import table_bytes, table_sizes
from xlvs.errors import HostError

MIB = 1 << 20


def test_what_is_available_is_what_the_kernel_says(tmp_path: Path) -> None:
    """In bytes; a kernel that does not say is named."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       24683416 kB\nMemAvailable:   23797144 kB\n")
    assert memory.available(meminfo) == 23797144 * 1024
    meminfo.write_text("MemTotal:       24683416 kB\n")
    with pytest.raises(HostError, match="MemAvailable"):
        memory.available(meminfo)


def test_a_table_that_does_not_fit_is_refused_with_the_numbers() -> None:
    """What it needs, what there is, and what would fit."""
    sizes = table_sizes(8_000_000)
    with pytest.raises(HostError) as error:
        memory.require(sizes, 1024 * MIB)
    assert str(error.value) == (
        "the flow table needs 1503 MiB, and 1024 MiB are available here (/proc/meminfo); "
        "ask for --flows 5453000 or fewer, or for fewer of IPv6 with --flows6"
    )
    memory.require(table_sizes(memory.fitting(1024 * MIB)), 1024 * MIB)
    assert "ENOMEM" in str(memory.refused(sizes, 1024 * MIB))


def test_a_flow_takes_two_slots() -> None:
    """64 bytes with IPv4 and 128 with IPv6 at half load, and some per cent for all else."""
    assert 192 << 20 < table_bytes(table_sizes(1 << 20)) < 1.06 * (192 << 20)
    assert 64 << 20 < table_bytes(table_sizes(1 << 20, 1)) < 1.08 * (64 << 20)


@pytest.mark.parametrize("option", ["--flows", "--flows6"])
@pytest.mark.parametrize("value", ["0", "67108865"])
def test_sizes_have_limits(option: str, value: str) -> None:
    """One sentence names the option and the limits."""
    with pytest.raises(HostError, match=f"{option} {value} is outside 1..67108864"):
        main._sizes(main._parser().parse_args([option, value]))


def test_flows_of_ipv6_are_as_many_unless_told() -> None:
    """`--flows6` alone leaves the others at their default."""
    sizes = main._sizes(main._parser().parse_args(["--flows", "1000"]))
    assert (sizes["flows4"], sizes["flows6"]) == (500, 500)
    sizes = main._sizes(main._parser().parse_args(["--flows6", "1000"]))
    assert (sizes["flows4"], sizes["flows6"]) == (131072, 500)
