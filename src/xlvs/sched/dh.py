"""dh: destination hashing, the user half.

The kernel half hashes the virtual address into a table of 256 entries.  Here
the table is filled: the servers take turns, newest first, whatever their
weights (ip_vs_dh.c, with CONFIG_IP_VS_DH_TAB_BITS=8).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xlvs.sched.parts.family import NO_SERVER, Ask, Entry, Fill, State, Table, View
from xlvs.sched.parts.hashing import fold, golden_hash
from xlvs.sched.parts.scheduler import Scheduler

TABLE_SIZE = 256


def table(servers: Sequence[Entry], fill: Fill | None = None, size: int = 0) -> Table:
    """Return the table."""
    numbers = [server.number for server in servers] or [NO_SERVER]
    return np.resize(np.array(numbers, np.uint32), TABLE_SIZE)


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the server that the address's hash points at, None if it takes no connections."""
    if view.table is None:
        return None, view.state
    number = int(view.table[golden_hash(fold(ask.virtual, 0))])
    return number if number in dict(view.open(ask)) else None, view.state


MEMBER = Scheduler(choose=choose, table=table, table_size=TABLE_SIZE)
