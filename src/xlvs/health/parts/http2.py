"""One request of HTTP/2 (RFC 9113), by h2."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from xlvs.health.check import Failed
from xlvs.health.parts.net import Lines
from xlvs.health.parts.request import MOST, Reply

_HOP_BY_HOP = {"host", "connection"}


async def ask(stream: Lines, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
    """Send the request and return the answer; raises `Failed`."""
    tls = stream.writer.get_extra_info("ssl_object") is not None
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    pseudo = [
        (":method", method),
        (":scheme", "https" if tls else "http"),
        (":path", path),
        (":authority", headers[0][1]),
    ]
    number = connection.get_next_available_stream_id()
    rest = [(name.lower(), value) for name, value in headers if name.lower() not in _HOP_BY_HOP]
    connection.send_headers(number, [*pseudo, *rest], end_stream=not body)
    if body:
        connection.send_data(number, body[: connection.local_flow_control_window(number)], end_stream=True)
    reply = Reply(0)
    try:
        while True:
            stream.writer.write(connection.data_to_send())
            data = await stream.reader.read(1 << 16)
            if not data:
                raise Failed("the server hung up without an answer")
            for event in connection.receive_data(data):
                if _take(connection, event, reply):
                    return reply
    except h2.exceptions.ProtocolError as err:
        raise Failed(f"it does not speak HTTP/2: {err or type(err).__name__}") from err


def _take(connection: h2.connection.H2Connection, event: h2.events.Event, reply: Reply) -> bool:
    """Note what an event says of the answer; true: that is all."""
    if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers or ()]
        reply.status = int(dict(fields).get(":status", reply.status))
        reply.headers += [(name, value) for name, value in fields if not name.startswith(":")]
    elif isinstance(event, h2.events.DataReceived):
        reply.body = (reply.body + (event.data or b""))[:MOST]
        connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 1)
    elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
        raise Failed(f"the server ended the request (error {getattr(event, 'error_code', '?')})")
    return isinstance(event, h2.events.StreamEnded) or len(reply.body) >= MOST
