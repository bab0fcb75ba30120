"""``/v1/flows``: which flows are listed and counted, in which form, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from tests.unit.daemon.api.fake import FakeDirector
from xlvs.cli.client import Client, _Connection
from xlvs.daemon.api.table import columns, listing
from xlvs.daemon.api.table.tally import Tally
from xlvs.errors import InvalidError, NoSuchServiceError
from xlvs.model import Address

VIP, DNS = ("192.0.2.1", 80), ("2001:db8::53", 53)
REALS = [("10.0.0.1", 8080), ("10.0.0.2", 8080)]
ID = "/v1/services/tcp:192.0.2.1:80"


def service(name: str, protocol: str, listen: tuple[str, int], servers: list[tuple[str, int]]) -> dict[str, Any]:
    """Return a service as it is added."""
    return {
        "listen": {"protocol": protocol, "address": listen[0], "port": listen[1]},
        "servers": [{"address": address, "port": port, "forward": "nat"} for address, port in servers],
        "name": name,
    }


def text(blocks: Iterable[bytes]) -> str:
    """Return a long answer in one."""
    return b"".join(blocks).decode()


@pytest.fixture
def busy(client: Client, director: FakeDirector) -> Client:
    """A client of a director with two services and seven flows, one of them in the spill, and one that is over."""
    client.post("/v1/services", service("web", "tcp", VIP, REALS))
    client.post("/v1/services", service("dns", "udp", DNS, [("fd00::1", 53)]))
    add = director.engine.kernel.held.add
    add(("198.51.100.1", 1001), VIP, 0, idle_s=3, sizes=(5 << 30, 9))
    add(("198.51.100.2", 1002), VIP, 1, idle_s=600, sizes=(10, 0))
    add(("198.51.101.3", 1003), VIP, 1, "SYN_RECV", idle_s=59)
    add(("198.51.100.4", 1004), VIP, 1, "CLOSE", idle_s=11)
    add(("2001:db8:1::1", 1005), DNS, 2, "UDP", sizes=(100, 2))
    add(("2001:db8:2::1", 1006), DNS, 2, "UDP", idle_s=30)
    add(("198.51.100.7", 1007), VIP, 0, "FIN_WAIT", spilled=True)
    add(("2001:db8:1::8", 1008), DNS, 2, "UDP", spilled=True)
    return client


def ports(api: Client, **query: object) -> list[int]:
    """Return which flows are listed, by their clients' ports."""
    return [flow["client"][1] for flow in api.get("/v1/flows", query)]


def test_a_flow_has_three_ends(busy: Client) -> None:
    """Client, virtual and real server; bytes do not wrap, and what is over is not shown."""
    assert busy.get("/v1/flows", {"limit": 1}) == [
        {
            "protocol": "tcp", "state": "ESTABLISHED", "expires_s": 897, "client": ["198.51.100.1", 1001],
            "virtual": ["192.0.2.1", 80], "server": ["10.0.0.1", 8080], "bytes": [5 << 30, 9], "idle_s": 3,
        }
    ]  # fmt: skip
    assert busy.get("/v1/flows")[3] == {
        "protocol": "udp", "state": "UDP", "expires_s": 300, "client": ["2001:db8:1::1", 1005],
        "virtual": ["2001:db8::53", 53], "server": ["fd00::1", 53], "bytes": [100, 2], "idle_s": 0,
    }  # fmt: skip
    assert ports(busy) == [1001, 1002, 1003, 1005, 1006, 1007, 1008]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"server": "10.0.0.1"}, [1001, 1007]),
        ({"server": "10.0.0.1:8080,[fd00::1]:53"}, [1001, 1005, 1006, 1007, 1008]),
        ({"server": "fd00::1"}, [1005, 1006, 1008]),
        ({"server": "10.0.0.1:80"}, []),
        ({"service": "dns"}, [1005, 1006, 1008]),
        ({"service": "tcp:192.0.2.1:80"}, [1001, 1002, 1003, 1007]),
        ({"service": "udp:192.0.2.1:80"}, []),
        ({"client": "198.51.100.2"}, [1002]),
        ({"client": "198.51.100.9/24"}, [1001, 1002, 1007]),
        ({"client": "198.51.100.0/23"}, [1001, 1002, 1003, 1007]),
        ({"client": "0.0.0.0/0"}, [1001, 1002, 1003, 1007]),
        ({"client": "::/0"}, [1005, 1006, 1008]),
        ({"client": "2001:db8:1::/48"}, [1005, 1008]),
        ({"state": "established"}, [1001, 1002]),
        ({"state": "SYN_RECV,udp"}, [1003, 1005, 1006, 1008]),
        ({"protocol": "udp"}, [1005, 1006, 1008]),
        ({"protocol": "udp", "state": "ESTABLISHED"}, []),
        ({"older_than": "1m"}, [1002]),
        ({"older_than": "59s"}, [1002, 1003]),
        ({"older_than": "1d"}, []),
        ({"sort": "bytes", "limit": 3}, [1001, 1005, 1002]),
        ({"server": "10.0.0.2", "older_than": "1s", "state": "SYN_RECV"}, [1003]),
        ({"limit": 0}, []),
    ],
)
def test_parameters_narrow_the_list(query: dict[str, object], found: list[int], busy: Client) -> None:
    """Each of them, and several together."""
    assert ports(busy, **query) == found
    if not {"limit", "sort"} & query.keys():
        assert busy.get("/v1/flows/count", query)["flows"] == len(found)


