"""What holds for every test.

A skip is a result: every skip is printed with its reason, and one that is not listed here fails the run.  How long
an example of hypothesis takes is none: the machine may be busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

ALLOWED_SKIPS = {"tests/netns/test_sctp.py": "few kernels have a stack of SCTP; its packets are tested anywhere"}
"""Start of a test's id: why it may be skipped."""


def skips(reporter: TerminalReporter) -> list[tuple[str, str, bool]]:
    """Return id, reason and whether it is allowed, of every skip so far."""
    found = []
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found.append((report.nodeid, reason, report.nodeid.startswith(tuple(ALLOWED_SKIPS))))
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run with an unexpected skip into a failed one."""
    reporter: TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    # A worker of pytest-xdist has no terminal; the run it reports to judges its skips.
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    if session.exitstatus == pytest.ExitCode.OK and not all(allowed for _, _, allowed in skips(reporter)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print every skip with its reason."""
    found = skips(terminalreporter)
    if not found:
        return
    terminalreporter.section("skipped")
    for nodeid, reason, allowed in found:
        verdict = "allowed" if allowed else "NOT ALLOWED: the run fails"
        terminalreporter.line(f"{nodeid}: {reason} ({verdict})")
