"""IP addresses as the maps hold them: 16 bytes, whichever family.

A `bytes` that knows what it means.  Tens of thousands are hashed, compared and
written to the maps with each change, which `ipaddress` objects are too slow for.
"""

from __future__ import annotations

import ipaddress
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from xlvs.errors import InvalidError

MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address begins with (RFC 4291 §2.5.5.2)."""


class Address(bytes):
    """An IPv4 address, mapped (::ffff:a.b.c.d, RFC 4291 §2.5.5.2), or an IPv6 one, which is never a mapped one."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address that *text* writes; raises `InvalidError`."""
        try:
            return cls(MAPPED + inet_pton(AF_INET, text))
        except (OSError, ValueError, TypeError):
            pass
        try:
            found = cls(inet_pton(AF_INET6, text))
        except (OSError, ValueError, TypeError):
            raise InvalidError(f"{text!r} is not an IP address") from None
        if found.startswith(MAPPED):
            raise InvalidError(f"{text} is an IPv4 address in IPv6 clothes; write {found}")
        return found

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if self.startswith(MAPPED) else 6

    @property
    def packed(self) -> bytes:
        """The 4 or 16 bytes in network order that packets carry."""
        return self[12:] if self.startswith(MAPPED) else bytes(self)

    @property
    def max_prefixlen(self) -> int:
        """The length of the prefix that is this address alone."""
        return 32 if self.startswith(MAPPED) else 128

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """The same as a value of the standard library, which knows what kinds of addresses there are."""
        return ipaddress.ip_address(self.packed)

    def __str__(self) -> str:
        if self.startswith(MAPPED):
            return inet_ntop(AF_INET, self[12:])
        return inet_ntop(AF_INET6, self)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def endpoint(address: Address, port: int) -> str:
    """Return address and port as operators write them: ``192.0.2.1:80``, ``[2001:db8::1]:80``."""
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
