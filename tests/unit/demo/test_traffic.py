"""The client counts right, and takes no wrong answer for a right one."""

from __future__ import annotations

import pytest

from xlvs.demo.traffic import Job, Result, parse_http


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0), (1.0, 100.0)])
def test_percentile_is_a_latency_that_was_seen(share: float, expected: float) -> None:
    """Of 1..100 ms, half took less than 51 and one in a hundred 100."""
    assert Result(latencies_ms=[float(n) for n in range(100, 0, -1)]).percentile_ms(share) == expected


def test_percentile_of_nothing_is_nothing() -> None:
    """Without an answer there is no latency."""
    assert Result().percentile_ms(0.5) is None


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\nX-Real-Server: 10.0.1.11\r\n\r\nreal1 10.0.1.11\n"


def test_complete_answer_names_its_server() -> None:
    """Header and body agree on who answered."""
    assert parse_http(ANSWER) == "10.0.1.11"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        ANSWER[:-1],
        ANSWER.replace(b"200", b"502"),
        ANSWER.replace(b"1.11\n", b"1.12\n"),
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["empty", "cut short", "bad gateway", "mixed up", "headless"],
)
def test_wrong_answer_is_an_error(answer: bytes) -> None:
    """An answer that is cut short, or mixes two servers, is not counted for any."""
    with pytest.raises(ValueError, match="wrong answer"):
        parse_http(answer)


def test_every_request_has_a_source_of_its_own() -> None:
    """Addresses take turns, and no pair of address and port comes twice before all were used."""
    job = Job("udp", "192.0.2.1", 5000, ["10.0.0.1", "10.0.0.2"], 100)
    assert [job.source(number) for number in (0, 1, 2)] == [("10.0.0.1", 1024), ("10.0.0.2", 1024), ("10.0.0.1", 1025)]
    sources = {job.source(number) for number in range(2 * 64512)}
    assert len(sources) == 2 * 64512
    assert max(port for _, port in sources) == 65535
