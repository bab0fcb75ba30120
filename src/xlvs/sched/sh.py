"""sh: source hashing, the user half.

The kernel half hashes the client's address into a table of 256 entries.  Here
the table is filled: server after server, newest first, each with as many
entries in a row as its weight says, round and round until the table is full
(ip_vs_sh.c, with CONFIG_IP_VS_SH_TAB_BITS=8).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xlvs.sched.parts.family import FALLBACK, PORT, Ask, Entry, Fill, State, Table, View
from xlvs.sched.parts.hashing import MASK, golden_hash, seek
from xlvs.sched.parts.scheduler import Scheduler

TABLE_SIZE = 256
FLAGS = {"sh-fallback": FALLBACK, "sh-port": PORT}


def table(servers: Sequence[Entry], fill: Fill | None = None, size: int = 0) -> Table:
    """Return the table; a server of weight 0 gets one entry as well, and so refuses what falls there."""
    # Of a larger weight no more than the whole table can be used.
    weights = [min(max(server.weight, 1), TABLE_SIZE) for server in servers]
    turn = np.repeat(np.array([server.number for server in servers], np.uint32), weights)
    return np.resize(turn, TABLE_SIZE) if len(turn) else np.full(TABLE_SIZE, MASK, np.uint32)


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the server that the client's hash points at."""
    return seek(view, ask, _index), view.state


def _index(client: int, offset: int) -> int:
    return (offset + golden_hash(client)) % TABLE_SIZE


MEMBER = Scheduler(choose=choose, table=table, table_size=TABLE_SIZE, flags=FLAGS)
