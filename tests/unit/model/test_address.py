"""Addresses as the maps hold them, and as operators write them."""

from __future__ import annotations

import ipaddress

import pytest

from xlvs.errors import InvalidError
from xlvs.model import Address, endpoint


@pytest.mark.parametrize(
    ("text", "shown", "version", "packed", "bits"),
    [
        ("192.0.2.1", "192.0.2.1", 4, "c0000201", 32),
        ("0.0.0.0", "0.0.0.0", 4, "00000000", 32),
        ("2001:DB8:0:0::1", "2001:db8::1", 6, "20010db8000000000000000000000001", 128),
        ("::", "::", 6, "00" * 16, 128),
        ("::1.2.3.4", "::1.2.3.4", 6, "00" * 12 + "01020304", 128),
    ],
)
def test_what_an_address_is(text: str, shown: str, version: int, packed: str, bits: int) -> None:
    """Sixteen bytes, which know their family, how packets carry them and how they are written."""
    address = Address.parse(text)
    assert (str(address), f"{address:>20}", repr(address)) == (shown, f"{shown:>20}", f"Address('{shown}')")
    assert (len(address), address.version, address.packed.hex(), address.max_prefixlen) == (16, version, packed, bits)
    assert address.ip == ipaddress.ip_address(text)
    assert Address.parse(shown) == address


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4.5", "1.2.3.04x", "::1%eth0", "2001:db8::/32", "host", "1\0", "é"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """What the C library would guess, a name, or a prefix; the sentence repeats what was written."""
    with pytest.raises(InvalidError, match="is not an IP address") as caught:
        Address.parse(text)
    assert repr(text) in str(caught.value)


def test_an_ipv4_address_has_one_form() -> None:
    """Written as an IPv6 one it would be another key in every map."""
    with pytest.raises(InvalidError) as caught:
        Address.parse("::ffff:192.0.2.1")
    assert str(caught.value) == "::ffff:192.0.2.1 is an IPv4 address in IPv6 clothes; write 192.0.2.1"


def test_endpoints_are_written_as_operators_do() -> None:
    """An IPv6 address stands in brackets before its port."""
    assert endpoint(Address.parse("192.0.2.1"), 80) == "192.0.2.1:80"
    assert endpoint(Address.parse("2001:db8::1"), 80) == "[2001:db8::1]:80"
