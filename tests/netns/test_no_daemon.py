"""Nobody at the wheel: the daemon is killed and the kernel half goes on, to the end of every flow.

client (wrk) ──┐           ┌── real1
               ├─ switch ──┼── real2
director (†) ──┘           └── real3
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.netns.conftest import WAYS
from tests.netns.lab import PEER, Lab
from tests.netns.peer import seal
from tests.netns.test_crash import assert_none_failed, kill, wrk
from xlvs.dataplane import Map, PerCpuMap, syscalls
from xlvs.dataplane import _abi as abi
from xlvs.demo.topology import VIP
from xlvs.demo.wait import until
from xlvs.model import Address, endpoint

U32 = np.dtype("<u4")
SERVERS = ("real1", "real2", "real3")
SHORT_S = 1


def pinned(lab: Lab, *place: str) -> int:
    """Return a descriptor of a pinned object of the director."""
    return syscalls.obj_get(Path(f"/run/xlvs/{lab.director.instance}.bpf").joinpath(*place))


def counter(lab: Lab, which: abi.Counter) -> int:
    """Return a counter of the director, read where the daemon reads it."""
    opened = PerCpuMap("counters", pinned(lab, "maps", "counters"), U32, np.dtype("<u8"))
    try:
        return int(opened.total(int(which)))
    finally:
        opened.close()


def shorten_timeouts(lab: Lab) -> None:
    """Have flows end after a second without packets, whatever their state."""
    config = Map("config", pinned(lab, "maps", "config"), U32, abi.CONFIG)
    try:
        record = config.get(0).copy()
        record["idle"][:] = record["hz"] * SHORT_S
        config.put(0, record)
    finally:
        config.close()


def loads(lab: Lab) -> list[tuple[int, int]]:
    """Return active and inactive flows of every server of every service."""
    rows = [server for service in lab.director.ask("services")["services"] for server in service["servers"]]
    return [(row["active"], row["inactive"]) for row in rows]


def programs(lab: Lab) -> dict[str, tuple[int, int]]:
    """Return every pinned link's own number and its program's."""
    found = {}
    for pin in Path(f"/run/xlvs/{lab.director.instance}.bpf/links").iterdir():
        fd = syscalls.obj_get(pin)
        info = syscalls.link_info(fd)
        syscalls.close([fd])
        found[pin.name] = (info.id, info.prog_id)
    return found


def test_new_flows_are_balanced(own_lab: Lab) -> None:
    """Connections and datagrams that begin after the daemon's end are shared out as before."""
    for family in (4, 6):
        own_lab.warm_up(family)
    kill(own_lab.director)
    for family in (4, 6):
        names: Counter[str] = Counter()
        for number in range(12):
            with own_lab.connect(family, PEER) as sock:
                sock.sendall(b"ECHO\nx\n")
                names[sock.recv(100).split()[0].decode()] += 1
            with own_lab.datagram_socket(family, PEER) as sock:
                sock.send(seal(number, b"alone"))
                assert sock.recv(100) == seal(number, b"alone")
        assert names == dict.fromkeys(SERVERS, 4)
    own_lab.director.start()
    for family in (4, 6):
        service = own_lab.director.ask(f"services/udp:{endpoint(Address.parse(VIP[family]), PEER)}")
        assert [server["stats"]["conns"] for server in service["servers"]] == [4, 4, 4]


def test_idle_flows_end_and_leave_no_load(own_lab: Lab) -> None:
    """Without a daemon flows end by the timer, and the next daemon finds every server without one."""
    for family in (4, 6):
        own_lab.warm_up(family)
    shorten_timeouts(own_lab)
    kill(own_lab.director)
    opened = counter(own_lab, abi.Counter.FLOW_OPENED)
    held = []
    try:
        for family, number in itertools.product((4, 6), range(6)):
            held.append(own_lab.connect(family, PEER))
            held.append(own_lab.datagram_socket(family, PEER))
            held[-1].send(seal(number, b"idle"))
            held[-1].recv(100)
        assert counter(own_lab, abi.Counter.FLOW_OPENED) - opened >= len(held)
        ended = abi.Counter.FLOW_EXPIRED
        until(lambda: counter(own_lab, ended) == counter(own_lab, abi.Counter.FLOW_OPENED), "the flows did not end")
        own_lab.director.start()
        assert loads(own_lab) == [(0, 0)] * 18
        assert own_lab.director.ask("flows") == []
        assert own_lab.director.ask("status")["flows"] == 0
    finally:
        for sock in held:
            sock.close()


@pytest.mark.parametrize("own_lab", WAYS[:2], ids="-".join, indirect=True)
def test_programs_are_replaced_under_load_and_the_sweep_goes_on(own_lab: Lab) -> None:
    """A new daemon puts its programs into the old links while requests run: none fails, and the timer keeps ticking."""
    load = wrk(own_lab, 6, "-H", "Connection: close")
    until(lambda: counter(own_lab, abi.Counter.FLOW_OPENED) > 50, "no load arrived")
    before = programs(own_lab)
    assert {"lo-tc", "eth0-tc"} <= before.keys()
    kill(own_lab.director)
    swept = counter(own_lab, abi.Counter.SWEEPS)
    until(lambda: counter(own_lab, abi.Counter.SWEEPS) > swept, "the sweep ended with the daemon")
    assert programs(own_lab) == before
    own_lab.director.start()
    after = programs(own_lab)
    swept = counter(own_lab, abi.Counter.SWEEPS)
    until(lambda: counter(own_lab, abi.Counter.SWEEPS) > swept + 40, "the sweep ended with the programs")
    assert {name: link for name, (link, _) in after.items()} == {name: link for name, (link, _) in before.items()}
    assert all(program != before[name][1] for name, (_, program) in after.items())
    assert_none_failed(load.communicate()[0])
