"""Real servers: which combinations make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from xlvs.errors import InvalidError, ThresholdsError
from xlvs.model import Address, Server

HERE = Address.parse("10.0.0.1")
GUE = {"forward": "gue", "tunnel_port": 6080}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"port": 65536}, "real server port 65536 is outside 0..65535"),
        ({"port": -1}, "real server port -1 is outside 0..65535"),
        ({"weight": -1}, "weight -1 is outside 0..2147483647"),
        ({"weight": 2**31}, "weight 2147483648 is outside 0..2147483647"),
        ({"forward": "masq"}, "unknown forwarding method 'masq' (one of nat, route, ipip, gue, gre)"),
        ({"tunnel_port": 6080}, "the forwarding method route has no tunnel port; only gue has"),
        ({"forward": "gre", "tunnel_port": 6080}, "the forwarding method gre has no tunnel port; only gue has"),
        ({"forward": "gue"}, "the forwarding method gue needs the UDP port of the tunnel, in 1..65535"),
        (
            {"forward": "gue", "tunnel_port": 65536},
            "the forwarding method gue needs the UDP port of the tunnel, in 1..65535",
        ),
        (
            {"tunnel_checksum": "full"},
            "the forwarding method route cannot do the tunnel checksum 'full' (one of none)",
        ),
        (
            {"forward": "gre", "tunnel_checksum": "remote"},
            "the forwarding method gre cannot do the tunnel checksum 'remote' (one of none, full)",
        ),
        (
            {**GUE, "tunnel_checksum": "half"},
            "the forwarding method gue cannot do the tunnel checksum 'half' (one of none, full, remote)",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(more: dict[str, Any], why: str) -> None:
    """One sentence: what, why, and what there is instead."""
    with pytest.raises(InvalidError) as caught:
        Server(HERE, **{"port": 80, **more})
    assert str(caught.value) == why


@pytest.mark.parametrize(("upper", "lower"), [(5, 6), (-1, 0), (0, 1), (5, -1)])
def test_thresholds_that_contradict_each_other_have_an_error_of_their_own(upper: int, lower: int) -> None:
    """ipvsadm has its own words for it."""
    with pytest.raises(ThresholdsError, match=f"thresholds upper {upper} and lower {lower} contradict each other"):
        Server(HERE, 80, upper=upper, lower=lower)


@pytest.mark.parametrize(
    "more",
    [
        {"port": 0},
        {"port": 65535},
        {"weight": 0},
        {"weight": 2**31 - 1},
        {"upper": 5, "lower": 5},
        {"upper": 5},
        {**GUE, "tunnel_checksum": "remote"},
        {**GUE, "tunnel_port": 1},
        {**GUE, "tunnel_port": 65535},
        {"forward": "gre", "tunnel_checksum": "full"},
    ],
)
def test_what_makes_sense_is_taken(more: dict[str, Any]) -> None:
    """Up to the limits."""
    server = Server(HERE, **{"port": 80, **more})
    assert server.key == (HERE, more.get("port", 80))
    assert str(server) == f"10.0.0.1:{server.port}"
