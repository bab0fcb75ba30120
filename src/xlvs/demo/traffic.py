"""The client: sends requests, each a new flow, and counts which real server answered.

Runs as a process of its own inside the client's namespace and reports on
standard output, one JSON object per line: `{"done": n}` now and then, and at
the end the result.  Refuses to repeat a request: what is lost is an error.

    python -m xlvs.demo.traffic '{"protocol": "tcp", "address": …}'
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from xlvs.demo.servers import HEADER

FIRST_PORT = 1024
PORTS = 65536 - FIRST_PORT
REPORT_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class Job:
    """What to send: *requests* to *address*:*port* out of *sources* in turn, *concurrency* at a time.

    Request number *first* and those after it; each number has a source and a
    port of its own.  Left to the kernel, ports would come up twice by chance,
    and a packet of a known flow goes where the flow goes.
    """

    protocol: str
    address: str
    port: int
    sources: list[str]
    requests: int
    first: int = 0
    concurrency: int = 16
    timeout_s: float = 5.0
    give_up: int = 64
    """Errors after which the rest is not sent any more."""

    def source(self, number: int) -> tuple[str, int]:
        """Return the address and port that request *number* comes from."""
        turn, place = divmod(number, len(self.sources))
        return self.sources[place], FIRST_PORT + turn % PORTS


@dataclass(slots=True)
class Result:
    """What came back: answers per server address, errors by what they say, latencies in milliseconds."""

    per_server: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, which `from_json` reads."""
        return {
            "per_server": dict(self.per_server),
            "errors": dict(self.errors),
            "latencies_ms": [round(latency, 4) for latency in self.latencies_ms],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        """Build a result from its JSON form."""
        return cls(Counter(data["per_server"]), Counter(data["errors"]), data["latencies_ms"])

    @property
    def done(self) -> int:
        """Requests that have come to an end, good or bad."""
        return self.per_server.total() + self.errors.total()

    def percentile_ms(self, share: float) -> float | None:
        """Return the latency that *share* (0..1) of the answered requests did not exceed; None if there are none."""
        if not self.latencies_ms:
            return None
        ordered = sorted(self.latencies_ms)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


async def run(job: Job, result: Result) -> None:
    """Carry out *job*, adding to *result* as answers come."""
    numbers = iter(range(job.first, job.first + job.requests))
    await asyncio.gather(*(_worker(job, numbers, result) for _ in range(job.concurrency)))


async def _worker(job: Job, numbers: Iterator[int], result: Result) -> None:
    ask = _http if job.protocol == "tcp" else _datagram
    for number in numbers:
        if result.errors.total() >= job.give_up:
            return
        start = time.perf_counter()
        try:
            async with asyncio.timeout(job.timeout_s):
                server = await ask(job, number)
        except TimeoutError:
            result.errors[f"no answer within {job.timeout_s:g} s"] += 1
        except (OSError, ValueError) as err:
            result.errors[str(err)] += 1
        else:
            result.latencies_ms.append((time.perf_counter() - start) * 1000)
            result.per_server[server] += 1


async def _http(job: Job, number: int) -> str:
    """Make one HTTP request over a connection of its own; return the server's address."""
    loop = asyncio.get_running_loop()
    with _socket(job, socket.SOCK_STREAM, number) as sock:
        await loop.sock_connect(sock, (job.address, job.port))
        await loop.sock_sendall(sock, f"GET /{number} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := await loop.sock_recv(sock, 65536):
            answer += more
    return parse_http(answer)


def parse_http(answer: bytes) -> str:
    """Return the address of the server that gave *answer*; it must be complete and its header and body agree.

    Raises `ValueError`.
    """
    head, _, body = answer.decode("latin-1").partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    server = headers.get(HEADER, "")
    words = body.split()
    if " 200 " not in status or len(body) != int(headers.get("Content-Length", -1)) or words[1:] != [server]:
        raise ValueError(f"wrong answer: {status!r}, {len(body)} bytes")
    return server


async def _datagram(job: Job, number: int) -> str:
    """Send one numbered datagram from a socket of its own; return the server's address."""
    loop = asyncio.get_running_loop()
    with _socket(job, socket.SOCK_DGRAM, number) as sock:
        await loop.sock_connect(sock, (job.address, job.port))
        await loop.sock_sendall(sock, str(number).encode())
        words = (await loop.sock_recv(sock, 2048)).decode("latin-1").split()
    if len(words) != 3 or words[0] != str(number):
        raise ValueError(f"wrong answer to datagram {number}: {' '.join(words)!r}")
    return words[2]


def _socket(job: Job, kind: socket.SocketKind, number: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in job.address else socket.AF_INET, kind)
    sock.setblocking(False)
    sock.bind(job.source(number))
    return sock


async def _report(result: Result) -> None:
    while True:
        await asyncio.sleep(REPORT_INTERVAL_S)
        _say({"done": result.done})


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


async def _main(job: Job) -> None:
    result = Result()
    reporter = asyncio.create_task(_report(result))
    await run(job, result)
    reporter.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reporter
    _say(result.to_json())


if __name__ == "__main__":
    asyncio.run(_main(Job(**json.loads(sys.argv[1]))))