def test_a_parameter_may_be_given_twice(busy: Client) -> None:
    """Which is the same as with commas."""
    connection = _Connection(busy.path)
    connection.send("GET", "/v1/flows?server=10.0.0.1&server=10.0.0.2", None, {})
    assert connection.head() == 200
    assert json.loads(connection.body()) == busy.get("/v1/flows", {"server": "10.0.0.1,10.0.0.2"})
    connection.close()


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"server": "web1"}, "'web1' names no real server"),
        ({"client": "198.51.100.0/33"}, "'198.51.100.0/33' is no prefix: behind the slash goes a number from 0 to 32"),
        ({"client": "198.51.100.0/x"}, "is no prefix"),
        ({"client": "somebody"}, "'somebody' is not an IP address"),
        ({"state": "OPEN"}, "flows have no state 'OPEN' (one of NONE, ESTABLISHED, "),
        ({"older_than": "30"}, "'30' is no duration; write one as 30s, 5m, 2h or 1d"),
        ({"older_than": "-5m"}, "is no duration"),
        ({"protocol": "icmp"}, "protocol"),
        ({"sort": "packets"}, "sort"),
        ({"sort": "bytes", "limit": 100_001}, "limit=100001 is more than are sorted; ask for 100000 at most"),
        ({"serverr": "10.0.0.1"}, "unknown parameter 'serverr' (one of client, fields, "),
        ({"service": "no:service"}, "'no:service' names no virtual service"),
    ],
)
def test_what_makes_no_sense_is_refused(query: dict[str, object], sentence: str, busy: Client) -> None:
    """In a sentence with the way out, before the answer begins."""
    with pytest.raises(InvalidError) as error:
        busy.get("/v1/flows", query)
    assert sentence in str(error.value)


def test_a_service_that_is_deleted_is_named_by_its_id(busy: Client) -> None:
    """Its flows go on; a name that nobody has is refused."""
    busy.delete("/v1/services/dns")
    assert ports(busy, service="udp:[2001:db8::53]:53") == [1005, 1006, 1008]
    with pytest.raises(NoSuchServiceError):
        busy.get("/v1/flows/count", {"service": "dns"})


def test_flows_of_a_server_that_nobody_knows_are_left_out(busy: Client, director: FakeDirector) -> None:
    """Its number is free."""
    director.engine.layout.rows["proto"][1] = 0
    director.engine.kernel.held.add(("198.51.100.9", 1009), VIP, (1 << 20) - 1)
    assert ports(busy) == [1001, 1005, 1006, 1007, 1008]


