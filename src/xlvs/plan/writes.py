"""The words a plan is made of: each changes many entries of one map, in the layout of ``bpf/abi.h``.

Nothing here decides or does anything; `xlvs.plan.planner` decides, the daemon does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_SERVERS_PER_SERVICE = 1024
"""``XLVS_SLOTS_PER_BLOCK * XLVS_SERVICE_BLOCKS``."""


@dataclass(frozen=True, slots=True, eq=False)
class Put:
    """Set the entries *keys* of the map *name* to *values*."""

    name: str
    keys: Array
    values: Array

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True, eq=False)
class Drop:
    """Delete the entries *keys* of the map *name*; one that is not there is no error."""

    name: str
    keys: Array

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True, eq=False)
class PutTables:
    """Load the *tables* of choices at *indices*; no service in force may refer to them yet."""

    indices: Sequence[int]
    tables: Sequence[Array]

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, slots=True)
class Turn:
    """Store the epoch: all that was prepared for it is in force from this moment on."""

    epoch: int

    def __len__(self) -> int:
        return 1


Write = Put | Drop | PutTables | Turn
