"""The application: handlers, error documents and the OpenAPI document put together.

Bodies are read by msgspec strictly, whatever their media type says, so that
``curl -d`` does; unknown fields and unknown parameters are refused, because a
misspelt ``dry-run`` must not become a change.
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Response, get
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import License
from litestar.serialization import encode_json

import xlvs
from xlvs.daemon.api import director, flows, many, problems, services, whole
from xlvs.daemon.api.changes import Context, Director, provide_write
from xlvs.daemon.api.table.wanted import provide_wanted
from xlvs.daemon.api.watch import Watchers
from xlvs.errors import InvalidError
from xlvs.model import codec

MAX_BODY = 64 << 20
"""Bytes of a body: 20,000 services with 8 servers each take a quarter of that."""


_PARTS = (services, many, whole, flows, director)


class StrictRequest(Request[Any, Any, Any]):
    """A request whose body is what its handler expects, or refused with the place; nothing is converted on the way."""

    async def json(self) -> Any:
        """Return the body as the type of the handler's ``data``; raises `InvalidError`."""
        data = self.route_handler.parsed_data_field
        return codec.decode(await self.body(), data.annotation if data else dict)


def make(context_of: Director, watchers: Watchers, *, max_body: int = MAX_BODY) -> Litestar:
    """Return the API over a director; changes are told to *watchers*, bodies have at most *max_body* bytes."""
    app = Litestar.from_config(
        AppConfig(
            route_handlers=[openapi, *(handler for part in _PARTS for handler in part.HANDLERS)],
            state=Context({"director": context_of, "watchers": watchers}),
            dependencies={
                "write": Provide(provide_write, sync_to_thread=False),
                "wanted": Provide(provide_wanted, sync_to_thread=False),
            },
            before_request=_refuse_unknown_parameters,
            exception_handlers={Exception: problems.handle},
            request_class=StrictRequest,
            request_max_body_size=max_body,
            logging_config=None,
            openapi_config=OpenAPIConfig(
                title="xlvs",
                version=xlvs.__version__,
                description="The API of one xlvs daemon, on its unix socket. docs/api.md tells how to use it.",
                license=License("GPL-2.0-or-later", identifier="GPL-2.0-or-later"),
                use_handler_docstrings=True,
                render_plugins=[],
                path=None,
            ),
        )
    )
    app.state.document = describe(app)
    app.state.parameters = _parameters(app.state.document)
    return app


def describe(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document of *app*, in an order that is always the same."""
    document: dict[str, Any] = app.openapi_schema.to_schema()
    for path in document["paths"].values():
        for operation in path.values():
            if "parameters" in operation:
                operation["parameters"].sort(key=lambda parameter: (parameter["in"] != "path", parameter["name"]))
    return document


@get("/openapi.json", operation_id="getOpenapi", include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return what this API is: its OpenAPI document."""
    document = encode_json(request.app.state.document)
    return Response(document, media_type="application/vnd.oai.openapi+json;version=3.1")


def _parameters(schema: dict[str, Any]) -> dict[str, set[str]]:
    """Return the query parameters of each operation."""
    return {
        operation["operationId"]: {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
        for path in schema["paths"].values()
        for operation in path.values()
    }


def _refuse_unknown_parameters(request: Request[Any, Any, Any]) -> None:
    known = request.app.state.parameters.get(request.route_handler.operation_id, frozenset())
    for name in request.query_params:
        if name not in known:
            raise InvalidError(f"unknown parameter {name!r} (one of {', '.join(sorted(known)) or 'none'})")
