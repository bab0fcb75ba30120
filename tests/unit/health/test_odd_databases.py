"""Verdicts of checks of databases on answers that no database gives: a sentence each time, and no check that hangs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers.asking import UP
from tests.unit.health.peer import ask_stream

ANN = {"user": "ann", "password": "secret"}
POSTGRES, MYSQL = {"type": "postgres"} | ANN, {"type": "mysql"} | ANN
ORACLE = {"type": "oracle", "service": "shop"} | ANN
NULS = b"\0" * 100
NO_HTTP2 = "it does not speak HTTP/2: "


@pytest.mark.parametrize(
    ("options", "answers", "verdict"),
    [
        (POSTGRES, [b"", NULS], r"it does not speak PostgreSQL, but begins with b'\x00'"),
        (POSTGRES, [b"220 mail\r\n"], "it does not speak PostgreSQL, but begins with b'2'"),
        (POSTGRES | {"tls": {}}, [b"", NULS], r"it does not speak PostgreSQL, but begins with b'\x00'"),
        (MYSQL, [NULS], "it does not speak MySQL: "),
        (MYSQL, [b"220 mail.example.org\r\n"], "Packet sequence number wrong"),
        (MYSQL, [b""], "Lost connection to MySQL server"),
        (ORACLE, [b"", NULS], r"it does not speak Oracle, but begins with b'\x00"),
        (ORACLE, [b"220 mail.example.org\r\n"], "it does not speak Oracle, but begins with b'220 mail'"),
        (ORACLE, [b""], "DPY-4011: the database or network closed the connection"),
        ({"type": "mongodb"}, [b"", NULS], "Message length (0) not longer than"),
        ({"type": "grpc"}, [NULS], NO_HTTP2),
        ({"type": "redis"}, [b"", b"+OK\r\n"], "it answers a PING with 'OK'"),
        ({"type": "redis"}, [b"", b"-LOADING later\r\n"], "it answers: LOADING later"),
        ({"type": "redis", "role": "master"}, [b"", b"$4\r\nPONG\r\n", b"*1\r\n$6\r\nmaster\r\n"], UP),
        ({"type": "redis", "role": "master"}, [b"", b"+PONG\r\n", b"*0\r\n"], "it is a [], not a master"),
        ({"type": "redis", "role": "master"}, [b"", b"+PONG\r\n", b"*1\r\n:7\r\n"], "it is a 7, not a master"),
        ({"type": "redis"}, [b"", b"$-1\r\n"], "it answers a PING with None"),
        ({"type": "redis"}, [b"", b"$9999999\r\n"], "it does not speak Redis but says '$9999999'"),
        ({"type": "redis"}, [b"", b"*1\r\n" * 20], "it does not speak Redis but says '*1'"),
        ({"type": "redis"}, [b"", b"$4\r\nPO"], "the server hung up"),
        ({"type": "memcached"}, [b"", b"ERROR\r\n"], "it answers 'ERROR', not its version"),
        ({"type": "haproxy"}, [b"75%\n"], UP),
        ({"type": "haproxy"}, [b"7500%\n"], "its agent says '7500%', which no agent does"),
        ({"type": "envoy"}, [b"", b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n"], "it is not ready"),
    ],
)
def test_an_odd_answer_has_its_verdict(options: dict[str, Any], answers: list[bytes], verdict: str) -> None:
    """What comes back is judged, and the connection is closed."""
    assert ask_stream(options, answers, b"").startswith(verdict)
