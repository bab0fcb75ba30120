"""What stands in for Oracle's listener: ``python oracle_listener.py PORT TLS_PORT CERTIFICATE``.

Oracle Database cannot be had here.  This one takes a connection and its TNS CONNECT packet, and refuses it as a
listener does that does not know the service.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import sys

REFUSAL = b"(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR=12514)(ERROR_STACK=(ERROR=(CODE=12514)(EMFI=4))))"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse a CONNECT (type 1) with a REFUSE (type 4)."""
    try:
        size, _, kind = struct.unpack(">HHB", (await reader.readexactly(8))[:5])
        await reader.readexactly(size - 8)
        if kind == 1:
            body = struct.pack(">BBH", 1, 0, len(REFUSAL)) + REFUSAL
            writer.write(struct.pack(">HHBBH", 8 + len(body), 0, 4, 0, 0) + body)
            await reader.read()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port: str, tls_port: str, certificate: str) -> None:
    """Serve until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    hosts = ["127.0.0.1", "::1"]
    await asyncio.start_server(serve, hosts, int(port))
    await asyncio.start_server(serve, hosts, int(tls_port), ssl=context)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
