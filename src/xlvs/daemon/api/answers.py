"""What answers have in common: the state's generation as their ETag, and the errors that OpenAPI is told of."""

from __future__ import annotations

from typing import TypeVar

from litestar import Response
from litestar.openapi import ResponseSpec

from xlvs.daemon.api.changes import etag
from xlvs.daemon.api.problems import MEDIA_TYPE, Problem

T = TypeVar("T")

_ERRORS = {
    400: "The request is not as expected.",
    403: "It belongs to another owner; force has its way.",
    404: "There is no such thing.",
    409: "There is one already.",
    412: "The state is not of the generation that If-Match names.",
    413: "The body is too large.",
    422: "It is understood, and xlvs cannot do it.",
    500: "The daemon failed, or the kernel refused.",
    503: "This host lacks something that is needed.",
}

READING = (400, 500)
"""Statuses that a reading request may end with."""

TELLING = (400, 412, 422, 500, 503)
"""Statuses that telling the daemon to do something may end with."""

WRITING = (400, 403, 404, 412, 413, 422, 500, 503)
"""Statuses that a writing request may end with."""


def errors(*statuses: int) -> dict[int, ResponseSpec]:
    """Return how OpenAPI describes the errors of these statuses."""
    return {
        status: ResponseSpec(Problem, description=_ERRORS[status], media_type=MEDIA_TYPE, generate_examples=False)
        for status in sorted(set(statuses))
    }


def answer(value: T, generation: int, status: int = 200, **headers: str) -> Response[T]:
    """Return *value* as it was when the state was of *generation*."""
    return Response(value, status_code=status, headers={"ETag": etag(generation), **headers})
