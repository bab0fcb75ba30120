"""The flow table as it lies in the maps: every flow with its place, and what is wrong with the whole.

Read while no packet is on its way; `faults` is the list of invariants (docs/flow-table.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.unit.dataplane.table import Ends, bucket_of
from xlvs.dataplane import _abi as abi

PROTOCOLS = (6, 17)
"""By class of states."""


@dataclass(frozen=True, slots=True)
class Held:
    """A flow in the maps; *bucket* is None in the spill, where *slot* is its way."""

    family: int
    bucket: int | None
    slot: int
    ends: Ends
    server: int
    state: abi.FlowState
    fwd: int
    local: bool
    taken: int
    record: Any


def held(maps: Mapping[str, Any]) -> list[Held]:
    """Return all flows, idle for too long or not."""
    return [*_in_buckets(maps, 4), *_in_buckets(maps, 6), *(flow for _, flow in spilled(maps) if flow)]


def spilled(maps: Mapping[str, Any]) -> list[tuple[Any, Held | None]]:
    """Return what is in the spill by its key; None is an entry that holds no flow."""
    found: list[tuple[Any, Held | None]] = []
    for key, value in zip(*maps["flow_spill"].items(), strict=True):
        flow = _flow(value["low"], value, None, int(key["way"])) if is_live(value["low"]["life"]) else None
        found.append((key, flow))
    return found


def is_live(life: Any) -> Any:
    """Say of a word's upper half whether it says that there is a flow."""
    return ((life ^ abi.FLOW_FREE) & 15) < abi.FLOW_BUSY


def make_older(maps: Mapping[str, Any], jiffies: int) -> None:
    """Let all flows have had their last packet so long before."""
    for name in ("flows4", "flows6"):
        buckets = maps[name].read()
        low = buckets["flow"] if name == "flows4" else buckets["flow"]["low"]
        low["seen"] -= jiffies
        maps[name].write(0, buckets)
    keys, values = maps["flow_spill"].items()
    values["low"]["seen"] -= jiffies
    maps["flow_spill"].write_at(keys, values)


