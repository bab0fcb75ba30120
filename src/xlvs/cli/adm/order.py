"""The order of ipvsadm's lists.

ipvsadm subtracts addresses as 32-bit ints, so 203.0.113.9 comes before
10.0.1.11.  That relation runs in circles (10 < 100 < 203 < 10), and what it
gives then depends on the sorting method and on the order before; so this is
the merge sort of glibc's qsort(3), not Python's.

One thing is better than ipvsadm's: rows that stand in a possible order already
stay as they are.  Without circles that is the same, and with them a saved
table that is restored is saved again as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = dict[str, Any]
    Entry = tuple[int, int, int, tuple[int, ...], int, Row]
    """Firewall mark, family, protocol number, the four words of the address, port, and the row they are of."""

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


def sort_services(rows: list[Row], pack: Callable[[str], bytes]) -> list[Row]:
    """Return services, given oldest first, by mark, family, protocol, address and port (libipvs, ipvs_cmp_services)."""
    return _arrange([_entry(row, row["listen"], pack) for row in rows], _compare_services)


def sort_servers(rows: list[Row], pack: Callable[[str], bytes]) -> list[Row]:
    """Return real servers, given oldest first, by address and port (libipvs, ipvs_cmp_dests)."""
    return _arrange([_entry(row, row, pack) for row in rows], _compare_servers)


def _entry(row: Row, end: Row, pack: Callable[[str], bytes]) -> Entry:
    packed = pack(end["address"])
    whole = packed.ljust(16, b"\0")
    words = tuple(int.from_bytes(whole[i : i + 4], "big") for i in (0, 4, 8, 12))
    family = 4 if len(packed) == 4 else 6
    return end.get("mark", 0), family, _PROTOCOLS.get(end.get("protocol", ""), 0), words, end["port"], row


def _compare_services(a: Entry, b: Entry) -> int:
    return _difference(a[0], b[0]) or a[1] - b[1] or a[2] - b[2] or _compare_servers(a, b)


def _compare_servers(a: Entry, b: Entry) -> int:
    # The family of the first decides how much is compared, also when the other has another family.
    for i in range(1 if a[1] == 4 else 4):
        difference = _difference(a[3][i], b[3][i])
        if difference:
            return difference
    return a[4] - b[4]


def _difference(a: int, b: int) -> int:
    """Return what is left of a difference of unsigned ints in an int of C."""
    return (a - b + 2**31) % 2**32 - 2**31


def _arrange(entries: list[Entry], compare: Callable[[Entry, Entry], int]) -> list[Row]:
    if any(compare(a, b) > 0 for a, b in pairwise(entries)):
        # The kernel hands its lists to ipvsadm newest first.
        entries = _sort(entries[::-1], compare)
    return [entry[-1] for entry in entries]


def _sort(entries: list[Entry], compare: Callable[[Entry, Entry], int]) -> list[Entry]:
    if len(entries) <= 1:
        return entries
    middle = len(entries) // 2
    left, right = _sort(entries[:middle], compare), _sort(entries[middle:], compare)
    merged = []
    i = j = 0
    while i < len(left) and j < len(right):
        if compare(left[i], right[j]) <= 0:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]
