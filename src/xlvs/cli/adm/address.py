"""Numbers, addresses and ports as ipvsadm reads them, C library quirks included.

``10.0.0`` is 10.0.0.0 and ``24`` as a mask is 0.0.0.24, because inet_aton(3)
says so.  Addresses are packed bytes: 4 for IPv4, 16 for IPv6.
"""

from __future__ import annotations

import socket

_BLANKS = " \t\n\v\f\r"


def parse_number(text: str, low: int, high: int) -> int | None:
    """Return the decimal number of the whole *text* if it is in *low*..*high* (strtol(3)), else None."""
    digits = text.lstrip(_BLANKS)
    sign = -1 if digits.startswith("-") else 1
    if digits[:1] in ("+", "-"):
        digits = digits[1:]
    # 4000 digits: what int() still converts, and far beyond every limit.
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 4000:
        return None
    number = sign * int(digits)
    return number if low <= number <= high else None


def parse_leading_number(text: str) -> int:
    """Return the number at the start of *text*, 0 if there is none (atoi(3))."""
    digits = text.lstrip(_BLANKS)
    end = 1 if digits[:1] in ("+", "-") else 0
    while end < min(len(digits), 20) and digits[end] in "0123456789":
        end += 1
    return int(digits[:end]) if digits[:end].strip("+-") else 0


def parse_host(text: str) -> bytes | None:
    """Return the IPv4 address of *text*, looking a name up if it is no address; None if nobody knows it."""
    if not text:
        return None
    try:
        return socket.inet_aton(text)
    except OSError:
        pass
    except ValueError:
        return None
    try:
        found = socket.getaddrinfo(text, None, socket.AF_INET, socket.SOCK_STREAM)
        return socket.inet_aton(str(found[0][4][0]))
    except (OSError, ValueError):
        return None


def parse_endpoint(text: str, protocol: str) -> tuple[bytes, int | None] | None:
    """Return (address, port) of ``host[:port]`` or ``[v6]:port``, None if it is neither.

    The port is None when not given; a name is looked up for *protocol*.
    """
    if not text.strip("0123456789"):
        return None
    port: str | None = None
    if text.startswith("["):
        text, closing, rest = text[1:].partition("]")
        if not closing or not rest.startswith(":"):
            return None
        port = rest[1:]
    address = _parse_ipv6(text)
    if address is None:
        # What stood behind the brackets is forgotten unless they hold an IPv6 address.
        host, colon, tail = text.rpartition(":")
        text, port = (host, tail) if colon else (text, None)
        address = parse_host(text)
    if address is None or port is None:
        return None if address is None else (address, None)
    number = _parse_port(port, protocol)
    return None if number is None else (address, number)


def _parse_ipv6(text: str) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None


def _parse_port(text: str, protocol: str) -> int | None:
    number = parse_number(text, 0, 65535)
    if number is not None or not protocol:
        return number
    try:
        return socket.getservbyname(text, protocol)
    except (OSError, ValueError):
        return None


def is_unicast(address: bytes) -> bool:
    """Say whether a real server may have this *address*, local broadcasts aside (ip_vs_ctl.c, ip_vs_new_dest)."""
    if len(address) == 4:
        return any(address) and address != b"\xff" * 4 and not 224 <= address[0] < 240
    link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
    return any(address) and address[0] != 0xFF and not link_local
