"""A file of 64 MiB goes through the virtual address in both directions, and every byte arrives.

    client ──┐           ┌── real1 (peer)
             ├─ switch ──┼── real2 (peer)
    director ┘           └── real3 (peer)

All links have an MTU of 1500 and every offload as veth has it by default:
through a tunnel the upload needs the director's ICMP answer to become smaller.
"""

from __future__ import annotations

from pathlib import Path

from tests.netns.lab import PEER, Lab

CHUNK = 1 << 18


def test_download_is_the_same_byte_for_byte(lab: Lab, family: int, big_file: Path) -> None:
    """What the client reads is the file, to its last byte."""
    with lab.connect(family, PEER) as sock, sock.makefile("rb") as stream, big_file.open("rb") as file:
        sock.sendall(f"GET {big_file}\n".encode())
        done = 0
        while got := stream.read(CHUNK):
            assert got == file.read(len(got)), f"bytes from {done} on differ"
            done += len(got)
    assert done == big_file.stat().st_size


def test_upload_is_the_same_byte_for_byte(lab: Lab, family: int, big_file: Path) -> None:
    """What the server reads is the file, to its last byte."""
    with lab.connect(family, PEER) as sock, big_file.open("rb") as file:
        sock.sendall(f"PUT {big_file} {big_file.stat().st_size}\n".encode())
        sock.sendfile(file)
        assert sock.recv(100) == b"same\n"
