"""``/v1/edits``: many edits in one request, put in force together.

A restore of a hundred thousand rules is so one transaction instead of as many.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from xlvs.config import Difference
from xlvs.daemon.api.answers import WRITING, answer, errors
from xlvs.daemon.api.changes import Write
from xlvs.daemon.api.draft import Draft
from xlvs.daemon.api.types import (
    AddServer,
    AddService,
    DeleteServer,
    DeleteService,
    Edit,
    EditsBody,
    EditServer,
    EditService,
    Flush,
    read_endpoint,
)
from xlvs.errors import XlvsError


class Refusal(msgspec.Struct, frozen=True):
    """An edit that was not made: which, from 0, and why, as in a problem document."""

    edit: int
    code: str
    detail: str


class Edited(msgspec.Struct, frozen=True):
    """The answer to edits: as to any write, with those that were not made."""

    generation: int
    differences: list[Difference]
    refused: list[Refusal]
    remaining: int | UnsetType = UNSET


@post("/v1/edits", operation_id="edit", summary="Make many edits", responses=errors(*WRITING, 409), status_code=200)
async def make_edits(
    data: JSONBody[EditsBody],
    write: NamedDependency[Write],
    atomic: Annotated[
        bool, QueryParameter(description="Make all of them or none; else those that can be made, and say which not.")
    ] = True,
) -> Response[Edited]:
    """Make edits one after another and put what comes of it in force in one step."""
    draft = Draft(write.have, write.owner, force=write.force)
    refused = []
    for number, edit in enumerate(data.edits):
        try:
            _make(draft, edit)
        except XlvsError as error:
            if atomic:
                error.edit = number
                raise
            refused.append(Refusal(number, error.code, str(error)))
    changed = write.commit(draft.state(), draft.touched)
    remaining = UNSET if draft.remaining is None else draft.remaining
    done = Edited(changed.generation, changed.differences, refused, remaining)
    return answer(done, changed.generation)


def _make(draft: Draft, edit: Edit) -> None:
    """Make one *edit*; raises `XlvsError`."""
    match edit:
        case AddServer():
            draft.add_server(draft.find(edit.id), edit.server)
        case AddService():
            draft.add_service(edit.service)
        case EditServer():
            draft.edit_server(draft.find(edit.id), read_endpoint(edit.server), edit.changes)
        case EditService():
            draft.edit_service(draft.find(edit.id), edit.changes)
        case DeleteServer():
            draft.delete_server(draft.find(edit.id), read_endpoint(edit.server))
        case DeleteService():
            draft.delete_service(draft.find(edit.id))
        case Flush():
            draft.flush()


HANDLERS = [make_edits]
