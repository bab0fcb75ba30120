"""A server of gRPC with its health service: ``python grpc_server.py PORT TLS_PORT CERTIFICATE FILE``.

FILE has a line for each service, its name and its state; a line without a name is the server as a whole.  It is read
again with SIGHUP.
"""

from __future__ import annotations

import signal
import sys
from concurrent import futures
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def main(port: str, tls_port: str, certificate: str, states: str) -> None:
    """Serve until the process is ended."""
    servicer = health.HealthServicer()

    def read(_signal: int = 0, _frame: object = None) -> None:
        for line in Path(states).read_text().splitlines():
            name, _, state = line.rpartition(" ")
            servicer.set(name, getattr(health_pb2.HealthCheckResponse, state))

    server = grpc.server(futures.ThreadPoolExecutor(2))
    if Path(states).exists():
        read()
        signal.signal(signal.SIGHUP, read)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    pem = Path(certificate).read_bytes()
    credentials = grpc.ssl_server_credentials([(pem, pem)])
    for host in ("127.0.0.1", "[::1]"):
        server.add_insecure_port(f"{host}:{port}")
        server.add_secure_port(f"{host}:{tls_port}", credentials)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
