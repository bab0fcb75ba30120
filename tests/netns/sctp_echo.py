"""A server of SCTP that answers every message with its name and the message; one address, so that it is not multihomed.

Run as ``sctp_echo.py NAME ADDRESS PORT READY``; creates READY once it listens.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path


def serve(sock: socket.socket, name: bytes) -> None:
    """Answer one association until it ends."""
    with sock:
        while message := sock.recv(65536):
            sock.sendall(name + message)


def main() -> None:
    """Listen, and serve each association in a thread."""
    name, address, port, ready = sys.argv[1:]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as listener:
        listener.bind((address, int(port)))
        listener.listen(64)
        Path(ready).touch()
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, name.encode()), daemon=True).start()


if __name__ == "__main__":
    main()
