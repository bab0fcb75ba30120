"""radius: an Access-Request is accepted (RFC 2865 §4).

As ``service = radius`` of ldirectord.  The request is signed with a Message-Authenticator (RFC 2869 §5.14), which
servers may insist on; the answer must be signed with our secret.  Nothing is sent twice.
"""

from __future__ import annotations

import io
from typing import Annotated, Any

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Failed, Target, Unable
from xlvs.health.parts import datagram
from xlvs.health.parts.login import Login, readable, secret

_ACCEPT, _REJECT = 2, 3
_NAMES = {_ACCEPT: "Access-Accept", _REJECT: "Access-Reject", 11: "Access-Challenge"}
_DICTIONARY = """\
ATTRIBUTE User-Name 1 string
ATTRIBUTE User-Password 2 octets
ATTRIBUTE Reply-Message 18 string
ATTRIBUTE NAS-Identifier 32 string
"""
"""RFC 2865 §5: what we send, and what we may quote."""


class Radius(Login, frozen=True, kw_only=True, tag="radius"):
    """An Access-Request is accepted."""

    shared_secret: Annotated[str, Meta(description="What the server and we share.")] = ""
    shared_secret_file: Annotated[str, Meta(description="File whose first line it is, read at each probe.")] = ""
    nas_identifier: Annotated[str, Meta(min_length=1, max_length=253, description="Who asks.")] = "xlvs"
    reject_ok: Annotated[bool, Meta(description="A server that refuses the user is good too: it is alive.")] = False
    signed: Annotated[bool, Meta(description="The answer must have a Message-Authenticator.")] = False

    def validate(self) -> None:
        """See that there is a user and one secret; raises `InvalidError`."""
        super().validate()
        if not self.user:
            raise InvalidError("a check radius needs a user; with reject_ok it need not be a real one")
        if bool(self.shared_secret) == bool(self.shared_secret_file):
            raise InvalidError("a check radius needs a shared_secret or a shared_secret_file, and not both")

    def prepare(self) -> None:
        """See that the library is there, and secrets can be read; raises `Unable`."""
        super().prepare()
        readable(self.shared_secret_file)
        try:
            import pyrad.packet  # noqa: F401
        except ImportError as err:
            raise Unable("the check radius needs the package pyrad; install xlvs[radius]") from err

    async def probe(self, target: Target) -> Answer | None:
        """Ask once."""
        request = self.request()
        data = await datagram.ask(target, request.RequestPacket(), lambda found: found[1:2] == bytes([request.id]))
        self.judge(request, data)
        return None

    def request(self) -> Any:
        """Return a request; raises `OSError` if a secret cannot be read."""
        from pyrad.dictionary import Dictionary
        from pyrad.packet import AuthPacket

        shared = secret(self.shared_secret, self.shared_secret_file).encode()
        request = AuthPacket(secret=shared, dict=Dictionary(io.StringIO(_DICTIONARY)))
        request.add_message_authenticator()
        request["User-Name"] = self.user
        request["User-Password"] = request.PwCrypt(self.secret())
        request["NAS-Identifier"] = self.nas_identifier
        return request

    def judge(self, request: Any, data: bytes) -> None:
        """See that the answer is right; raises `Failed`."""
        from pyrad.packet import PacketError

        try:
            answer = request.CreateReply(packet=data)
        except PacketError as err:
            raise Failed("its answer is no packet of RADIUS") from err
        if not request.VerifyReply(answer, data, enforce_ma=self.signed):
            raise Failed("its answer is not signed as it should be; is the secret the same?")
        good = (_ACCEPT, _REJECT) if self.reject_ok else (_ACCEPT,)
        if answer.code not in good:
            said = "".join(str(one) for one in answer.get("Reply-Message", []))
            raise Failed(f"its answer is {_NAMES.get(answer.code, answer.code)}" + (f": {said}" if said else ""))


CHECK = Radius
