"""From the entries of a file to the model's values: defaults filled in, and what only makes no sense together found.

Entries have the right keys and types already.  Every fault is noted and reading
goes on, so that an operator sees all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from xlvs import sched
from xlvs.config.document import (
    Defaults,
    HealthEntry,
    Listen,
    MatchEntry,
    Options,
    Persistence,
    ServerEntry,
    ServiceEntry,
    TimeoutsEntry,
    Tunnel,
)
from xlvs.config.health import HealthResolver
from xlvs.config.problems import Finding, Path
from xlvs.errors import InvalidError
from xlvs.model import sysctls
from xlvs.model.address import MAPPED, Address, endpoint
from xlvs.model.match import Match
from xlvs.model.server import TUNNELS, Server
from xlvs.model.service import Service, ServiceKey
from xlvs.model.state import MAX_TIMEOUT
from xlvs.plan.admission import is_unicast

_NO_TUNNEL = Tunnel()

Entry = tuple[int, ServiceEntry, Iterable[tuple[int, ServerEntry]]]
"""A service by its place in the list, with its servers by theirs."""


class Resolver:
    """Turns entries into services of one *owner*; `findings` grows with every fault."""

    def __init__(self, defaults: Defaults, owner: str) -> None:
        self.findings: list[Finding] = []
        self._defaults = defaults
        self._owner = owner
        self._addresses: dict[str, Address] = {}
        self._keys: dict[ServiceKey, int] = {}
        self._names: dict[str, int] = {}
        # Which service repeats which: told once all places are known.
        self.repeats: list[tuple[Path, Path, str]] = []
        self._health = HealthResolver(self._note)

    def services(self, entries: Iterable[Entry]) -> tuple[Service, ...]:
        """Return the services of the *entries*, those without faults at least."""
        found = (self._service(("services", i), entry, servers) for i, entry, servers in entries)
        return tuple(service for service in found if service is not None)

    def timeouts(self, given: TimeoutsEntry | UnsetType) -> dict[str, int]:
        """Return the timeouts that are given, in seconds."""
        found = {}
        for name, text in ({} if isinstance(given, UnsetType) else asdict(given)).items():
            if text is UNSET:
                continue
            found[name] = text if isinstance(text, int) else _seconds(text)
            if found[name] > MAX_TIMEOUT:
                self._note(("timeouts", name), f"{found[name]} seconds are more than {MAX_TIMEOUT}, 31 days")
        return found

    def sysctls(self, given: dict[str, int | str]) -> dict[str, str]:
        """Return the switches that are given, as they read back."""
        found = {}
        for name, text in given.items():
            try:
                found[sysctls.lookup(name).name] = sysctls.read(name, str(text))
            except InvalidError as err:
                self._note(("sysctls", name), str(err))
        return found

    def _note(self, path: Path, message: str) -> None:
        self.findings.append(Finding(path, message))

    def _service(self, path: Path, entry: ServiceEntry, servers: Iterable[tuple[int, ServerEntry]]) -> Service | None:
        key = self._listen((*path, "listen"), entry.listen)
        scheduler = self._defaults.scheduler if isinstance(entry.scheduler, UnsetType) else entry.scheduler
        flags: frozenset[str] = frozenset()
        if not isinstance(entry.options, UnsetType):
            flags = self._flags((*path, "options"), entry.options, scheduler)
        table = 0 if isinstance(entry.table, UnsetType) else entry.table
        if table and scheduler != "mh":
            self._note((*path, "table"), f"the size of a table is for the scheduler mh; this service has {scheduler}")
        seconds, netmask = self._persistence((*path, "persistence"), key, entry.persistence)
        persistence = entry.persistence
        engine = "" if isinstance(persistence, UnsetType) or persistence.engine is UNSET else "sip"
        device = "" if isinstance(entry.address, UnsetType) else entry.address.device
        name = "" if isinstance(entry.name, UnsetType) else entry.name
        self._once(path, key, name)
        if device and not isinstance(entry.listen.mark, UnsetType):
            self._note((*path, "address"), "a service by firewall mark has no virtual address to add; leave this out")
            device = ""
        own = self._servers(lambda i: (*path, "servers", i), key, servers)
        match = self._match(path, entry.match)
        if key is None:
            return None
        try:
            return Service(
                key,
                scheduler,
                flags,
                own,
                name,
                device,
                self._owner,
                seconds,
                netmask,
                ops=entry.ops,
                table=table,
                match=match,
                engine=engine,
                health=self._health.of_service((*path, "health"), entry.health),
                sorry_server=self._sorry(path, key, entry.health),
            )
        except InvalidError as err:
            self._note(path, str(err))
            return None

    def _listen(self, path: Path, listen: Listen) -> ServiceKey | None:
        others = [word for word in ("address", "port", "protocol") if getattr(listen, word) is not UNSET]
        if not isinstance(listen.mark, UnsetType):
            if others:
                self._note(path, f"mark and {others[0]} exclude each other: a service is one or the other")
                return None
            return ServiceKey.of_mark(listen.mark, 4 if isinstance(listen.family, UnsetType) else listen.family)
        if not isinstance(listen.family, UnsetType):
            self._note((*path, "family"), "family is for a service by mark; an address has its own, so leave this out")
        if isinstance(listen.address, UnsetType) or isinstance(listen.port, UnsetType):
            missing = " and ".join(word for word in ("address", "port") if word not in others)
            self._note(path, f"listen lacks its {missing}; write {{address: 192.0.2.1, port: 80, protocol: tcp}}")
            if not isinstance(listen.address, UnsetType):
                self._address((*path, "address"), listen.address)
            return None
        address = self._address((*path, "address"), listen.address)
        protocol = "tcp" if isinstance(listen.protocol, UnsetType) else listen.protocol
        return ServiceKey(protocol, address, listen.port) if address is not None else None

    def _match(self, path: Path, entries: Iterable[MatchEntry]) -> tuple[Match, ...]:
        found = []
        for i, entry in enumerate(entries):
            protocol = "" if isinstance(entry.protocol, UnsetType) else entry.protocol
            ports = "" if isinstance(entry.ports, UnsetType) else str(entry.ports)
            try:
                found.append(Match.parse(entry.address, protocol, ports))
            except InvalidError as err:
                self._note((*path, "match", i), str(err))
        return tuple(found)

    def _persistence(self, path: Path, key: ServiceKey | None, given: Persistence | UnsetType) -> tuple[int, str]:
        """Return seconds and netmask as `Service` has them."""
        if isinstance(given, UnsetType):
            return 0, ""
        seconds = given.timeout if isinstance(given.timeout, int) else _seconds(given.timeout)
        if key is None or isinstance(given.netmask, UnsetType):
            return seconds, ""
        if key.version == 6:
            return seconds, str(given.netmask)
        if given.netmask > 32:
            self._note((*path, "netmask"), f"an IPv4 address has 32 bits, not {given.netmask}")
            return seconds, ""
        return seconds, str(Address(MAPPED + (0xFFFFFFFF << 32 - given.netmask & 0xFFFFFFFF).to_bytes(4)))

    def _address(self, path: Path, text: str) -> Address | None:
        address = self._addresses.get(text)
        if address is None:
            try:
                address = self._addresses[text] = Address.parse(text)
            except InvalidError as err:
                self._note(path, f"{err}{_address_hint(text)}")
        return address

    def _once(self, path: Path, key: ServiceKey | None, name: str) -> None:
        """Note that a key or a name is there already."""
        index = int(path[1])
        if key is not None and (first := self._keys.setdefault(key, index)) != index:
            self.repeats.append(((*path, "listen"), ("services", first), f"a service listens on {key} already"))
        if name and (first := self._names.setdefault(name, index)) != index:
            self.repeats.append(((*path, "name"), ("services", first), f"a service has the name {name!r} already"))

    def _flags(self, path: Path, options: Options, scheduler: str) -> frozenset[str]:
        flags = set()
        for field, given in asdict(options).items():
            word = field.replace("_", "-")
            owner = word.partition("-")[0]
            if not given:
                continue
            if owner not in ("flag", scheduler):
                self._note((*path, word), f"{word} is an option of the scheduler {owner}; this service has {scheduler}")
            else:
                flags.add(sched.flag(scheduler, word))
        return frozenset(flags)

    def _servers(
        self, place: Callable[[int], Path], key: ServiceKey | None, entries: Iterable[tuple[int, ServerEntry]]
    ) -> tuple[Server, ...]:
        defaults, owner = self._defaults, self._owner
        servers = []
        seen: dict[tuple[Address, int], int] = {}
        for i, entry in entries:
            address = self._addresses.get(entry.address) or self._address((*place(i), "address"), entry.address)
            if entry.lower > entry.upper:
                self._note((*place(i), "lower"), f"lower ({entry.lower}) is above upper ({entry.upper})")
                continue
            if address is None or key is None:
                continue
            if not is_unicast(address):
                self._note((*place(i), "address"), f"{address} is no unicast address; no server can have it")
            port = key.port if isinstance(entry.port, UnsetType) else entry.port
            forward = defaults.forward if isinstance(entry.forward, UnsetType) else entry.forward
            weight = defaults.weight if isinstance(entry.weight, UnsetType) else entry.weight
            if forward not in TUNNELS and address.version != key.address.version:
                self._family(place(i), key, address, forward)
            if (first := seen.setdefault((address, port), i)) != i:
                places = place(i), place(first)
                self.repeats.append((*places, f"the service has the server {endpoint(address, port)} already"))
            tunnel = _NO_TUNNEL if isinstance(entry.tunnel, UnsetType) else entry.tunnel
            try:
                server = Server(
                    address, port, forward, weight, entry.upper, entry.lower, owner, tunnel.port, tunnel.checksum,
                    self._health.of_server((*place(i), "health"), entry.health),
                )  # fmt: skip
            except InvalidError as err:
                self._note(place(i), str(err))
                continue
            servers.append(server)
        return tuple(servers)

    def _sorry(self, path: Path, key: ServiceKey, health: HealthEntry | UnsetType) -> Server | None:
        if isinstance(health, UnsetType) or isinstance(health.sorry_server, UnsetType):
            return None
        found = self._servers(lambda i: (*path, "health", "sorry_server"), key, [(0, health.sorry_server)])
        return found[0] if found else None

    def _family(self, path: Path, key: ServiceKey, address: Address, forward: str) -> None:
        self._note(
            path,
            f"{forward} cannot carry IPv{key.address.version} packets to the IPv{address.version} server {address}; "
            f"only forward: {', '.join(TUNNELS)} can",
        )


def _seconds(text: str) -> int:
    """Return the seconds of ``300``, ``300s``, ``5m`` or ``1h``."""
    number = text.rstrip("smh")
    return int(number) * {"m": 60, "h": 3600}.get(text[len(number) :], 1)


def _address_hint(text: str) -> str:
    """Return what may have been meant by *text*, which is no address."""
    host, slash, _ = text.partition("/")
    if slash and _is_address(host):
        return f" (leave out the prefix length: {host})"
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and _is_address(host.strip("[]")):
        return f" (the port goes into a key of its own: address: {host.strip('[]')}, port: {port})"
    if any(letter.isalpha() for letter in text) and ":" not in text:
        return "; names are not looked up"
    return ""


def _is_address(text: str) -> bool:
    try:
        return bool(Address.parse(text))
    except InvalidError:
        return False
