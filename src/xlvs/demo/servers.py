"""The three real servers: an nginx each for HTTP, a numbered datagram service each for UDP.

Every answer names the server it came from, so that the client can count.
nginx runs from a configuration and a directory of its own; an nginx that the
machine may already run is neither used nor touched.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from xlvs.demo import netns
from xlvs.demo.wait import until
from xlvs.errors import HostError

HEADER = "X-Real-Server"

NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} backlog=4096;
        add_header {header} {address};
        return 200 "{name} {address}\\n";
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class RealServer:
    """A running real server, by the *name* and *address* it answers with."""

    name: str
    address: str
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """End the server; returns when it is gone."""
        stop(self.process)


def stop(process: subprocess.Popen[str], patience_s: float = 5.0) -> None:
    """End *process*: politely, and after *patience_s* seconds for good."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def find_nginx() -> str:
    """Return the path of nginx.  Raises `HostError` if there is none."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        raise HostError("nginx is missing: apt-get install nginx-light")
    return found


def start_nginx(namespace: str, name: str, address: str, port: int, directory: Path) -> RealServer:
    """Start an nginx in *namespace* that answers on every address at *port*.  Raises `HostError`."""
    home = directory / name
    home.mkdir()
    config = home / "nginx.conf"
    config.write_text(NGINX.format(directory=home, port=port, header=HEADER, name=name, address=address))
    log = home / "error.log"
    process = netns.popen(
        namespace,
        [find_nginx(), "-e", str(log), "-c", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # The file appears after the sockets listen.
    return _ready(RealServer(name, address, process), home / "nginx.pid", log)


def start_datagrams(namespace: str, name: str, address: str, port: int, directory: Path) -> RealServer:
    """Start the datagram service in *namespace* on every address at *port*.  Raises `HostError`."""
    ready, log = directory / f"{name}.ready", directory / f"{name}.log"
    with log.open("w") as errors:
        process = netns.popen(
            namespace,
            [sys.executable, "-m", "xlvs.demo.datagrams", name, address, str(port), str(ready)],
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    return _ready(RealServer(name, address, process), ready, log)


def _ready(server: RealServer, file: Path, log: Path) -> RealServer:
    """Return *server* once *file* is there; a server that does not come up is stopped."""
    try:
        until(lambda: file.exists() or server.process.poll() is not None, f"{server.name} did not start")
        if server.process.poll() is not None:
            said = log.read_text().strip() if log.exists() else ""
            raise HostError(f"{server.name} did not start: {said or f'exit code {server.process.returncode}'}")
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            server.stop()
        raise
    return server
