"""How an ipvsadm command ends badly: the two ways out, and the kernel's sentences.

Sentences are those of ipvsadm 1.31 and its libipvs, byte for byte, so that
scripts which read them see no difference.
"""

from __future__ import annotations

from xlvs.errors import XlvsError

SYNTAX = 2
"""Exit status of ipvsadm's own checks."""

REFUSED = 255
"""Exit status of what the option parser or the kernel refuses (main() returns -1)."""


class Stop(Exception):
    """ipvsadm would call exit() here: *text* is printed and nothing more is done, not even the rest of ``-R``."""

    def __init__(self, status: int, text: str, *, on_stdout: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.on_stdout = on_stdout


class Refused(Exception):
    """One command failed, status `REFUSED`; ``-R`` goes on with its next line."""


def fail(message: str) -> Stop:
    """Return the exit of one of ipvsadm's own checks."""
    return Stop(SYNTAX, message + "\n")


def try_help() -> Stop:
    """Return the exit of a command line that does not begin with a command."""
    return Stop(REFUSED, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n")


NO_SUCH_SERVICE = "No such service"
SERVICE_EXISTS = "Service already exists"
SERVICE_NOT_DEFINED = "Service not defined"
SERVER_EXISTS = "Destination already exists"
NO_SUCH_SERVER = "No such destination"
SCHEDULER_NOT_FOUND = "Scheduler or persistence engine not found"
OUT_OF_RANGE = "Numerical result out of range"
NOT_UNICAST = "Invalid operation.  Possibly wrong module version, address not unicast, ..."
NO_SUCH_DEVICE = "No such device"
NO_DAEMON = "No daemon is running"
NOT_ROOT = (
    "Can't initialize ipvs: Permission denied (you must be root)\n"
    "Are you sure that IP Virtual Server is built in the kernel or as module?\n"
)

_SERVICE_COMMANDS = {
    "service-exists": SERVICE_EXISTS,
    "no-such-service": NO_SUCH_SERVICE,
    "unknown-scheduler": SCHEDULER_NOT_FOUND,
    "unknown-engine": SCHEDULER_NOT_FOUND,
}
_SERVER_COMMANDS = {
    "no-such-service": SERVICE_NOT_DEFINED,
    "server-exists": SERVER_EXISTS,
    "no-such-server": NO_SUCH_SERVER,
    "thresholds": OUT_OF_RANGE,
    "not-unicast": NOT_UNICAST,
}
_SENTENCES = {
    "add-service": _SERVICE_COMMANDS,
    "edit-service": _SERVICE_COMMANDS,
    "delete-service": _SERVICE_COMMANDS,
    "zero": _SERVICE_COMMANDS,
    "list": _SERVICE_COMMANDS,
    "add-server": _SERVER_COMMANDS,
    "edit-server": _SERVER_COMMANDS,
    "delete-server": _SERVER_COMMANDS,
}


def sentence(command: str, error: XlvsError) -> str:
    """Return what ipvsadm prints when the kernel answers *command* with this *error* (libipvs, ipvs_strerror).

    An error that IPVS does not know keeps its own sentence.
    """
    return _SENTENCES.get(command, {}).get(error.code, str(error))
