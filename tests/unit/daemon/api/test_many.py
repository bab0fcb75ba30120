"""Many edits in one request: each as if it were alone, all in one step, and none of them if all are wanted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.daemon.api.fake import FakeDirector
from xlvs.cli.client import Client
from xlvs.errors import InvalidError, NoSuchServiceError, NotUnicastError, OwnedError, ThresholdsError, XlvsError

WEB = "tcp:192.0.2.1:80"
LISTEN = {"protocol": "tcp", "address": "192.0.2.1", "port": 80}
ADD = {"do": "add-service", "service": {"listen": LISTEN, "scheduler": "rr"}}


def add(host: int, **fields: Any) -> dict[str, Any]:
    """Return the edit that adds a server."""
    return {"do": "add-server", "id": WEB, "server": {"address": f"10.0.0.{host}", "port": 80, **fields}}


def edit(client: Client, *edits: dict[str, Any], **query: Any) -> Any:
    """Have *edits* made."""
    return client.post("/v1/edits", {"edits": list(edits)}, query)


def servers(client: Client) -> list[tuple[str, int]]:
    """Return the addresses and weights of the servers of the service."""
    return [(s["address"], s["weight"]) for s in client.get(f"/v1/services/{WEB}")["servers"]]


def test_later_edits_see_what_earlier_ones_did(client: Client, director: FakeDirector) -> None:
    """One generation, one list of differences, servers in the order in which they came."""
    answer = edit(
        client,
        ADD,
        add(1),
        add(2),
        add(3, weight=7),
        {"do": "edit-server", "id": WEB, "server": "10.0.0.2:80", "changes": {"weight": 5}},
        {"do": "delete-server", "id": WEB, "server": "10.0.0.1:80"},
        add(1),
        {"do": "edit-service", "id": WEB, "changes": {"scheduler": "wlc"}},
    )
    assert servers(client) == [("10.0.0.2", 5), ("10.0.0.3", 7), ("10.0.0.1", 1)]
    assert client.get(f"/v1/services/{WEB}")["scheduler"] == "wlc"
    assert (answer["generation"], answer["refused"], len(director.engine.applied)) == (1, [], 1)
    assert [(one["action"], one["what"]) for one in answer["differences"]][0] == ("add", "service")


def test_one_wrong_edit_is_the_end_of_all(client: Client, director: FakeDirector) -> None:
    """The problem says which; nothing has changed."""
    edit(client, ADD, add(1))
    with pytest.raises(NoSuchServiceError) as error:
        edit(client, add(2), {"do": "delete-service", "id": "tcp:192.0.2.9:80"}, add(3))
    assert error.value.edit == 1
    assert servers(client) == [("10.0.0.1", 1)]
    assert len(director.engine.applied) == 1


def test_wrong_edits_are_left_out_if_that_is_wanted(client: Client) -> None:
    """Each is named with its code; the others are made."""
    answer = edit(client, ADD, ADD, add(1), add(1), add(2, upper=1, lower=2), add(255, weight=3), atomic=False)
    assert [(one["edit"], one["code"]) for one in answer["refused"]] == [
        (1, "service-exists"), (3, "server-exists"), (4, "thresholds")
    ]  # fmt: skip
    assert servers(client) == [("10.0.0.1", 1), ("10.0.0.255", 3)]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (add(1, upper=1, lower=2), ThresholdsError),
        ({"do": "add-server", "id": WEB, "server": {"address": "224.0.0.1", "port": 80}}, NotUnicastError),
        ({"do": "add-server", "id": WEB, "server": {"address": "fd00::1", "port": 80}}, InvalidError),
        ({"do": "edit-service", "id": WEB, "changes": {"engine": "sop"}}, InvalidError),
        ({"do": "edit-service", "id": WEB, "changes": {"name": "taken"}}, XlvsError),
        ({"do": "edit-service", "id": "taken", "changes": {"scheduler": "no"}}, XlvsError),
        ({"do": "delete-server", "id": WEB, "server": "10.0.0.9:80"}, XlvsError),
        ({"do": "delete-service", "id": "taken"}, OwnedError),
        ({"do": "no-such-thing", "id": WEB}, InvalidError),
    ],
)
def test_what_alone_is_refused_is_refused_among_others(
    client: Client, wrong: dict[str, Any], kind: type[XlvsError]
) -> None:
    """With the same errors."""
    edit(client, ADD)
    other = {"do": "add-service", "service": {"listen": {**LISTEN, "port": 81}, "name": "taken"}}
    edit(client, other, owner="somebody")
    with pytest.raises(kind):
        edit(client, add(1), wrong)
    assert servers(client) == []


def test_flush_takes_what_is_ones_own(client: Client) -> None:
    """Also what was added in the same request; services of others are counted, and stay."""
    edit(client, {"do": "add-service", "service": {"listen": {**LISTEN, "port": 81}}}, owner="somebody")
    answer = edit(client, ADD, add(1), {"do": "flush"}, ADD, add(2))
    assert answer["remaining"] == 1
    assert servers(client) == [("10.0.0.2", 1)]
    forced = edit(client, {"do": "flush"}, force=True)
    assert (forced["remaining"], client.get("/v1/services")["services"]) == (0, [])


def test_a_dry_run_changes_nothing(client: Client, director: FakeDirector) -> None:
    """But says what would be changed."""
    answer = edit(client, ADD, add(1), **{"dry-run": True})
    assert [(one["action"], one["what"]) for one in answer["differences"]] == [("add", "service")]
    assert not director.engine.applied
