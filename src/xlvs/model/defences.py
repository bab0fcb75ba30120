"""When the defences that are automatic (mode 1) come into force: while memory is scarce.

Pure.  The rules are those of Linux 6.12 (net/netfilter/ipvs/ip_vs_ctl.c, ``update_defense_level``).
"""

from __future__ import annotations

from collections.abc import Mapping

from xlvs.model.sysctls import value

MODES = ("drop_entry", "drop_packet", "secure_tcp")


def is_automatic(given: Mapping[str, str]) -> bool:
    """Say whether any defence looks at memory, where *given* are the sysctls that were written."""
    return any(value(given, name) == 1 for name in MODES)


def in_force(given: Mapping[str, str], available: int) -> dict[str, str]:
    """Return the sysctls as packets are to be treated, with so many pages *available*.

    Below ``amemthresh`` pages an automatic defence is in mode 2, and one of so many new connections is refused as the
    threshold is times what is lacking.
    """
    found = dict(given)
    threshold = value(given, "amemthresh")
    if available >= threshold:
        return found
    found |= {name: "2" for name in MODES if value(given, name) == 1}
    if found.get("drop_packet") == "2":
        found["am_droprate"] = str(threshold // (threshold - available))
    return found
