"""dns: a question has the right answer (RFC 1035 §4.1).

As DNS_CHECK of keepalived, which asks by UDP, and ``service = dns`` of ldirectord.  An answer cut short in UDP
(RFC 1035 §4.1.1, TC) is good unless its records are looked at; ask by TCP then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Check, Failed, Target, Unable
from xlvs.health.parts import datagram, net

if TYPE_CHECKING:
    import dns.message


class Dns(Check, frozen=True, kw_only=True, tag="dns"):
    """A question has the right answer."""

    name: Annotated[str, Meta(description="What is asked for; a dot is the root.")] = "."
    record: Annotated[str, Meta(pattern="^[A-Z0-9]+$", description="Type of the records: A, AAAA, MX and so on.")] = (
        "SOA"
    )
    transport: Annotated[Literal["udp", "tcp"], Meta(description="How it is asked.")] = "udp"
    rcode: Annotated[str, Meta(pattern="^[A-Z]+$", description="The response code; NOERROR, NXDOMAIN and so on.")] = (
        "NOERROR"
    )
    records: Annotated[int, Meta(ge=0, description="The answer has at least so many records of the type.")] = 0
    answer: Annotated[str, Meta(description="One record is this one, as a zone file has it; empty: any.")] = ""

    def validate(self) -> None:
        """See that an answer can be had; raises `InvalidError`."""
        if self.answer and self.rcode != "NOERROR":
            raise InvalidError(f"with the response code {self.rcode} there is no answer {self.answer!r}")

    def prepare(self) -> None:
        """See that the library is there and understands the question; raises `Unable`."""
        super().prepare()
        try:
            import dns.exception
        except ImportError as err:
            raise Unable("the check dns needs the package dnspython; install xlvs[dns]") from err
        try:
            self._question()
            self._wanted()
        except (dns.exception.DNSException, ValueError) as err:
            raise Unable(f"the check dns cannot ask for {self.record} of {self.name!r}: {err}") from err

    async def probe(self, target: Target) -> Answer | None:
        """Ask once."""
        import dns.exception
        import dns.message

        question = self._question()
        wire = question.to_wire()
        if self.transport == "udp":
            # The id is the first two bytes; a late answer to another question is none to this one.
            data = await datagram.ask(target, wire, lambda found: found[:2] == wire[:2])
        else:
            data = await _by_tcp(target, wire)
        try:
            reply = dns.message.from_wire(data)
        except (dns.exception.DNSException, ValueError) as err:
            raise Failed(f"its answer is no message of DNS: {err}") from err
        if not question.is_response(reply):
            raise Failed("its answer is one to another question")
        self.judge(reply)
        return None

    def judge(self, reply: dns.message.Message) -> None:
        """See that the answer is right; raises `Failed`."""
        import dns.flags
        import dns.rcode
        import dns.rdatatype

        if (found := dns.rcode.to_text(reply.rcode())) != self.rcode:
            raise Failed(f"response code {found}, not {self.rcode}")
        kind = dns.rdatatype.from_text(self.record)
        records = [one for several in reply.answer if several.rdtype == kind for one in several]
        wanted = self._wanted()
        cut = "; the answer was cut short" if reply.flags & dns.flags.TC else ""
        if len(records) < self.records:
            raise Failed(f"{len(records)} records {self.record}, not at least {self.records}{cut}")
        if wanted is not None and wanted not in records:
            texts = ", ".join(one.to_text() for one in records) or f"no {self.record}"
            raise Failed(f"its answer is {texts}, not {self.answer}{cut}")

    def _question(self) -> dns.message.QueryMessage:
        import dns.message

        return dns.message.make_query(self.name, self.record, use_edns=0, payload=4096)

    def _wanted(self) -> dns.rdata.Rdata | None:
        import dns.name
        import dns.rdata

        if not self.answer:
            return None
        return dns.rdata.from_text("IN", self.record, self.answer, origin=dns.name.root, relativize=False)


CHECK = Dns


async def _by_tcp(target: Target, wire: bytes) -> bytes:
    """Return the answer over TCP, where two bytes of length stand in front (RFC 1035 §4.2.2)."""
    async with net.stream(target) as stream:
        stream.writer.write(len(wire).to_bytes(2, "big") + wire)
        size = int.from_bytes(await stream.exactly(2), "big")
        return await stream.exactly(size)
