"""A client of LDAP (RFC 4511) as far as checks need one: bind, search, StartTLS and unbind.

The messages are those of ldap3; its own connections would need a thread for each probe.
"""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType
from typing import Any

from xlvs.health.check import Failed, Target, Unable
from xlvs.health.parts.net import Lines
from xlvs.health.parts.tls import Tls

START_TLS = "1.3.6.1.4.1.1466.20037"
"""RFC 4511 §4.14.1."""
LARGEST = 1 << 20
_SEQUENCE = 0x30
_DEREFERENCE_NEVER = "NEVER"


@cache
def library() -> ModuleType:
    """Return ldap3; raises `Unable` if it is missing."""
    try:
        with warnings.catch_warnings():
            # ldap3 2.9 takes names from pyasn1 that were renamed since.
            warnings.simplefilter("ignore", DeprecationWarning)
            import ldap3
    except ImportError as err:
        raise Unable("the checks ldap and ldaps need the package ldap3; install xlvs[ldap]") from err
    found: ModuleType = ldap3
    return found


class Session:
    """A connection to a server of directories."""

    def __init__(self, stream: Lines) -> None:
        self.stream = stream
        self.number = 0
        library()

    async def start_tls(self, target: Target, tls: Tls) -> None:
        """Go on within TLS (RFC 4511 §4.14); raises `Failed` or `OSError`."""
        from ldap3.operation.extended import extended_operation

        result = _result(await self._ask("extendedReq", extended_operation(START_TLS)), "extendedResp")
        if result[0]:
            raise Failed(f"StartTLS was answered with {said(result)}")
        await tls.start(self.stream, target)

    async def bind(self, user: str, password: str) -> None:
        """Log in, anonymously if there is no *user* (§4.2); raises `Failed`."""
        from ldap3.operation.bind import bind_operation

        operation = bind_operation(3, "SIMPLE" if user else "ANONYMOUS", user, password)
        result = _result(await self._ask("bindRequest", operation), "bindResponse")
        if result[0]:
            raise Failed(f"it refuses the login: {said(result)}")

    async def search(self, base: str, text: str, scope: str, attributes: list[str]) -> list[dict[str, list[str]]]:
        """Return the attributes of the entries that are found, names in lower case (§4.5); raises `Failed`."""
        await self._send("searchRequest", search_request(base, text, scope, attributes))
        entries = []
        while True:
            operation = await self._receive()
            if operation.getName() == "searchResEntry":
                entries.append(_attributes(operation.getComponent()))
            elif operation.getName() != "searchResRef":
                result = _result(operation, "searchResDone")
                if result[0]:
                    raise Failed(f"the search was answered with {said(result)}")
                return entries

    async def unbind(self) -> None:
        """Say that we leave, which has no answer (§4.3)."""
        from ldap3.operation.unbind import unbind_operation

        await self._send("unbindRequest", unbind_operation())

    async def _ask(self, name: str, operation: Any) -> Any:
        await self._send(name, operation)
        return await self._receive()

    async def _send(self, name: str, operation: Any) -> None:
        from ldap3.protocol.rfc4511 import LDAPMessage, MessageID, ProtocolOp
        from ldap3.utils.asn1 import encode

        self.number += 1
        message = LDAPMessage()
        message["messageID"] = MessageID(self.number)
        message["protocolOp"] = ProtocolOp().setComponentByName(name, operation)
        self.stream.writer.write(encode(message))
        await self.stream.writer.drain()

    async def _receive(self) -> Any:
        """Return the operation of the next message that answers ours; raises `Failed`."""
        from ldap3.protocol.rfc4511 import LDAPMessage
        from ldap3.utils.asn1 import decoder
        from pyasn1.error import PyAsn1Error

        data = await self._message()
        try:
            message, _rest = decoder.decode(data, asn1Spec=LDAPMessage())
        except PyAsn1Error as err:
            raise Failed("its answer is no message of LDAP") from err
        operation = message["protocolOp"]
        if int(message["messageID"]) == 0:  # a notice of disconnection, §4.4.1
            raise Failed(f"the server hangs up: {said(_result(operation, 'extendedResp'))}")
        if int(message["messageID"]) != self.number:
            raise Failed("its answer is one to another question")
        return operation

    async def _message(self) -> bytes:
        """Return the bytes of the next message (§5.1); raises `Failed`."""
        head = await self.stream.exactly(2)
        if head[0] != _SEQUENCE:
            raise Failed("its answer is no message of LDAP")
        size = head[1]
        if size > 127:
            more = await self.stream.exactly(size - 128)
            head, size = head + more, int.from_bytes(more, "big")
        if size > LARGEST:
            raise Failed(f"its answer has more than {LARGEST} bytes")
        return head + await self.stream.exactly(size)


def search_request(base: str, text: str, scope: str, attributes: list[str]) -> Any:
    """Return the request for a search; raises an exception of ldap3 if the filter *text* cannot be read."""
    from ldap3.operation.search import search_operation

    return search_operation(base, text, scope, _DEREFERENCE_NEVER, attributes, 0, 0, False, False, False)


def said(result: tuple[int, str, str]) -> str:
    """Return number, name and text of a result."""
    number, name, text = result
    return f"{number} {name}" + (f": {text}" if text else "")


def _result(operation: Any, wanted: str) -> tuple[int, str, str]:
    """Return number, name and text of a result (§4.1.9); raises `Failed` if it is another answer."""
    if operation.getName() != wanted:
        raise Failed(f"its answer is {operation.getName()}, not {wanted}")
    answer = operation.getComponent()
    return int(answer["resultCode"]), str(answer["resultCode"]), _text(answer["diagnosticMessage"])


def _attributes(entry: Any) -> dict[str, list[str]]:
    """Return the attributes of an entry by their names in lower case."""
    return {_text(one["type"]).lower(): [_text(value) for value in one["vals"]] for one in entry["attributes"]}


def _text(value: Any) -> str:
    """Return an octet string as text; what is no UTF-8 must not be an error of ours."""
    return bytes(value).decode("utf-8", "replace")
