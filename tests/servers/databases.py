"""Databases and caches: PostgreSQL and a replica of it, MariaDB, Redis and a replica of it, memcached."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.servers.asking import HASTY_S, PATIENT_S, TIMED_OUT, UP, ask
from tests.servers.server import LOOPBACK, Server, program
from xlvs.demo.wait import until
from xlvs.health import Failed, parse

REFUSED = "ConnectionRefusedError"
ANN = {"user": "ann", "password": "secret"}
WRONG = {"user": "ann", "password": "wrong"}


class DatabaseServer(Server):
    """A server that runs as a user of its own in its directory, by which all its processes are found."""

    def __init__(self, user: str, *ports: str) -> None:
        super().__init__(*ports)
        self.user = user
        self.data = self.folder("data", 0o700)
        shutil.chown(self.directory, user, user)
        shutil.chown(self.data, user, user)

    def as_user(self, *argv: str) -> Sequence[str]:
        """Return the command that runs *argv* as the server's user."""
        return ("setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", *argv)

    def own(self, source: Path, name: str) -> Path:
        """Return a copy of a file that its user alone can read."""
        path = self.directory / name
        shutil.copyfile(source, path)
        path.chmod(0o600)
        shutil.chown(path, self.user, self.user)
        return path

    def pids(self) -> list[int]:
        """Return the processes that work in its directory: those of PostgreSQL have sessions of their own."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(self.directory):
                    found.append(int(pid))
        return found

    def run(self, *argv: str) -> str:
        """Run a program to its end and return what it prints."""
        name, *arguments = argv
        done = subprocess.run([program(name), *arguments], cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout


def lives(
    server: Server, kind: str, options: dict[str, Any], family: int, port: str = "main", dead: str = REFUSED
) -> None:
    """See that a server is up, silent while it is stopped, up again, refuses when it is dead, and is back."""
    number = server.ports[port]
    assert ask(kind, number, options, family) == UP
    server.pause()
    assert ask(kind, number, options, family, HASTY_S) == TIMED_OUT
    server.resume()
    assert ask(kind, number, options, family) == UP
    server.kill()
    assert dead in ask(kind, number, options, family)
    server.start()
    assert ask(kind, number, options, family) == UP


def becomes(kind: str, port: int, options: dict[str, Any], verdict: str = UP) -> None:
    """Ask until the answer is *verdict*."""
    answers = [""]

    def is_so() -> bool:
        answers[0] = ask(kind, port, options)
        return answers[0] == verdict

    until(is_so, f"the check {kind} does not become {verdict!r}", PATIENT_S)


def mistake(kind: str, **options: Any) -> str:
    """Return what is wrong with a check, as an operator is told."""
    try:
        parse({"type": kind, **options}).prepare()
    except Exception as err:  # whatever it is, the test compares its text
        assert not isinstance(err, (Failed, OSError))
        return str(err)
    raise AssertionError("nothing is wrong with it")


POSTGRES = """\
listen_addresses = '127.0.0.1,::1'
port = {port}
unix_socket_directories = ''
fsync = off
shared_buffers = 4MB
max_connections = 20
dynamic_shared_memory_type = mmap
autovacuum = off
{tls}
"""
HBA = """\
hostssl all bob all scram-sha-256
host all bob all reject
host all ann all scram-sha-256
host all,replication postgres all trust
"""


def postgres_bin(name: str) -> str:
    """Return the path of one of PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    assert found, "PostgreSQL is not installed: tools/machine.py should have seen to it"
    return str(found[-1])


