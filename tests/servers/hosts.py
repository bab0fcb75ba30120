"""Two hosts in network namespaces, with a cable between them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def pair(near: str, far: str, networks: Mapping[int, str]) -> Iterator[None]:
    """Have both hosts there, whose `eth0` is number 1 and 2 of *networks*, the beginnings of addresses by family."""
    try:
        for name in (near, far):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", near, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far)
        for name, number in ((near, 1), (far, 2)):
            run("ip", "-n", name, "address", "add", f"{networks[4]}{number}/24", "dev", "eth0")
            run("ip", "-n", name, "address", "add", f"{networks[6]}{number}/64", "dev", "eth0", "nodad")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        yield
    finally:
        for name in (near, far):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
