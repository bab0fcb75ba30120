"""The filling of Maglev tables in the kernel: ``bpf/maglev.bpf.c`` and the one job it has.

Nothing is pinned or attached; program and map go with the process.  Decides
nothing: who claims how many entries in which order is the caller's.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable

import numpy as np

from xlvs.dataplane.loader import OBJECTS, Loader
from xlvs.dataplane.maps import Array
from xlvs.errors import HostError, InvalidError, XlvsError

Fill = Callable[[Array, Array, int], Array]
"""What `Maglev.fill` is."""

_PACKET = bytes(64)
"""What a test run wants; the program does not look at it."""


class Maglev:
    """Loads the program; raises `HostError`, or `OSError`, where that cannot be done."""

    def __init__(self) -> None:
        self._loaded = Loader([OBJECTS / "maglev.bpf.o"]).load()
        self._program = self._loaded.programs["xlvs_maglev"]
        job = self._loaded.maps["maglev"]
        pages = -(-job.value_dtype.itemsize // mmap.PAGESIZE)
        self._memory = mmap.mmap(job.fd, pages * mmap.PAGESIZE)
        self._job = np.frombuffer(self._memory, job.value_dtype, 1).reshape(())

    def fill(self, seeds: Array, turns: Array, size: int) -> Array:
        """Return who owns each of *size* (a prime) entries, as places in *seeds* and *turns* (none of which is 0)."""
        job = self._job
        if size > len(job["owner"]):
            raise InvalidError(f"a Maglev table of {size} entries is too large: at most {len(job['owner'])}")
        job["size"], job["n"], job["left"] = size, len(seeds), size
        job["at"] = job["due"] = job["listed"] = 0
        servers = job["server"][: len(seeds)]
        servers["seed"], servers["turns"] = seeds, turns
        job["taken"][: size // 64] = 0
        job["taken"][size // 64] = ~np.uint64(0) << np.uint64(size % 64)
        left = size
        while left:
            now = self._program.test_run(_PACKET).retval
            if now >= left:
                raise HostError(f"the kernel does not fill a Maglev table of {size} entries: {left} are left")
            left = now
        owners: Array = job["owner"][:size].copy()
        return owners

    def close(self) -> None:
        """Let go of program and map."""
        del self._job
        self._memory.close()
        self._loaded.close()


class Filler:
    """Fills tables in the kernel, and *otherwise* if that cannot be done, which it will *report* once.

    The program is loaded when the first table is wanted: most directors have none.
    """

    def __init__(self, otherwise: Fill, report: Callable[[Exception], None]) -> None:
        self._otherwise = otherwise
        self._report = report
        self._fill: Fill | None = None

    def __call__(self, seeds: Array, turns: Array, size: int) -> Array:
        """Return who owns each entry."""
        try:
            if self._fill is None:
                self._fill = Maglev().fill
            return self._fill(seeds, turns, size)
        except (XlvsError, OSError) as err:
            self._report(err)
            self._fill = self._otherwise
            return self._otherwise(seeds, turns, size)