def test_counts(busy: Client) -> None:
    """By state, idle time and server, those with most flows first."""
    found = busy.get("/v1/flows/count", {"limit": 2})
    assert (found["flows"], found["more_servers"]) == (7, 1)
    assert found["states"] == {"ESTABLISHED": 2, "SYN_RECV": 1, "FIN_WAIT": 1, "UDP": 3}
    assert [(age["from_s"], age["to_s"], age["flows"]) for age in found["ages"] if age["flows"]] == [
        (0, 1, 3), (1, 10, 1), (30, 60, 2), (300, 900, 1),
    ]  # fmt: skip
    assert found["servers"] == [
        {"protocol": "udp", "virtual": ["2001:db8::53", 53], "server": ["fd00::1", 53], "flows": 3},
        {"protocol": "tcp", "virtual": ["192.0.2.1", 80], "server": ["10.0.0.1", 8080], "flows": 2},
    ]
    assert "clients" not in found


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("client", {"198.51.100.0/24": 3, "198.51.101.0/24": 1, "2001:db8:1::/64": 2, "2001:db8:2::/64": 1}),
        ("client/16", {"198.51.0.0/16": 4, "2001:db8:1::/64": 2, "2001:db8:2::/64": 1}),
        ("client/0/32", {"0.0.0.0/0": 4, "2001:db8::/32": 3}),
        ("client/32/128", dict.fromkeys(("198.51.100.1/32", "2001:db8:1::8/128"), 1)),
    ],
)
def test_counts_by_client(by: str, found: dict[str, int], busy: Client) -> None:
    """By prefixes of any length, of each family."""
    answer = busy.get("/v1/flows/count", {"by": by})
    counted = {row["client"]: row["flows"] for row in answer["clients"]}
    assert found.items() <= counted.items()
    assert sum(counted.values()) == 7 and answer["more_clients"] == 0


@pytest.mark.parametrize("by", ["server", "client/33", "client/24/129", "client/-1", "client/24/64/1", ""])
def test_nonsense_is_not_counted_by(by: str, busy: Client) -> None:
    """One sentence that shows what can be."""
    with pytest.raises(InvalidError, match="write client, client/24 or client/24/64"):
        busy.get("/v1/flows/count", {"by": by})


def test_csv_has_the_same_rows(busy: Client) -> None:
    """With a header, and ends as operators write them."""
    rows = list(csv.DictReader(io.StringIO(text(busy.blocks("/v1/flows")))))
    flows = busy.get("/v1/flows")
    assert [(int(row["in_bytes"]), int(row["out_bytes"])) for row in rows] == [tuple(f["bytes"]) for f in flows]
    assert rows[0]["client"] == "198.51.100.1:1001"
    assert rows[3] == {
        "protocol": "udp", "state": "UDP", "expires_s": "300", "client": "[2001:db8:1::1]:1005",
        "virtual": "[2001:db8::53]:53", "server": "[fd00::1]:53", "in_bytes": "100", "out_bytes": "2", "idle_s": "0",
    }  # fmt: skip


def test_csv_has_the_columns_that_are_asked_for(busy: Client) -> None:
    """In the order in which they are; there is no such choice for JSON, and none of columns that are not there."""
    rows = text(busy.blocks("/v1/flows", {"fields": "state,client", "limit": 2})).splitlines()
    assert rows == ["state,client", "ESTABLISHED,198.51.100.1:1001", "ESTABLISHED,198.51.100.2:1002"]
    with pytest.raises(InvalidError, match="flows have no column 'packets' \\(one of protocol, state, "):
        busy.blocks("/v1/flows", {"fields": "client,packets"})
    with pytest.raises(InvalidError, match="Accept: text/csv"):
        busy.get("/v1/flows", {"fields": "client"})


