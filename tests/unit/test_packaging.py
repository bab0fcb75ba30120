"""The systemd units: systemd knows every word of them, and none of them would end traffic with the daemon."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
UNITS = ["xlvs.service", "xlvs@.service"]

OWN_MOUNTS = {
    "BindPaths",
    "BindReadOnlyPaths",
    "DynamicUser",
    "InaccessiblePaths",
    "PrivateDevices",
    "PrivateMounts",
    "PrivateTmp",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RootDirectory",
    "TemporaryFileSystem",
}
"""Options that give a service a mount namespace of its own (systemd.exec(5))."""


def options(unit: str) -> dict[str, dict[str, str]]:
    """Return the options of a unit by section."""
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(PACKAGING / unit)
    return {name: dict(parser[name]) for name in parser.sections()}


@pytest.mark.parametrize("unit", UNITS)
def test_the_daemon_says_when_it_is_ready_and_reloads_on_a_signal(unit: str) -> None:
    """What the units promise to systemd is what the daemon does: sd_notify, SIGHUP, and a new start after a crash."""
    service = options(unit)["Service"]
    assert (service["Type"], service["Restart"], service["KillMode"]) == ("notify", "on-failure", "mixed")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["ExecStart"].startswith("/usr/bin/xlvs daemon --instance ")


@pytest.mark.parametrize("unit", UNITS)
def test_pins_outlive_the_service(unit: str) -> None:
    """The runtime directory stays, and the BPF file system in it is mounted where others see it."""
    service = options(unit)["Service"]
    assert (service["RuntimeDirectory"], service["RuntimeDirectoryPreserve"]) == ("xlvs", "yes")
    assert service["StateDirectory"] == "xlvs"
    assert OWN_MOUNTS & service.keys() == set()


def test_both_units_are_one_but_for_the_name() -> None:
    """An instance runs under the same restrictions whichever unit starts it."""
    single, template = (options(unit) for unit in UNITS)
    assert template["Service"].pop("EnvironmentFile") == single["Service"].pop("EnvironmentFile") + "-%i"
    assert template["Service"].pop("ExecStart") == single["Service"].pop("ExecStart").replace("default", "%i")
    assert template["Unit"].pop("Description") == single["Unit"].pop("Description") + " (%i)"
    assert template == single


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_knows_every_word(unit: str, tmp_path: Path) -> None:
    """systemd-analyze, where there is one, finds nothing to say about the unit; what others bring is theirs."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    copy = tmp_path / unit.replace("@", "@name")
    copy.write_text((PACKAGING / unit).read_text().replace("/usr/bin/xlvs", "/bin/true"))
    said = subprocess.run([analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    ours = [line for line in lines if not line.startswith(("/lib/systemd/", "/usr/lib/systemd/"))]
    assert (said.returncode, ours) == (0, [])
