"""Many edits of the state at once, each as one of `State` alone would be, at the cost of one.

Pure.  An edit that is refused raises and changes nothing; the others stand.
"""

from __future__ import annotations

from msgspec.structs import replace

from xlvs.daemon.api import edits
from xlvs.daemon.api.types import ServerBody, ServerPatch, ServiceBody, ServicePatch
from xlvs.errors import NoSuchServerError, ServerExistsError, ServiceExistsError
from xlvs.model import Address, Server, Service, ServiceKey, State, endpoint
from xlvs.model.state import check_family, check_owner
from xlvs.plan.admission import admit, admit_name

ServerKey = tuple[Address, int]


class Draft:
    """What becomes of *state* by the edits of *owner*, who must own what it deletes unless *force* is set.

    *touched* are the services that may differ from *state*, *remaining* how many the last flush left.
    """

    def __init__(self, state: State, owner: str, *, force: bool) -> None:
        self.touched: dict[ServiceKey, None] = {}
        self.remaining: int | None = None
        self._owner = owner
        self._force = force
        self._asking = None if force else owner
        self._have = state
        self._services = dict(state.services)
        # The servers of services whose servers are edited, by address and port: those in `_services` are of before.
        self._servers: dict[ServiceKey, dict[ServerKey, Server]] = {}

    def state(self) -> State:
        """Return the state with all edits so far."""
        for key, servers in self._servers.items():
            self._services[key] = self._services[key].with_servers(tuple(servers.values()))
        self._servers.clear()
        return replace(self._have, services=dict(self._services))

    def find(self, word: str) -> ServiceKey:
        """Return the service of this id or name; raises `NoSuchServiceError`, `InvalidError`."""
        if ":" in word:
            return self._service(ServiceKey.parse(word)).key
        return State(self._services).find(word).key

    def add_service(self, body: ServiceBody) -> None:
        """Add a service; raises `XlvsError`."""
        key = body.listen.key()
        if key in self._services:
            raise ServiceExistsError(f"virtual service {key} exists already")
        service = body.service(self._owner)
        for server in service.servers:
            check_family(key, server)
        self._put(service, service)

    def edit_service(self, key: ServiceKey, changes: ServicePatch) -> None:
        """Change some fields of a service; raises `XlvsError`."""
        service = changes.apply(self._service(key))
        self._put(service, service.with_servers(()))

    def delete_service(self, key: ServiceKey) -> None:
        """Delete a service with its servers; raises `OwnedError`."""
        check_owner(self._asking, self._service(key).owner, f"virtual service {key}")
        for server in self._pool(key).values():
            check_owner(self._asking, server.owner, f"real server {server} of virtual service {key}")
        del self._services[key], self._servers[key]
        self.touched[key] = None

    def add_server(self, key: ServiceKey, body: ServerBody) -> None:
        """Add a real server to a service; raises `XlvsError`."""
        server = body.server(self._owner)
        if server.key in self._pool(key):
            raise ServerExistsError(f"virtual service {key} has the real server {server} already")
        self._put_server(key, server)

    def edit_server(self, key: ServiceKey, server_key: ServerKey, changes: ServerPatch) -> None:
        """Change some fields of a real server; raises `XlvsError`."""
        self._put_server(key, changes.apply(self._server(key, server_key)))

    def delete_server(self, key: ServiceKey, server_key: ServerKey) -> None:
        """Delete a real server; raises `OwnedError`."""
        have = self._server(key, server_key)
        check_owner(self._asking, have.owner, f"real server {have} of virtual service {key}")
        del self._pool(key)[server_key]
        self.touched[key] = None

    def flush(self) -> None:
        """Delete all that is the owner's, or, forced, everything."""
        before = self.state()
        self._services = dict(edits.flush(before, self._owner, force=self._force).services)
        self.touched.update(dict.fromkeys(before.services))
        self.remaining = len(self._services)

    def _service(self, key: ServiceKey) -> Service:
        return self._services.get(key) or State(self._services).service(key)

    def _pool(self, key: ServiceKey) -> dict[ServerKey, Server]:
        """Return the servers of a service, to be changed in place."""
        pool = self._servers.get(key)
        if pool is None:
            pool = self._servers[key] = {server.key: server for server in self._service(key).servers}
        return pool

    def _server(self, key: ServiceKey, server_key: ServerKey) -> Server:
        have = self._pool(key).get(server_key)
        if have is None:
            raise NoSuchServerError(f"virtual service {key} has no real server {endpoint(*server_key)}")
        return have

    def _put(self, service: Service, judged: Service) -> None:
        """Keep a *service*, if so much of it as is *judged* can be put in force."""
        admit(judged)
        admit_name(State(self._services), service)
        self._services[service.key] = service
        self.touched[service.key] = None

    def _put_server(self, key: ServiceKey, server: Server) -> None:
        check_family(key, server)
        admit(self._service(key).with_servers((server,)))
        self._pool(key)[server.key] = server
        self.touched[key] = None