def test_json_has_a_flow_a_line(busy: Client) -> None:
    """So that a list of any length can be read line by line; an empty one is an empty array."""
    answer = text(busy.blocks("/v1/flows", accept="application/json"))
    first, *rows, last = answer.splitlines()
    assert (first, last) == ("[", "]")
    assert [json.loads(row.rstrip(",")) for row in rows] == busy.get("/v1/flows")
    assert busy.get("/v1/flows", {"server": "10.9.9.9"}) == []


def test_a_long_list_lets_others_be_answered(client: Client, director: FakeDirector) -> None:
    """Thousands of flows come in several blocks; who asks something else meanwhile is answered."""
    client.post("/v1/services", service("web", "tcp", VIP, REALS))
    held = director.engine.kernel.held
    slots = held.maps["flows4"].values["flow"].reshape(-1)
    held.add(("198.51.100.1", 1001), VIP, 0)
    slots[:] = slots[0]
    slots["cport"] = np.arange(len(slots)) % 60_000
    held.maps["flow_stripes"].values["used"] = 1
    blocks = client.blocks("/v1/flows")
    some = next(blocks)
    assert client.get("/v1/timeouts")["tcp"] == 900
    rest = list(blocks)
    assert len(rest) > 1
    assert text([some, *rest]).count("\n") == len(slots) + 1
    assert client.get("/v1/flows", {"limit": 5000})[-1]["client"][1] == 4999
    assert len(client.get("/v1/flows", {"limit": 5000, "sort": "bytes"})) == 5000


def test_columns_of_numbers_and_addresses() -> None:
    """Every number of digits, with zeros anywhere, and addresses of both families in one column."""
    numbers = [0, 7, 10, 9999, 10_000, 10_001, 100_000_000, 99_999_999, 123_456_789, 10**12, (1 << 64) - 1]
    for some in ([0], [7, 0], numbers[:4], numbers[:6], numbers[:9], numbers):
        cells = columns.decimals(np.array(some, np.uint64))
        assert columns.lines([cells, b"\n"]).decode().split() == [str(number) for number in some]
    written = ["0.0.0.0", "255.255.255.255", "10.0.200.1", "::1", "2001:db8::ffff:1", "192.0.2.100"]
    for texts in (written[:3], written[3:5], written):
        words = np.frombuffer(b"".join(Address.parse(text) for text in texts), "<u4").reshape(-1, 4)
        assert columns.lines([columns.addresses(words), b"\n"]).decode().split() == texts


def test_sorting_keeps_the_largest_of_many() -> None:
    """Whatever the order in which they come."""
    records = np.zeros(1000, [("in_bytes", "<u8"), ("out_bytes", "<u8")])
    records["in_bytes"] = np.random.default_rng(1).permutation(1000)
    assert listing._largest(records, 3)["in_bytes"].tolist() == [999, 998, 997]


def test_a_tally_merges_what_it_counted() -> None:
    """Many prefixes in many steps are counted as at once."""
    tally = Tally(32, 128)
    words = np.zeros((200_000, 4), np.uint32)
    words[:, 2] = np.frombuffer(b"\0\0\xff\xff", "<u4")[0]
    words[:, 3] = np.arange(len(words))
    for _ in range(2):
        tally.add(words)
    tally.add(words[:1])
    rows, more = tally.largest(2)
    assert rows[0] == ("0.0.0.0/32", 3) and rows[1][1] == 2
    assert more == len(words) - 2


def test_a_sorted_list_keeps_no_more_than_it_needs(
    busy: Client, director: FakeDirector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a table that is read in many steps the largest are found all the same."""
    monkeypatch.setattr(listing, "_FEW", 1)
    monkeypatch.setattr(listing, "_MANY", 1)
    add = director.engine.kernel.held.add
    for port in range(2000, 2100):
        add(("198.51.100.1", port), VIP, 0, sizes=(1000 + port * 7919 % 1013, 0))
    wanted = sorted((sum(flow["bytes"]) for flow in busy.get("/v1/flows")), reverse=True)
    for limit in (1, 5, 50):
        listed = [sum(flow["bytes"]) for flow in busy.get("/v1/flows", {"sort": "bytes", "limit": limit})]
        assert listed == wanted[:limit]
