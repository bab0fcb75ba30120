"""What stands in for MongoDB: ``python mongo_server.py PORT TLS_PORT CERTIFICATE ROLE_FILE``.

There is no MongoDB in Debian or among Python packages.  This one speaks as much of its protocol as pymongo needs to
log in by SCRAM-SHA-256 (RFC 5802, RFC 7677) and to say hello, as the user ann with the password secret; its role is
the text of a file.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
import struct
import sys
from pathlib import Path
from typing import Any

import bson

SALT, ROUNDS = b"0123456789abcdef", 4096
SALTED = hashlib.pbkdf2_hmac("sha256", b"secret", SALT, ROUNDS)


def keyed(key: bytes, text: bytes) -> bytes:
    """Return the HMAC of a text."""
    return hmac.digest(key, text, "sha256")


class Talk:
    """One client."""

    def __init__(self, role: Path) -> None:
        self.role = role
        self.said = b""

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a command."""
        name = next(iter(command))
        if name.lower() in ("hello", "ismaster"):
            return self.hello()
        if name == "saslStart":
            first = command["payload"].removeprefix(b"n,,")
            nonce = first.partition(b"r=")[2] + b"server"
            challenge = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(SALT), ROUNDS)
            self.said = first + b"," + challenge
            return {"ok": 1, "conversationId": 1, "done": False, "payload": challenge}
        if name == "saslContinue":
            return self.prove(command["payload"])
        return {"ok": 1} if name in ("ping", "endSessions") else {"ok": 0, "code": 59, "errmsg": f"no command {name}"}

    def hello(self) -> dict[str, Any]:
        """Return what a server says of itself."""
        role = self.role.read_text()
        return {
            "ok": 1,
            "isWritablePrimary": role == "primary",
            "ismaster": role == "primary",
            "secondary": role == "secondary",
            "setName": "set",
            "hosts": ["127.0.0.1:1"],
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "maxBsonObjectSize": 1 << 24,
            "maxMessageSizeBytes": 48000000,
            "maxWriteBatchSize": 100000,
            "helloOk": True,
            "readOnly": False,
            "logicalSessionTimeoutMinutes": 30,
            "saslSupportedMechs": ["SCRAM-SHA-256"],
        }

    def prove(self, payload: bytes) -> dict[str, Any]:
        """Return whether the client knows the password, and show that we do."""
        bare, _, proof = payload.partition(b",p=")
        text = self.said + b"," + bare
        client_key = keyed(SALTED, b"Client Key")
        signature = keyed(hashlib.sha256(client_key).digest(), text)
        wanted = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        if base64.b64decode(proof) != wanted or not self.said.startswith(b"n=ann,"):
            return {"ok": 0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": "Authentication failed."}
        server = base64.b64encode(keyed(keyed(SALTED, b"Server Key"), text))
        return {"ok": 1, "conversationId": 1, "done": True, "payload": b"v=" + server}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until the client hangs up: OP_QUERY with OP_REPLY, OP_MSG with OP_MSG."""
        try:
            while True:
                size, number, _, kind = struct.unpack("<iiii", await reader.readexactly(16))
                if kind not in (2004, 2013):
                    break
                body = await reader.readexactly(size - 16)
                if kind == 2004:
                    start = body.index(b"\0", 4) + 9
                    head, kind = struct.pack("<iqii", 8, 0, 0, 1), 1
                else:
                    start, head = 5, bytes(5)
                length = int.from_bytes(body[start : start + 4], "little")
                answer = head + bson.encode(self.answer(bson.decode(body[start : start + length])))
                writer.write(struct.pack("<iiii", 16 + len(answer), 0, number, kind) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def main(port: str, tls_port: str, certificate: str, role: str) -> None:
    """Serve until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    hosts = ["127.0.0.1", "::1"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Talk(Path(role)).serve(reader, writer)

    await asyncio.start_server(serve, hosts, int(port))
    await asyncio.start_server(serve, hosts, int(tls_port), ssl=context)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
