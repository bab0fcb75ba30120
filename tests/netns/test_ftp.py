"""FTP through nat, with real servers and a real client: active and passive, both families."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import Lab
from tests.netns.test_crash import kill
from xlvs.demo import netns, servers, topology
from xlvs.demo.topology import VIP
from xlvs.demo.wait import until

CONFIG = """\
listen_ipv6=YES
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root={root}
secure_chroot_dir={empty}
connect_from_port_20=YES
isolate_network=NO
seccomp_sandbox=NO
xferlog_enable=NO
vsftpd_log_file={log}
ftpd_banner={name}
pasv_min_port=50000
pasv_max_port=50099
"""
SIZES = {"small": 10, "large": 4 << 20}

MODES = {
    "passive": ["--disable-epsv", "--no-ftp-skip-pasv-ip"],
    "extended-passive": [],
    "active": ["-P", "-", "--disable-eprt"],
    "extended-active": ["-P", "-"],
}


@pytest.fixture(scope="module", params=["xdp", "tc"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A director with an FTP service of three servers, which have the same files."""
    directory = tmp_path_factory.mktemp("ftp")
    with Lab("nat", request.param, directory) as lab, contextlib.ExitStack() as stack:
        root = directory / "root"
        root.mkdir(mode=0o755)
        for name, size in SIZES.items():
            (root / name).write_bytes(os.urandom(size))
        for parent in (root, *root.parents):
            if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
                parent.chmod(0o755)
        for number, namespace in enumerate(lab.topology.servers, 1):
            stack.callback(servers.stop, start(directory, root, f"ftp{number}", namespace))
        for family in (4, 6):
            serve(lab, family)
        yield lab


def serve(lab: Lab, family: int) -> None:
    """Make the service at the port of FTP."""
    virtual = endpoint(family, VIP[family], 21)
    lab.director.admin("-A", "-t", virtual, "-s", "rr")
    for address in topology.server_addresses(family):
        lab.director.admin("-a", "-t", virtual, "-r", endpoint(family, address, 21), "-m")


def start(directory: Path, root: Path, name: str, namespace: str) -> subprocess.Popen[str]:
    """Start vsftpd and wait until it listens."""
    empty = directory / f"{name}.empty"
    empty.mkdir()
    config = directory / f"{name}.conf"
    config.write_text(CONFIG.format(root=root, empty=empty, log=directory / f"{name}.log", name=name))
    config.chmod(0o644)
    program = shutil.which("vsftpd", path="/usr/sbin:/usr/bin")
    assert program
    process = netns.popen(namespace, [program, str(config)])

    def listens() -> bool:
        def connect() -> bool:
            try:
                socket.create_connection(("127.0.0.1", 21), 1).close()
            except OSError:
                return False
            return True

        return netns.inside(namespace, connect)

    until(listens, f"{name} does not listen")
    return process


def endpoint(family: int, address: str, port: int) -> str:
    """Write address and port as ipvsadm does."""
    return f"[{address}]:{port}" if family == 6 else f"{address}:{port}"


def fetch(lab: Lab, family: int, mode: str, names: list[str], to: Path) -> str:
    """Fetch files over one control connection, and return what was said on it."""
    to.mkdir()
    urls = [f"ftp://{endpoint(family, VIP[family], 21)}/{name}" for name in names]
    argv = ["curl", "-sSv", "-g", "--max-time", "60", "--remote-name-all", "--output-dir", str(to), *MODES[mode], *urls]
    done = lab.in_client(lambda: subprocess.run(argv, capture_output=True, text=True, check=False))
    assert done.returncode == 0, done.stderr
    return done.stderr


def digest(path: Path) -> str:
    """Return what is the same for equal files only."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])
def test_files_come_whole(lab: Lab, family: int, mode: str, tmp_path: Path) -> None:
    """Several transfers over one control connection, each by a data connection to the same server."""
    said = fetch(lab, family, mode, ["small", "large", "small"], tmp_path / "got")
    for name in SIZES:
        assert digest(tmp_path / "got" / name) == digest(lab.directory / "root" / name)
    flows = lab.director.admin("-L", "-n", "-c")
    if family == 4 and mode == "passive":
        assert f"227 Entering Passive Mode ({VIP[4].replace('.', ',')}," in said
        assert "LISTEN" not in flows
    if "active" in mode and "passive" not in mode:
        assert f"{endpoint(family, VIP[family], 20)}" in flows
    else:
        assert f"{endpoint(family, VIP[family], 500)}" in flows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])
def test_a_persistent_service_of_every_port(lab: Lab, family: int, mode: str, tmp_path: Path) -> None:
    """Control connections are known by their port, here too."""
    port21, every = (endpoint(family, VIP[family], port) for port in (21, 0))
    lab.director.admin("-D", "-t", port21)
    lab.director.admin("-A", "-t", every, "-s", "rr", "-p", "60")
    try:
        for address in topology.server_addresses(family):
            lab.director.admin("-a", "-t", every, "-r", endpoint(family, address, 0), "-m")
        said = fetch(lab, family, mode, ["large", "small"], tmp_path / "got")
        assert digest(tmp_path / "got" / "large") == digest(lab.directory / "root" / "large")
        if family == 4 and mode == "passive":
            assert f"227 Entering Passive Mode ({VIP[4].replace('.', ',')}," in said
    finally:
        lab.director.admin("-D", "-t", every)
        serve(lab, family)


def test_a_daemon_that_dies_is_not_missed(lab: Lab, tmp_path: Path) -> None:
    """Expectations and shifts are in the kernel alone."""
    kill(lab.director)
    for mode in ("passive", "active"):
        fetch(lab, 4, mode, ["large", "small"], tmp_path / mode)
        assert digest(tmp_path / mode / "large") == digest(lab.directory / "root" / "large")
    lab.director.start()


def test_a_listing_goes_to_the_server_of_its_connection(lab: Lab) -> None:
    """As many control connections as servers, each with its own data connection."""
    found = set()
    for _ in range(3):
        argv = ["curl", "-sSv", *MODES["passive"], f"ftp://{VIP[4]}/"]
        done = lab.in_client(lambda a=argv: subprocess.run(a, capture_output=True, text=True, check=True))  # type: ignore[misc]
        assert "large" in done.stdout
        found.add(next(line for line in done.stderr.splitlines() if line.startswith("< 220")))
    assert len(found) == 3