class Postgres(DatabaseServer):
    """PostgreSQL with the users ann and bob, the latter within TLS only."""

    def __init__(self, certificate: Path, primary: Postgres | None = None) -> None:
        super().__init__("postgres", "main")
        pem = self.own(certificate, "server.pem")
        self.settings = POSTGRES.format(
            port=self.ports["main"], tls=f"ssl = on\nssl_cert_file = '{pem}'\nssl_key_file = '{pem}'"
        )
        if primary is None:
            make = [postgres_bin("initdb"), "-A", "trust", "-N", "-U", "postgres", "-D", str(self.data)]
        else:
            source = f"host=127.0.0.1 port={primary.ports['main']} user=postgres application_name=replica"
            make = [postgres_bin("pg_basebackup"), "-R", "-c", "fast", "-D", str(self.data), "-d", source]
        self.before = [self.as_user(*make)]
        self.primary = primary
        self.is_made = False
        self.argv = self.as_user(postgres_bin("postgres"), "-D", str(self.data))
        self.ready = self.answers

    def __enter__(self) -> Postgres:
        super().__enter__()
        return self

    def start(self) -> None:
        """Start it; the first time with its settings and users."""
        if not self.is_made:
            self.is_made = True
            (self.data / "hba").write_text(HBA)
            (self.data / "postgresql.conf").write_text(self.settings + f"hba_file = '{self.data}/hba'\n")
            for name in ("hba", "postgresql.conf"):
                shutil.chown(self.data / name, self.user, self.user)
            super().start()
            if self.primary is None:
                self.sql("create role ann login password 'secret'; create role bob login password 'secret'")
        else:
            super().start()

    def kill(self) -> None:
        """End it, with the shared memory by which it would know an older one that still runs."""
        super().kill()
        lock = self.data / "postmaster.pid"
        lines = lock.read_text().splitlines() if lock.exists() else []
        # The seventh line is the key and the number of the segment (PostgreSQL, src/include/utils/pidfile.h).
        if len(lines) > 6 and lines[6].split():
            subprocess.run([program("ipcrm"), "-m", lines[6].split()[1]], capture_output=True, check=False)

    def answers(self) -> bool:
        """Return whether it takes questions yet."""
        return subprocess.run(self._psql("select 1"), capture_output=True, check=False, cwd="/").returncode == 0

    def sql(self, text: str) -> str:
        """Return what it answers to the superuser."""
        return self.run(*self._psql(text)).strip()

    def _psql(self, text: str) -> list[str]:
        where = f"host=127.0.0.1 port={self.ports['main']} user=postgres dbname=postgres sslmode=disable"
        return [postgres_bin("psql"), "-X", "-A", "-t", "-q", "-d", where, "-c", text]


class MariaDb(DatabaseServer):
    """MariaDB with the users ann and bob, the latter within TLS only."""

    def __init__(self, certificate: Path) -> None:
        super().__init__("mysql", "main")
        pem = self.own(certificate, "server.pem")
        self.settings = self.write(
            "my.cnf",
            "[mariadbd]\n"
            f"datadir={self.data}\nsocket={self.directory}/socket\nbind-address=127.0.0.1,::1\n"
            f"port={self.ports['main']}\nssl_cert={pem}\nssl_key={pem}\nskip-log-bin\nskip-name-resolve\n"
            "innodb_buffer_pool_size=8M\ninnodb_log_file_size=8M\ninnodb_flush_log_at_trx_commit=0\n"
            "innodb_use_native_aio=OFF\nperformance_schema=OFF\nkey_buffer_size=1M\nmax_connections=20\n",
        )
        make = ("mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--skip-test-db")
        self.before = [self.as_user(*make, "--auth-root-authentication-method=normal")]
        self.argv = self.as_user(program("mariadbd"), f"--defaults-file={self.settings}")

    def __enter__(self) -> MariaDb:
        super().__enter__()
        try:
            users = "create user ann identified by 'secret'; create user bob identified by 'secret' require ssl"
            self.sql(f"{users}; create database shop; grant all on shop.* to ann")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def sql(self, text: str) -> str:
        """Return what it answers to root."""
        return self.run("mariadb", "--no-defaults", f"--socket={self.directory}/socket", "-uroot", "-BNe", text)


class Redis(DatabaseServer):
    """Redis whose default user and ann have a password, or a replica of another."""

    def __init__(self, certificate: Path, master: Redis | None = None) -> None:
        super().__init__("redis", "main", "tls")
        pem = self.own(certificate, "server.pem")
        following = (
            f"replicaof 127.0.0.1 {master.ports['main']}\nmasterauth open\nreplica-serve-stale-data no\n"
            if master
            else ""
        )
        self.settings = self.write(
            "redis.conf",
            f"bind 127.0.0.1 ::1\nport {self.ports['main']}\ntls-port {self.ports['tls']}\nsave ''\n"
            f"dir {self.data}\ntls-cert-file {pem}\ntls-key-file {pem}\ntls-auth-clients no\n"
            f"tls-ca-cert-file {pem}\nrequirepass open\nuser ann on >secret +ping +role\n"
            f"repl-diskless-sync-delay 0\n{following}",
        )
        self.argv = self.as_user(program("redis-server"), str(self.settings))

    def command(self, *words: str) -> str:
        """Return what it answers to a command."""
        where = ("-h", "127.0.0.1", "-p", str(self.ports["main"]), "-a", "open", "--no-auth-warning")
        return self.run("redis-cli", *where, *words)


def memcached() -> Server:
    """Return a cache."""
    server = Server("main")
    port = str(server.ports["main"])
    addresses = ",".join(LOOPBACK.values())
    server.argv = ["memcached", "-u", "nobody", "-l", addresses, "-p", port, "-m", "8", "-t", "1"]
    return server
