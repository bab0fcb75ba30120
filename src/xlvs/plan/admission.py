"""What xlvs can carry out of what the model can express: one place, whichever door a service comes in by.

Pure.  A value that can never be right does not get past the model itself;
here is refused what this xlvs does not know or does not do yet.
"""

from __future__ import annotations

from xlvs import sched
from xlvs.errors import InvalidError, NotUnicastError, ServiceExistsError
from xlvs.model import MAPPED, SCHED_FLAGS, Address, Server, Service, State
from xlvs.model.state import check_family
from xlvs.sched import mh


def admit(service: Service) -> None:
    """Do nothing, or say why *service* cannot be put in force; raises `XlvsError`."""
    sched.get(service.scheduler)
    if unknown := service.flags.difference(SCHED_FLAGS):
        raise InvalidError(f"unknown scheduler flag {min(unknown)!r} (one of {', '.join(SCHED_FLAGS)})")
    if service.table and (service.scheduler != "mh" or service.table not in mh.TABLE_SIZES):
        raise InvalidError(
            f"{service.title} cannot have a table of {service.table} entries: mh can, of "
            f"{', '.join(map(str, mh.TABLE_SIZES))}; other schedulers have what they need"
        )
    is_v4 = service.key.version == 4
    for server in service.servers:
        address = server.address
        # Nearly all are plain IPv4 ones, and there may be a hundred thousand.
        if not (is_v4 and 0 < address[12] < 224 and address.startswith(MAPPED)):
            _admit_server(service, server)


def _admit_server(service: Service, server: Server) -> None:
    if server.address.version != service.key.version:
        check_family(service.key, server)
    if not is_unicast(server.address):
        raise NotUnicastError(f"real server {server} of {service.title}: {server.address} is no unicast address")


def admit_name(state: State, service: Service) -> None:
    """Do nothing, or say which other service of *state* has the name of *service*; raises `ServiceExistsError`."""
    if service.name:
        for other in state.services.values():
            if other.name == service.name and other.key != service.key:
                raise ServiceExistsError(f"the name {service.name} is taken by virtual service {other.key}")


def is_unicast(address: Address) -> bool:
    """Return whether a real server can have this *address* (ip_vs_ctl.c, ip_vs_new_dest; local broadcasts aside)."""
    if address.version == 4:
        return not 224 <= address[12] < 240 and address[12:] not in (b"\0\0\0\0", b"\xff\xff\xff\xff")
    link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
    return any(address) and address[0] != 0xFF and not link_local
