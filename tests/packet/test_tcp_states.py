"""The state of a TCP flow, and what it counts as, after every packet from either side."""

from __future__ import annotations

import random

import pytest

from tests.packet import network as net
from tests.packet.director import Director, Verdict, at, real
from tests.packet.frames import from_real, from_server, tcp, to_vip
from tests.packet.tcp_table import ACTIVE, NEXT, event

FLAGS = ("S", "SA", "A", "PA", "F", "FA", "R", "RA", "SF", "SR", "FR")


def send(director: Director, hook: str, who: str, flags: str) -> Verdict:
    """Send a segment from the client (``>``) or from its server behind nat (``<``)."""
    if who == ">":
        return director.packet(tcp(to_vip(4), flags), hook).verdict
    return director.packet(tcp(from_real(4), flags, link=from_server(1)), hook).verdict


# How a flow gets into each state that can be reached, by nat: who sends what.
WAYS_INTO = {
    "SYN_RECV": [(">", "S")],
    "ESTABLISHED": [(">", "S"), ("<", "SA"), (">", "A")],
    "FIN_WAIT": [(">", "S"), ("<", "SA"), (">", "A"), ("<", "FA")],
    "CLOSE_WAIT": [(">", "S"), ("<", "SA"), (">", "A"), (">", "FA")],
    "TIME_WAIT": [(">", "S"), ("<", "SA"), (">", "A"), ("<", "FA"), (">", "FA")],
    "CLOSE": [(">", "S"), ("<", "SA"), (">", "A"), (">", "R")],
    "SYN_SENT": [(">", "S"), ("<", "SA"), (">", "A"), ("<", "FA"), ("<", "S")],
}
DIRECTIONS = {">": "input", "<": "output"}
# A client's SYN on these opens a new flow instead (see test_flow.py).
REUSED = {"TIME_WAIT", "CLOSE"}


def counted(state: str) -> tuple[int, int]:
    """Return what one flow in *state* counts as: active, inactive."""
    return (1, 0) if state in ACTIVE else (0, 1)


@pytest.mark.parametrize("state", WAYS_INTO)
@pytest.mark.parametrize("who", DIRECTIONS)
def test_every_packet_in_every_state_leads_where_it_does_in_ipvs(
    director: Director, hook: str, state: str, who: str
) -> None:
    """One packet with any flags from either side leads to the state that IPVS's table says."""
    director.serve(4, "tcp")
    for flags in FLAGS:
        if state in REUSED and who == ">" and flags == "S":
            continue
        director.clear_flows()
        for step in WAYS_INTO[state]:
            send(director, hook, *step)
        assert director.states() == [state]
        assert director.load(real(4)) == counted(state)
        send(director, hook, who, flags)
        after = NEXT[DIRECTIONS[who], event(flags), state]
        assert director.states() == [after], f"{flags} from {who}"
        assert director.load(real(4)) == counted(after)
        assert director.flows()[0].inactive == (after not in ACTIVE)


@pytest.mark.parametrize("forward", ["route", "ipip"])
def test_without_replies_the_clients_packets_alone_decide(director: Director, hook: str, forward: str) -> None:
    """Where replies bypass the director IPVS has a table of its own, and 400 random packets agree with it."""
    director.serve(4, "tcp", forward)
    server = at(net.server(4, 1), 80)
    rng = random.Random(6)
    state = ""
    seen = set()
    for number in range(400):
        flags = rng.choice(FLAGS)
        if not state or (state in REUSED and flags == "S"):
            flags, after = "S", "SYN_RECV"
        else:
            after = NEXT["input-only", event(flags), state]
        send(director, hook, ">", flags)
        assert director.states() == [after], f"packet {number}: {flags} in {state}"
        assert director.load(server) == counted(after)
        state = after
        seen.add(state)
    assert seen == {"SYN_RECV", "ESTABLISHED", "FIN_WAIT", "TIME_WAIT", "CLOSE"}


def test_many_packets_of_both_sides_agree(director: Director, hook: str) -> None:
    """800 random packets through one nat flow, state and counts compared after each."""
    director.serve(4, "tcp")
    rng = random.Random(7)
    state = ""
    for number in range(800):
        who, flags = rng.choice("><"), rng.choice(FLAGS)
        if not state or (state in REUSED and who == ">" and flags == "S"):
            who, flags, after = ">", "S", "SYN_RECV"
        else:
            after = NEXT[DIRECTIONS[who], event(flags), state]
        send(director, hook, who, flags)
        assert director.states() == [after], f"packet {number}: {flags} from {who} in {state}"
        assert director.load(real(4)) == counted(after)
        state = after


@pytest.mark.parametrize("flags", ["S", "SA", "SF", "SPA", "SU"])
def test_a_syn_opens_a_flow(director: Director, hook: str, flags: str) -> None:
    """Any segment with SYN and without RST opens a flow, as in IPVS."""
    director.serve(4, "tcp")
    assert send(director, hook, ">", flags) is Verdict.SENT
    assert director.states() == ["SYN_RECV"]


@pytest.mark.parametrize("flags", ["", "A", "F", "FA", "PA", "R", "RA", "SR", "SRA", "U"])
def test_nothing_else_opens_a_flow(director: Director, hook: str, flags: str) -> None:
    """A segment of a connection nobody knows is the stack's, which resets it."""
    director.serve(4, "tcp")
    assert send(director, hook, ">", flags) is Verdict.PASS
    assert director.flows() == []
    assert director.load(real(4)) == (0, 0)
    assert director.stats(real(4)) == (0, 0, 0, 0, 0)


def test_a_segment_without_flags_changes_nothing(director: Director, hook: str) -> None:
    """Nobody but a scanner sends one, and it ends no flow."""
    director.serve(4, "tcp")
    for step in WAYS_INTO["ESTABLISHED"]:
        send(director, hook, *step)
    for who in DIRECTIONS:
        assert send(director, hook, who, "") is Verdict.SENT
        assert director.states() == ["ESTABLISHED"]
