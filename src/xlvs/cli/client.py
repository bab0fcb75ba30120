"""The daemon's clients' side of the socket: one JSON line out, one JSON line back.

Synchronous and import-light; connects at the first call and may carry many.
Decides nothing: what the daemon refuses is raised as the error it names.
"""

from __future__ import annotations

import json
import os
import socket

from xlvs.errors import BY_CODE, UnreachableError, XlvsError

# typing costs milliseconds at every start, and only the type checker needs it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import BufferedRWPair
    from typing import Any

    Stream = BufferedRWPair[Any, Any]

DEFAULT_INSTANCE = "default"


def socket_path(instance: str | None = None) -> str:
    """Return the path of the socket of *instance* (None: ``XLVS_INSTANCE``, else "default")."""
    name = instance or os.environ.get("XLVS_INSTANCE") or DEFAULT_INSTANCE
    return f"{os.environ.get('XLVS_RUN_DIR') or '/run/xlvs'}/{name}.sock"


class Client:
    """A connection to one daemon.

    Usable in a ``with`` statement.  A call raises `UnreachableError` if nobody
    answers or this user may not ask (its cause tells them apart), else the
    error of `xlvs.errors` that the daemon names.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path or socket_path()
        self._stream: Stream | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def call(self, op: str, **arguments: object) -> Any:
        """Send one request and return the result of the daemon."""
        request = json.dumps({"op": op, **arguments}).encode() + b"\n"
        if self._stream is None:
            self._stream = self._connect()
        try:
            self._stream.write(request)
            self._stream.flush()
            line = self._stream.readline()
        except OSError as error:
            raise UnreachableError(f"the xlvs daemon at {self.path} broke the connection: {error.strerror}") from error
        if not line.endswith(b"\n"):
            raise UnreachableError(f"the xlvs daemon at {self.path} closed the connection before it answered")
        reply = json.loads(line)
        if reply["ok"]:
            return reply["result"]
        failure = reply["error"]
        raise BY_CODE.get(failure["code"], XlvsError)(failure["message"], code=failure["code"])

    def _connect(self) -> Stream:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self.path)
        except PermissionError as error:
            raise UnreachableError(f"this user may not open {self.path}; run this as root") from error
        except OSError as error:
            raise UnreachableError(
                f"no xlvs daemon answers on {self.path} ({error.strerror or error}); start one with `xlvs daemon`"
            ) from error
        else:
            return connection.makefile("rwb")
        finally:
            # The stream keeps the connection open until it is closed itself.
            connection.close()
