"""Every captured command of a real ipvsadm against a daemon with a kernel, and what only xlvsadm has.

The daemon is alone in a namespace that has an eth0; nothing listens anywhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.golden import conftest as golden
from tests.golden.conftest import Outcome, Run, lab_names
from tests.golden.replay import differing
from tests.netns.test_transactions import end
from xlvs.demo.director import Director

__all__ = ["lab_names"]

VIP = "192.0.2.1"


@pytest.fixture(scope="module")
def director(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Director]:
    """Give out a director in a namespace like that of the captures."""
    name = f"xlvs-adm-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    made = Director(name, name, tmp_path_factory.mktemp("adm") / "daemon.log", "eth0=tc")
    try:
        lines = "link set lo up\nlink add eth0 type veth peer name far\nlink set eth0 up\nlink set far up\n"
        lines += (
            f"address add 10.0.1.254/24 dev eth0\naddress add fd00:1::fe/64 dev eth0 nodad\naddress add {VIP} dev lo\n"
        )
        subprocess.run(["ip", "-n", name, "-batch", "-"], input=lines, text=True, check=True)
        made.start()
        yield made
    finally:
        end(made)


@pytest.fixture
def run(
    director: Director, lab_names: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run a command line through xlvsadm; the table is empty at first."""
    monkeypatch.setenv("XLVS_INSTANCE", director.instance)
    call = golden.runner(capsys, monkeypatch)
    assert call("ipvsadm -C") == Outcome(0, "", "")
    return call


def test_every_captured_command_is_answered_as_ipvsadm_does(run: Run) -> None:
    """Byte for byte: output, exit status, and what is so afterwards; differences are those of the one table."""
    wrong = differing(run)
    assert not wrong, "\n".join(wrong)
