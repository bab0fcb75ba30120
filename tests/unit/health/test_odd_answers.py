"""Verdicts of checks on answers that real servers do not give."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers.asking import TIMED_OUT, UP
from tests.unit.health.peer import ask_datagrams, ask_lines, ask_stream
from xlvs.health.parts import imap

ANN = {"user": "ann", "password": "secret"}
HI, BYE = "220 hi\r\n", "221 bye\r\n"
FETCH = {"type": "ftp", "file": "x"} | ANN
IN = (HI, "230 in\r\n", "200 binary\r\n")
REFUSED = "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 1)"
"""Of our own address, not of one that the server names."""


@pytest.mark.parametrize(
    ("options", "answers", "verdict"),
    [
        ({"type": "smtp"}, ["220-hi\r\n220-there\r\n220 host\r\n", "250 host\r\n", BYE], UP),
        ({"type": "smtp"}, [HI, "502 what?\r\n", "250 host\r\n", BYE], UP),
        ({"type": "smtp"}, [HI, "502 what?\r\n", "550 no\r\n"], "it refuses us: 550 no"),
        ({"type": "smtp"}, [HI, "421 later\r\n"], "it refuses us: 421 later"),
        ({"type": "smtp"}, ["554 no\r\n"], "the connection was answered with 554 no"),
        ({"type": "smtp"}, [""], "the server hung up"),
        ({"type": "smtp"}, ["22\r\n"], "it said '22', which is no answer with a number"),
        ({"type": "smtp"}, ["220x\r\n"], "it said '220x', which is no answer with a number"),
        ({"type": "smtp"}, ["220-x\r\n" * 2000], "its answer 220 has more than 1000 lines"),
        ({"type": "smtp"}, ["2" * (1 << 18)], "the server sent a line of more than 65536 bytes"),
        ({"type": "smtp", "starttls": True}, [HI, "250 host\r\n", "454 no\r\n"], "STARTTLS was answered with 454 no"),
        ({"type": "smtp"}, [HI, "250 host\r\n", "500 no\r\n"], "QUIT was answered with 500 no"),
        ({"type": "ftp"}, ["220-hi\r\nplain\r\n 221 plain\r\n220 end\r\n", BYE], UP),
        ({"type": "ftp"} | ANN, [HI, "230 no password needed\r\n", BYE], UP),
        ({"type": "ftp"} | ANN, [HI, "331 password\r\n", "332 account\r\n"], "it refuses the login: 332 account"),
        ({"type": "ftp", "starttls": True}, [HI, "502 no\r\n"], "AUTH TLS was answered with 502 no"),
        (FETCH, [*IN, "500 no EPSV\r\n", "227 (10,0,0,1,0,1)\r\n"], REFUSED),
        (FETCH, [*IN, "229 (|||1|)\r\n"], REFUSED),
        (FETCH, [*IN, "229 (|||99999|)\r\n"], "it offers no connection for files: 229 (|||99999|)"),
        (FETCH, [*IN, "425 no\r\n"], "it offers no connection for files: 425 no"),
        ({"type": "nntp"}, ["201 no posting\r\n", "205 bye\r\n"], UP),
        ({"type": "nntp"} | ANN, ["200 hi\r\n", "381 password\r\n", "281 welcome\r\n", "205 bye\r\n"], UP),
        ({"type": "nntp"} | ANN, ["200 hi\r\n", "381 p\r\n", "481 no\r\n"], "it refuses the login: 481 no"),
        ({"type": "nntp"}, ["400 busy\r\n"], "the connection was answered with 400 busy"),
        ({"type": "pop"}, ["-ERR busy\r\n"], "its greeting is '-ERR busy'"),
        ({"type": "pop"} | ANN, ["+OK\r\n", "-ERR who?\r\n"], "it refuses the login: -ERR who?"),
        ({"type": "pop", "starttls": True}, ["+OK\r\n", "-ERR no\r\n"], "STLS was answered with -ERR no"),
        ({"type": "imap"}, ["* BYE busy\r\n"], "its greeting is '* BYE busy'"),
        ({"type": "imap"} | ANN, ["* PREAUTH hi\r\n", "* BYE\r\na3 OK bye\r\n"], UP),
        ({"type": "imap"} | ANN, ["* ok hi\r\n", "a2 ok in\r\n", "a3 ok bye\r\n"], UP),
        ({"type": "imap"} | ANN, ["* OK hi\r\n", "a2 NO never\r\n"], "it refuses the login: NO never"),
        ({"type": "imap"}, ["* OK hi\r\n", "* X\r\n" * 2000], "it does not come to an end within 1000 lines"),
        ({"type": "imap", "starttls": True}, ["* OK hi\r\n", "a1 BAD no\r\n"], "STARTTLS was answered with BAD no"),
    ],
)
def test_lines_are_judged(options: dict[str, Any], answers: list[str], verdict: str) -> None:
    """Answers line by line, as they should be and not."""
    assert ask_lines(options, *answers) == verdict


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("smtp", [HI, "250 host\r\n", "220 go\r\n"]),
        ("ftp", [HI, "234 go\r\n"]),
        ("nntp", ["200 hi\r\n", "382 go\r\n"]),
        ("pop", ["+OK\r\n", "+OK\r\n"]),
        ("imap", ["* OK\r\n", "a1 OK\r\n"]),
    ],
)
@pytest.mark.parametrize(
    ("then", "verdict"),
    [
        ([""] * 1000, TIMED_OUT),
        (["it is plain\r\n"] + [""] * 1000, "SSLError: "),
        ([], "the server hung up when TLS was to begin"),
    ],
    ids=["hangs", "plain", "ends"],
)
def test_tls_that_does_not_begin_is_a_failure(kind: str, answers: list[str], then: list[str], verdict: str) -> None:
    """A server that says yes to TLS and then nothing, or something else, or hangs up; nothing stays open."""
    timeout = "300ms" if verdict == TIMED_OUT else 30
    given = ask_lines({"type": kind, "starttls": True, "timeout": timeout}, *answers, *then)
    assert given.startswith(verdict), given


@pytest.mark.parametrize(
    ("offer", "answers", "verdict"),
    [
        ("AUTH=PLAIN", ["235 in\r\n", BYE], UP),
        ("AUTH LOGIN", ["334 \r\n", "334 \r\n", "235 in\r\n", BYE], UP),
        ("AUTH LOGIN", ["334 \r\n", "535 who?\r\n"], "it refuses the login: 535 who?"),
        ("AUTH CRAM-MD5", [], "it offers no login by PLAIN or LOGIN"),
    ],
)
def test_a_login_takes_what_is_offered(offer: str, answers: list[str], verdict: str) -> None:
    """PLAIN, in the old notation too, or LOGIN step by step."""
    assert ask_lines({"type": "submission"} | ANN, HI, f"250-host\r\n250 {offer}\r\n", *answers) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"", "the server hung up without an answer"),
        (b"SSH-2.0-x\r\n\r\n", "it does not speak HTTP: illegal status line"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", UP),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nthe end", UP),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nthe end\r\n0\r\n\r\n", UP),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\nthe end", "it does not speak HTTP: peer closed connection"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"the end" + b"x" * (3 << 20), UP),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (3 << 20) + b"the end", "its body does not match 'the end'"),
    ],
)
def test_answers_of_http_are_judged(answer: bytes, verdict: str) -> None:
    """Bodies end in three ways, and are looked at up to a limit."""
    options = {"type": "http", "regex": "the end"}
    assert ask_stream(options, [b"", answer], b"\r\n\r\n").startswith(verdict)


def test_http2_that_is_none_is_down() -> None:
    """A frame that must not be is said to be one: DATA of stream 0 (RFC 9113 §6.1)."""
    verdict = ask_stream({"type": "http", "version": 2}, [b"", bytes(9)], b"SM\r\n\r\n")
    assert verdict.startswith("it does not speak HTTP/2")


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([b"one", b"two"], UP),
        ([b"one", b"three"], "its answer 'onethree' does not match 'onetwo'"),
        ([b"", b""], "the server hung up without an answer"),
        ([b"x" * (2 << 20), b""], "its answer '" + "x" * 40 + "' does not match 'onetwo'"),
    ],
)
def test_a_text_comes_in_pieces(answers: list[bytes], verdict: str) -> None:
    """What comes in two pieces is one text."""
    assert ask_stream({"type": "simpletcp", "send": "hello\n", "regex": "onetwo"}, answers) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("300c02010161070a010004000400", UP),
        ("30030201", "the server hung up"),
        ("30050201016100", "its answer is no message of LDAP"),
        ("300c02010961070a010004000400", "its answer is one to another question"),
        ("300c02010165070a010004000400", "its answer is searchResDone, not bindResponse"),
        ("300c02010061070a010004000400", "its answer is bindResponse, not extendedResp"),
        ("300c02010078070a013404000400", "the server hangs up: 52 unavailable"),
        ("308400ffffff", "its answer has more than 1048576 bytes"),
        ("3080", "its answer is no message of LDAP"),
        ("16030100", "its answer is no message of LDAP"),
        ("3004ffffffff", "its answer is no message of LDAP"),
    ],
)
def test_messages_of_ldap_are_judged(answer: str, verdict: str) -> None:
    """Messages that are cut, too long, or answer something else."""
    given = ask_stream({"type": "ldap"}, [b"", bytes.fromhex(answer)], b"\x80\x00")
    assert given.startswith(verdict), given


def test_a_directory_may_hold_what_is_no_text() -> None:
    """Names and values that are no UTF-8 match nothing, and are no error."""
    bind, entry = "300c02010161070a010004000400", "301b0201026416040464633d61300e300c0401963107040596ff636465"
    done = "300c02010265070a010004000400"
    options = {"type": "ldap", "base": "dc=a", "expect": {"c": "b"}}
    answers = [b"", bytes.fromhex(bind), bytes.fromhex(entry + done)]
    assert ask_stream(options, answers, b"") == "no entry that is found has c 'b'"


@pytest.mark.parametrize(
    ("options", "answers", "verdict"),
    [
        ({"require_reply": "AXXB X1"}, ["a00bf1"], UP),
        ({"require_reply": "AX"}, ["b0"], "its reply begins with b0, not AX"),
        ({"require_reply": "AX BX"}, ["a0"], "its reply has 1 bytes, not at least 2"),
        ({"max_reply_length": 1}, ["a0a0"], "its reply has 2 bytes, not at most 1"),
        ({"require_reply": ""}, ["00"], UP),
        ({"require_reply": "", "timeout": "200ms"}, [], TIMED_OUT),
        ({"patience": "100ms"}, [], UP),
    ],
)
def test_datagrams_are_judged(options: dict[str, Any], answers: list[str], verdict: str) -> None:
    """Digits that count and do not, lengths, and silence."""
    given = ask_datagrams({"type": "udp", "payload": "00"} | options, lambda _data: list(map(bytes.fromhex, answers)))
    assert given == verdict


def test_an_answer_of_dns_to_another_question_is_none() -> None:
    """A datagram with another id is ignored, and one to another question with ours fails."""
    import dns.message

    def other_id(data: bytes) -> list[bytes]:
        return [bytes([data[0] ^ 1]) + data[1:]]

    def other_name(data: bytes) -> list[bytes]:
        answer = dns.message.make_response(dns.message.make_query("example.net", "A"))
        answer.id = int.from_bytes(data[:2], "big")
        return [answer.to_wire()]

    assert ask_datagrams({"type": "dns", "timeout": "200ms"}, other_id) == TIMED_OUT
    assert ask_datagrams({"type": "dns"}, other_name) == "its answer is one to another question"
    verdict = ask_datagrams({"type": "dns"}, lambda data: [data[:2] + b"\0"])
    assert verdict.startswith("its answer is no message of DNS")


def test_an_answer_of_radius_is_signed() -> None:
    """One that is no packet, or is signed with another secret, fails; one with another id is ignored."""
    options = {"type": "radius", "shared_secret": "s"} | ANN
    accept = b"\x02%c\0\x14" + bytes(16)
    unsigned = ask_datagrams(options, lambda data: [accept % data[1]])
    assert unsigned == "its answer is not signed as it should be; is the secret the same?"
    assert ask_datagrams(options, lambda data: [data[:4]]) == "its answer is no packet of RADIUS"
    assert ask_datagrams(options | {"timeout": "200ms"}, lambda data: [accept % (data[1] ^ 1)]) == TIMED_OUT


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        (["SIP/2.0 100 Trying", "SIP/2.0 200 OK"], UP),
        (["HTTP/1.1 200 OK"], "its answer 'HTTP/1.1 200 OK' is none of SIP"),
        (["SIP/2.0 20 OK"], "its answer 'SIP/2.0 20 OK' is none of SIP"),
        (["SIP/2.0 486 Busy"], "status 486 Busy, not 200"),
    ],
)
def test_answers_of_sip_are_judged(transport: str, lines: list[str], verdict: str) -> None:
    """A provisional answer with a body is skipped, and what is no answer of SIP fails."""

    def answers(data: bytes) -> list[bytes]:
        branch = data.split(b"\r\n")[1]
        return [line.encode() + b"\r\n" + branch + b"\r\nContent-Length: 3\r\n\r\nabc" for line in lines]

    options = {"type": "sip", "transport": transport}
    if transport == "udp":
        assert ask_datagrams(options, answers) == verdict
    else:
        assert ask_stream(options, [b"", b"".join(answers(b"\r\nVia: x\r\n"))], b"\r\n\r\n") == verdict


def test_a_password_is_quoted_for_imap() -> None:
    """Quotes and backslashes in a password end no string."""
    assert imap.quoted('a"b\\c') == '"a\\"b\\\\c"'
