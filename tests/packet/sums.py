"""Checksum arithmetic of the tests' own (RFC 1071), and what a driver may leave in a checksum field.

A sum of 16-bit words in ones' complement is the whole number modulo 65535.
"""

from __future__ import annotations

from tests.packet.frames import Frame

FIELD = {6: 16, 17: 6, 1: 2, 58: 2}
"""Where in the transport header the checksum is, by protocol."""


def ones_sum(data: bytes) -> int:
    """Return the ones' complement sum of *data*, an odd last byte padded; 0 only if all is zero."""
    number = int.from_bytes(data + bytes(len(data) % 2), "big")
    return number % 65535 or (65535 if number else 0)


def transport(frame: Frame) -> tuple[int, int, bytes]:
    """Return offset and protocol of the transport header, and the pseudo-header."""
    if frame[12:14] == b"\x08\x00":
        start, end, protocol = 14 + (frame[14] & 15) * 4, 14 + int.from_bytes(frame[16:18], "big"), frame[23]
        addresses = frame[26:34]
    else:
        start, end, protocol = 54, 54 + int.from_bytes(frame[18:20], "big"), frame[20]
        addresses = frame[22:54]
        while protocol in (0, 43, 44, 60):
            size = 8 if protocol == 44 else frame[start + 1] * 8 + 8
            protocol, start = frame[start], start + size
    return start, protocol, addresses + (end - start).to_bytes(4, "big") + bytes([0, 0, 0, protocol])


def set_check(frame: Frame, value: int) -> Frame:
    """Return the frame with *value* in the field of its transport checksum."""
    start, protocol, _ = transport(frame)
    at = start + FIELD[protocol]
    return Frame(frame[:at] + value.to_bytes(2, "big") + frame[at + 2 :])


def partial(frame: Frame) -> Frame:
    """Return the frame as a sender leaves it to the hardware: the field holds the pseudo-header's sum alone."""
    return set_check(frame, ones_sum(transport(frame)[2]))


def is_right(frame: Frame) -> bool:
    """Whether the transport checksum, pseudo-header and all, is right (and for IPv4 the header's too)."""
    start, protocol, pseudo = transport(frame)
    if frame[12:14] == b"\x08\x00" and ones_sum(frame[14 : 14 + (frame[14] & 15) * 4]) != 0xFFFF:
        return False
    if protocol == 1:
        pseudo = b""
    end = 14 + int.from_bytes(frame[16:18], "big") if frame[14] >> 4 == 4 else 54 + int.from_bytes(frame[18:20], "big")
    return ones_sum(pseudo + frame[start:end]) == 0xFFFF


def cut(frame: Frame, length: int) -> Frame:
    """Return the frame with only *length* bytes of payload, every length and checksum made right again."""
    start, protocol, _ = transport(frame)
    size = start + length + (8 if protocol == 17 else (frame[start + 12] >> 4) * 4)
    short = bytearray(frame[:size])
    if short[14] >> 4 == 4:
        short[16:18] = (size - 14).to_bytes(2, "big")
        short[24:26] = b"\0\0"
        short[24:26] = (0xFFFF - ones_sum(short[14 : 14 + (short[14] & 15) * 4])).to_bytes(2, "big")
    else:
        short[18:20] = (size - 54).to_bytes(2, "big")
    if protocol == 17:
        short[start + 4 : start + 6] = (size - start).to_bytes(2, "big")
    return complete(Frame(short))


def complete(frame: Frame) -> Frame:
    """Return the frame with the right transport checksum."""
    start, protocol, pseudo = transport(frame)
    zero = set_check(frame, 0)
    value = 0xFFFF - ones_sum(pseudo + zero[start:])
    return set_check(frame, value or (0xFFFF if protocol == 17 else 0))
