"""Errors as clients get them: problem documents (RFC 9457), whatever went wrong and wherever.

The sentence is the daemon's, and `code` what a client tells errors apart by
(`xlvs.errors`).  A failure of our own is one sentence for the client and a
traceback for the log.
"""

from __future__ import annotations

import traceback
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from msgspec import UNSET, UnsetType

from xlvs.daemon.log import log
from xlvs.errors import ConflictError, XlvsError

MEDIA_TYPE = "application/problem+json"

_STATUS = {
    "service-exists": 409,
    "server-exists": 409,
    "no-such-service": 404,
    "no-such-server": 404,
    "owned": 403,
    "conflict": 409,
    "invalid": 400,
    "unknown-engine": 400,
    "thresholds": 400,
    "not-unicast": 400,
    "unknown-scheduler": 422,
    "unsupported": 422,
    "environment": 503,
}
"""By code; what is not here is 500."""

_SENTENCES = {
    404: ("not-found", "there is nothing at {path}; /openapi.json says what there is"),
    405: ("method-not-allowed", "{path} does not take {method}"),
    408: ("too-slow", "the body of the request did not come in time"),
    413: ("too-large", "the body of the request is larger than {limit} bytes"),
}
"""What HTTP itself knows, by status: code and sentence."""


class Problem(msgspec.Struct, frozen=True):
    """A problem document (RFC 9457 §3.1): `detail` is the sentence, `code` tells errors apart.

    `edit` is which of several edits it is about, from 0.
    """

    title: str
    status: int
    detail: str
    code: str
    type: str = "about:blank"
    edit: int | UnsetType = UNSET


class TooSlow(HTTPException):
    """The client has taken too long over its body."""

    status_code = 408


class StaleError(ConflictError):
    """The state is not of the generation that the client's condition names."""


class ClientGone(HTTPException):
    """The client has hung up before its request was whole: nobody reads the answer."""

    status_code = 400


def of_error(error: XlvsError) -> Problem:
    """Return the problem document of an *error* of ours."""
    status = 412 if isinstance(error, StaleError) else _STATUS.get(error.code, 500)
    found = problem(status, error.code, str(error))
    return found if error.edit is None else msgspec.structs.replace(found, edit=error.edit)


def problem(status: int, code: str, detail: str) -> Problem:
    """Return a problem document."""
    return Problem(HTTPStatus(status).phrase, status, detail, code)


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Return the answer to a *request* that ended in *error*."""
    found = _problem(request, error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if found.status in (408, 413):
        # What is left of the body is worth nobody's time.
        headers["connection"] = "close"
    return Response(msgspec.json.encode(found), status_code=found.status, media_type=MEDIA_TYPE, headers=headers)


def _problem(request: Request[Any, Any, Any], error: Exception) -> Problem:
    if isinstance(error, XlvsError):
        if error.code != "invalid":
            log("request refused", code=error.code, why=error)
        return of_error(error)
    if isinstance(error, HTTPException) and error.status_code in _SENTENCES:
        code, sentence = _SENTENCES[error.status_code]
        limit = request.app.request_max_body_size
        detail = sentence.format(path=request.scope["path"], method=request.method, limit=limit)
        return problem(error.status_code, code, detail)
    if isinstance(error, ValidationException):
        return problem(400, "invalid", f"the request is not as expected: {_complaints(error)}")
    if isinstance(error, HTTPException) and error.status_code < 500:
        return problem(error.status_code, "invalid", f"the request is not as expected: {error.detail}")
    traceback.print_exception(error)
    return problem(500, "error", f"the daemon failed over this request ({type(error).__name__}); see its log")


def _complaints(error: ValidationException) -> str:
    found = [item for item in error.extra if isinstance(item, dict)] if isinstance(error.extra, list) else []
    if any(item.get("key") == "data" for item in found):
        return "it lacks its body"
    return "; ".join(f"{item.get('key', 'request')}: {item.get('message', '')}" for item in found) or error.detail
