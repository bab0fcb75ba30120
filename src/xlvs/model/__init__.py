"""The nouns of load balancing as frozen values: services, real servers, the desired state.

Pure: no I/O, no clock, and nothing imported from xlvs but its errors.  Every
door parses into these values and every view is printed from them.
"""

from xlvs.model.address import MAPPED, Address, endpoint
from xlvs.model.health import Health, Notify, ServerHealth
from xlvs.model.match import Match
from xlvs.model.server import CLI, FORWARDS, TUNNELS, Server
from xlvs.model.service import MARK, PROTOCOLS, SCHED_FLAGS, Service, ServiceKey
from xlvs.model.state import State

__all__ = [
    "CLI", "FORWARDS", "MAPPED", "MARK", "PROTOCOLS", "SCHED_FLAGS", "TUNNELS",
    "Address", "Health", "Match", "Notify", "Server", "ServerHealth", "Service", "ServiceKey", "State", "endpoint",
]  # fmt: skip
