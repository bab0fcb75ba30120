"""100,000 numbered and hashed datagrams go to the virtual address and come back.

    client ──┐           ┌── real1 (peer)
             ├─ switch ──┼── real2 (peer)
    director ┘           └── real3 (peer)

No more than a window is under way at a time, less than any queue on the way
holds (a veth's ring has 256 places), so what is lost is the director's loss.
"""

from __future__ import annotations

import errno
import random
import selectors

from tests.netns.lab import PEER, Lab
from tests.netns.peer import seal

DATAGRAMS = 100_000
FLOWS = 32
WINDOW = 64
FRAGMENTED = 8000
LARGEST = 1300
"""Bytes of payload; with every header, also a tunnel's, it fits 1500."""


def test_no_datagram_is_lost_or_changed(lab: Lab, family: int) -> None:
    """Each of them comes back once, as it was sent."""
    lab.warm_up(family)
    noise = random.Random(family).randbytes(LARGEST + DATAGRAMS)
    socks = [lab.datagram_socket(family, PEER) for _ in range(FLOWS)]
    try:
        with selectors.DefaultSelector() as selector:
            for sock in socks:
                selector.register(sock, selectors.EVENT_READ)
            for first in range(0, DATAGRAMS, WINDOW):
                numbers = range(first, min(first + WINDOW, DATAGRAMS))
                sent = [seal(n, noise[n : n + n % LARGEST]) for n in numbers]
                for number, datagram in zip(numbers, sent, strict=True):
                    socks[number % FLOWS].send(datagram)
                back: list[bytes] = []
                while len(back) < len(sent):
                    ready = selector.select(timeout=5)
                    assert ready, f"{len(sent) - len(back)} of datagrams {numbers} were lost"
                    back += [key.fileobj.recv(65535) for key, _ in ready]  # type: ignore[union-attr]
                assert sorted(back) == sorted(sent)
    finally:
        for sock in socks:
            sock.close()


def test_fragmented_datagram_arrives_whole(lab: Lab, family: int) -> None:
    """A datagram of six fragments comes back whole; a tunnel tells the sender once that smaller ones are needed."""
    lab.warm_up(family)
    told = 0
    with lab.datagram_socket(family, PEER) as sock:
        for number in range(100):
            datagram = seal(number, bytes([number]) * FRAGMENTED)
            try:
                sock.send(datagram)
                back = sock.recv(65535)
            except OSError as err:
                assert err.errno == errno.EMSGSIZE
                told += 1
                sock.send(datagram)
                back = sock.recv(65535)
            assert back == datagram
    assert told <= (1 if lab.forward == "ipip" else 0)
