"""Whether this machine has the memory that tables of a size need, asked before anything is made.

The kernel takes all of it at once, and what it cannot give the flow table
other programs may be killed for.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path

from xlvs.dataplane.flows import table_bytes, table_sizes
from xlvs.errors import HostError

MEMINFO = Path("/proc/meminfo")


def available(meminfo: Path = MEMINFO) -> int:
    """Return how many bytes can be had without swapping (proc_meminfo(5): MemAvailable)."""
    for line in meminfo.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) << 10
    raise HostError(f"{meminfo} does not say how much memory is available (MemAvailable)")


def free_pages(meminfo: Path = MEMINFO) -> int:
    """Return how many pages are free or hold buffers (ip_vs_ctl.c, update_defense_level); raises `HostError`."""
    found = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    try:
        return sum(int(found[name].split()[0]) for name in ("MemFree", "Buffers")) * 1024 // mmap.PAGESIZE
    except KeyError as err:
        raise HostError(f"{meminfo} does not say how much memory is free ({err})") from err


def require(sizes: Mapping[str, int], free: int) -> None:
    """Refuse a flow table of these *sizes* if it needs more than *free* bytes; raises `HostError`."""
    wanted = table_bytes(sizes)
    if wanted > free:
        raise HostError(
            f"{needs(wanted, free)}; ask for --flows {fitting(free)} or fewer, or for fewer of IPv6 with --flows6"
        )


def refused(sizes: Mapping[str, int], free: int) -> HostError:
    """Return the error of a flow table that the kernel had no memory for (ENOMEM)."""
    return HostError(
        f"the kernel refuses the memory (ENOMEM): {needs(table_bytes(sizes), free)}; ask for a smaller --flows"
    )


def needs(wanted: int, free: int) -> str:
    """Return the two numbers in words."""
    return f"the flow table needs {_mib(wanted)} MiB, and {_mib(free)} MiB are available here (/proc/meminfo)"


def fitting(free: int) -> int:
    """Return for how many flows of each family a table fits into *free* bytes, rounded down."""
    per_flow = table_bytes(table_sizes(1 << 20)) / (1 << 20)
    return max(1, int(free / per_flow) // 1000 * 1000)


def _mib(size: int) -> int:
    return -(-size >> 20)
