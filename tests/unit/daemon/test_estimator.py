"""Rates against a plain model of the kernel's estimator (net/netfilter/ipvs/ip_vs_est.c of Linux 6.1).

Connections and packets are held with 10 bits behind the point, bytes with 5; a sample of two seconds moves the estimate
by a quarter of the difference, rounded down as a right shift of a signed number does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.daemon.fake import FakeKernel, engine
from xlvs.daemon import views
from xlvs.daemon.stats import FIELDS, SAMPLE_S, Counters
from xlvs.model import Address, Server, Service, ServiceKey, codec

PACKETS, BYTES = 1 << 32, 1 << 40
"""What no director does in two seconds."""

GROWTH = st.tuples(*(st.integers(0, BYTES if "bytes" in name else PACKETS) for name in FIELDS))
WEB = ServiceKey("tcp", Address.parse("192.0.2.1"), 80)
SERVER = Server(Address.parse("10.0.0.1"), 80, "nat")


@dataclass
class Model:
    """``struct ip_vs_estimator`` of one service or server."""

    last: list[int] = field(default_factory=lambda: [0] * 5)
    estimate: list[int] = field(default_factory=lambda: [0] * 5)

    def sample(self, counters: list[int]) -> None:
        """Do what `estimation_timer` does every two seconds."""
        for i, count in enumerate(counters):
            # Scaled by 2^10 or 2^5, but divided by two seconds.
            rate = (count - self.last[i]) << (9 if i < 3 else 4)
            self.last[i] = count
            self.estimate[i] += (rate - self.estimate[i]) >> 2

    def zero(self, counters: list[int]) -> None:
        """Do what `ip_vs_zero_estimator` does."""
        self.last, self.estimate = list(counters), [0] * 5

    def read(self) -> list[int]:
        """Do what `ip_vs_read_estimator` does."""
        return [(e + 0x1FF) >> 10 if i < 3 else (e + 0xF) >> 5 for i, e in enumerate(self.estimate)]


@given(st.lists(st.one_of(GROWTH, st.just((0,) * 5)), min_size=1, max_size=60), st.integers(0, 60))
def test_rates_are_those_of_the_kernel(growths: list[tuple[int, ...]], zeroed: int) -> None:
    """Whatever was counted in each two seconds, idle ones among them, and zeroed in between."""
    ours, model = Counters(1), Model()
    counters = [0] * 5
    for step, growth in enumerate(growths):
        counters = [have + more for have, more in zip(counters, growth, strict=True)]
        raw = np.array([counters], np.int64)
        if step == zeroed:
            ours.zero(np.array([0], np.uint32), raw)
            model.zero(counters)
        ours.sample(raw, SAMPLE_S)
        model.sample(counters)
        assert ours.rates(1) == [model.read()]


@given(GROWTH)
def test_a_rate_that_was_forgotten_is_gone_for_good(growth: tuple[int, ...]) -> None:
    """From any estimate on both fall by the same steps, and end at nothing; then no more is computed."""
    ours, model = Counters(1), Model()
    raw = np.array([growth], np.int64)
    for _ in range(200):
        ours.sample(raw, SAMPLE_S)
        model.sample(list(growth))
        assert ours.rates(1) == [model.read()]
    assert ours.rates(1) == [[0] * 5]


def shown(director: object) -> tuple[list[int], list[int]]:
    """Return the rates of the one service and of its server, as users see them."""
    (service,) = codec.to_builtins(views.services(director, "all"))  # type: ignore[arg-type]
    return list(service["rates"].values()), list(service["servers"][0]["rates"].values())


def test_rates_stand_still_while_nothing_is_estimated(tmp_path: Path) -> None:
    """run_estimation 1, 0, 1: they stay as they were, and what was counted meanwhile is in the next sample."""
    kernel, model = FakeKernel(), Model()
    director = engine(tmp_path, kernel)
    director.apply(director.state.add_service(Service(WEB, "rr")), [WEB])
    director.apply(director.state.add_server(WEB, SERVER), [WEB])
    counters = [0] * 5
    seen = []
    for step in range(30):
        if step in (10, 20):
            director.apply(director.state.with_sysctls({"run_estimation": str(step // 20)}), [])
        counters = [have + more for have, more in zip(counters, (200, 1600, 1500, 90_000, 800_000), strict=True)]
        for kind in ("service", "server"):
            kernel.raw[kind][0][:] = counters
        director.sample(SAMPLE_S)
        if not 10 <= step < 20:
            model.sample(counters)
        assert shown(director) == (model.read(), model.read())
        seen.append(model.read())
    assert seen[9] == seen[10] == seen[19]
    assert seen[20][0] > 2 * seen[19][0], "ten samples in one"
