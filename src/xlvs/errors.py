"""The few exceptions of xlvs.

Each carries a stable machine-readable *code*, so that every door (``xlvsadm``,
``xlvs``, the API) can say the same thing in its own words.
"""

from __future__ import annotations


class XlvsError(Exception):
    """Something xlvs refuses or cannot do; the message is one sentence for an operator."""

    code = "error"
    exit_code = 1

    edit: int | None = None
    """Which edit of a request it is about, from 0."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class ServiceExistsError(XlvsError):
    """The virtual service is defined already."""

    code = "service-exists"


class NoSuchServiceError(XlvsError):
    """No virtual service has this key."""

    code = "no-such-service"


class ServerExistsError(XlvsError):
    """The virtual service has this real server already."""

    code = "server-exists"


class NoSuchServerError(XlvsError):
    """The virtual service has no such real server."""

    code = "no-such-server"


class OwnedError(XlvsError):
    """The thing belongs to another owner, who alone may delete it."""

    code = "owned"


class ConflictError(XlvsError):
    """The state has changed since the client looked."""

    code = "conflict"


class UnknownSchedulerError(XlvsError):
    """No scheduler goes by this name."""

    code = "unknown-scheduler"


class UnsupportedError(XlvsError):
    """A thing IPVS can do and xlvs cannot do yet."""

    code = "unsupported"


class InvalidError(XlvsError):
    """A value that can never be right, or a combination that makes no sense."""

    code = "invalid"


class UnknownEngineError(InvalidError):
    """No persistence engine goes by this name."""

    code = "unknown-engine"


class ThresholdsError(InvalidError):
    """The thresholds of a real server contradict each other."""

    code = "thresholds"


class NotUnicastError(InvalidError):
    """No one real server can have this address."""

    code = "not-unicast"


class HostError(XlvsError):
    """This machine lacks something xlvs needs: root, BPF, a kernel feature, a free name."""

    code = "environment"


class UnreachableError(XlvsError):
    """The daemon does not answer on its socket."""

    code = "unreachable"


BY_CODE: dict[str, type[XlvsError]] = {
    cls.code: cls
    for cls in (
        XlvsError,
        ServiceExistsError,
        NoSuchServiceError,
        ServerExistsError,
        NoSuchServerError,
        OwnedError,
        ConflictError,
        UnknownSchedulerError,
        UnsupportedError,
        InvalidError,
        UnknownEngineError,
        ThresholdsError,
        NotUnicastError,
        HostError,
        UnreachableError,
    )
}
"""Every error by its code: how a client rebuilds what the daemon raised."""