def faults(maps: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing in the table that must not be so."""
    flows = held(maps)
    return [
        *_twice(flows),
        *_astray(maps, flows),
        *_unfinished(maps),
        *_miscounted(maps, flows),
        *_misspilled(maps),
        *_passed_by(maps, flows),
    ]


def _in_buckets(maps: Mapping[str, Any], family: int) -> Iterator[Held]:
    slots = maps[f"flows{family}"].read()["flow"]
    low = slots["low"] if family == 6 else slots
    for bucket, slot in np.argwhere(is_live(low["life"])):
        wide = slots[bucket, slot] if family == 6 else None
        yield _flow(low[bucket, slot], wide, int(bucket), int(slot))


def _flow(low: Any, wide: Any, bucket: int | None, slot: int) -> Held:
    life = int(low["life"])
    state = abi.FlowState((life & abi.FLOW_STATE) ^ abi.FLOW_FREE)
    high = bytes(10) + b"\xff\xff"
    client, virt = (bytes(wide[name]) if wide is not None else high for name in ("client", "virt"))
    ends = Ends(
        client + int(low["client"]).to_bytes(4, "little"),
        int(low["cport"]),
        virt + int(low["virt"]).to_bytes(4, "little"),
        int(low["vport"]),
        PROTOCOLS[state >> abi.FLOW_CLASS_SHIFT],
    )
    fwd = life >> abi.FLOW_FWD_SHIFT & abi.FLOW_FWD
    taken = life >> abi.FLOW_TAKEN_SHIFT & 3
    server = life >> abi.FLOW_SERVER_SHIFT
    return Held(ends.family, bucket, slot, ends, server, state, fwd, bool(life & abi.FLOW_LOCAL), taken, low)


def _twice(flows: list[Held]) -> list[str]:
    return [f"{ends} is there {n} times" for ends, n in Counter(flow.ends for flow in flows).items() if n > 1]


def _passed_by(maps: Mapping[str, Any], flows: list[Held]) -> list[str]:
    used, first = maps["flow_stripes"].read()["used"], int(maps["flow_head"].get(0)["stripes"][0])
    stripes = {(f.bucket >> abi.STRIPE_SHIFT) + first * (f.family == 6) for f in flows if f.bucket is not None}
    return [f"stripe {stripe} has flows, and nobody looks" for stripe in sorted(stripes) if not used[stripe]]


def _home(maps: Mapping[str, Any], ends: Ends) -> int:
    head = maps["flow_head"].get(0)
    return bucket_of(head["seed"].tolist(), int(head["buckets"][int(ends.family == 6)]), ends)


def _astray(maps: Mapping[str, Any], flows: list[Held]) -> list[str]:
    servers, found = maps["servers"].read(), []
    for flow in flows:
        server = servers[flow.server]
        if (bytes(server["virt"]), int(server["vport"]), int(server["proto"])) != flow.ends[2:]:
            found.append(f"{flow.ends} is of server {flow.server}, which is none of its service")
        if flow.bucket is not None and flow.bucket ^ _home(maps, flow.ends) not in (0, 1):
            found.append(f"{flow.ends} is in bucket {flow.bucket}, its own is {_home(maps, flow.ends)}")
    return found


def _unfinished(maps: Mapping[str, Any]) -> list[str]:
    found = [f"stripe {i} is locked" for i in np.flatnonzero(maps["flow_stripes"].read()["lock"] & 1)]
    for family in (4, 6):
        slots = maps[f"flows{family}"].read()["flow"]
        life = slots["low"]["life"] if family == 6 else slots["life"]
        busy = np.argwhere(((life ^ abi.FLOW_FREE) & 15) == abi.FLOW_BUSY).tolist()
        found += [f"slot {slot} of IPv{family} is being filled" for slot in busy]
    return found


def _miscounted(maps: Mapping[str, Any], flows: list[Held]) -> list[str]:
    live = Counter((flow.server, flow.state.active) for flow in flows)
    loads = maps["loads"].read()
    found = []
    for number in sorted({int(i) for i in np.flatnonzero(loads["active"] | loads["inactive"])} | {s for s, _ in live}):
        have = int(loads[number]["active"]), int(loads[number]["inactive"])
        want = live[number, True], live[number, False]
        if have != want:
            found.append(f"server {number} counts {have} active and inactive flows, and has {want}")
    overheads = maps["overheads"].read()["overhead"].ravel()[: len(loads)]
    wrong = np.flatnonzero(overheads != 256 * loads["active"] + loads["inactive"]).tolist()
    found += [f"server {number} has an overhead of {overheads[number]}" for number in wrong]
    totals = maps["counters"].totals()
    left = int(totals[abi.Counter.FLOW_OPENED]) - int(totals[abi.Counter.FLOW_EXPIRED])
    if left != len(flows):
        found.append(f"{left} flows more were opened than expired, there are {len(flows)}")
    return found


def _misspilled(maps: Mapping[str, Any]) -> list[str]:
    head = maps["flow_head"].get(0)
    want: Counter[int] = Counter()
    found = []
    for key, flow in spilled(maps):
        if flow is None:
            found.append(f"the spill has an entry without a flow: {key}")
            continue
        if (flow.ends.client, flow.ends.cport) != (bytes(key["client"]), int(key["cport"])):
            found.append(f"the spill has {flow.ends} under {key}")
        want[(_home(maps, flow.ends) >> abi.STRIPE_SHIFT) + (int(head["stripes"][0]) if flow.family == 6 else 0)] += 1
    have = maps["flow_stripes"].read()["spilled"].view(np.int32)
    for stripe in np.flatnonzero(have).tolist() + list(want):
        if have[stripe] != want[stripe]:
            found.append(f"stripe {stripe} counts {have[stripe]} spilled flows, and has {want[stripe]}")
    return sorted(set(found))
