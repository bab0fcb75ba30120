"""Every captured command of a real ipvsadm, replayed; and the one table of what may be answered otherwise.

A command that the table names must be answered as the table says: when it is
answered as captured, its row is to be taken out (and out of docs/xlvsadm.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.golden.conftest import DATA, PORTS, Outcome, Run, captures, outcome


class Row(NamedTuple):
    """Commands of *file* that match *pattern* are answered as *change* says, for a *reason*.

    Without a *file*: all such commands that succeed.
    """

    reason: str
    pattern: str
    change: Callable[[Outcome], Outcome]
    file: str = ""

    def covers(self, line: str, file: str, wanted: Outcome) -> bool:
        """Say whether this row is about a command *line* that was answered as *wanted* in a capture of *file*."""
        about = self.file in ("", file) and (wanted.rc == 0 or bool(self.file))
        return about and bool(re.search(self.pattern, line))


def refused(sentence: str) -> Callable[[Outcome], Outcome]:
    """Return how a command is answered that is not supported yet."""
    return lambda _wanted: Outcome(255, "", f"{sentence}\n")


def longer_help(wanted: Outcome) -> Outcome:
    """Return our help: one more scheduler, and what only we have at its end."""
    from xlvs.cli.adm.help import HELP

    return wanted._replace(stdout=wanted.stdout.replace("|mh,", "|mh|twos,") + HELP[HELP.index("\nOnly in xlvsadm:") :])


def succeeds(_wanted: Outcome) -> Outcome:
    """Return how a command is answered that only we can carry out."""
    return SUCCEEDS


DAEMON = refused("xlvs does not support the connection sync daemon yet")
SUCCEEDS = Outcome(0, "", "")

DIFFERENCES = [
    Row("`twos` in the help, and at its end what only xlvsadm has", "ipvsadm -h$|--help$", longer_help),
    Row(
        "`twos` is there as in Linux 6.12",
        "-s twos$",
        succeeds,
        "07-listings-6.1.0",
    ),
    Row("not there yet: the sync daemon", "--start-daemon", DAEMON),
    Row(
        "not there yet: the sync daemon",
        r"-a -t 10\.0\.0\.102:85 -r \[fd00:b::11\]:85 -i$",
        lambda wanted: SUCCEEDS if wanted.rc else Outcome(255, "", "Destination already exists\n"),
        "06b-sync",
    ),
]  # fmt: skip
"""All differences.  Aim: none but the first two."""

NO_SUCH, NOT_DEFINED = Outcome(255, "", "No such service\n"), Outcome(255, "", "Service not defined\n")
GONE = {
    "L": NO_SUCH._replace(rc=1), "E": NO_SUCH, "D": NO_SUCH, "Z": NO_SUCH,
    "a": NOT_DEFINED, "e": NOT_DEFINED, "d": NOT_DEFINED,
}  # fmt: skip
"""The answers to a command about a service that could not be added, by its letter."""

_HAS = {row.change for row in DIFFERENCES}
_SERVICE = re.compile(r"-[AEDLaedLln]+ .*?(-t|-u|--sctp-service|-f) (\S+( -6)?)")
_SERVER = re.compile(r"-r (\S+)")
_SWITCHES = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service", "FWM": "-f"}
_NUMBERS = {name: str(number) for number, name in PORTS.items()}


class Verdict(NamedTuple):
    """What was answered to a command, and what should have been."""

    name: str
    got: Any
    want: Any


class Replay:
    """Replays the captures of one *file*, one after another, with *run*.

    What could not be added is *gone*: servers of it cannot be added either, and no table has it.
    """

    def __init__(self, run: Run, file: str) -> None:
        self.run = run
        self.file = file
        self.gone: set[str] = set()

    def __call__(self, capture: dict[str, Any]) -> Verdict:
        """Run the command of a *capture*, which may be several."""
        parts = [part.strip() for part in capture["cmd"].split(";")]
        answers = [self.run(part, stdin=capture.get("stdin", "")) for part in parts if part != "true"]
        got = Outcome(
            0 if parts[-1] == "true" else answers[-1].rc,
            "".join(answer.stdout for answer in answers),
            "".join(answer.stderr for answer in answers),
        )
        return Verdict(f"{self.file}: {capture['cmd']}", got, self.wanted(capture, parts))

    def wanted(self, capture: dict[str, Any], parts: list[str]) -> Outcome:
        """Return what is to be answered to a *capture*."""
        wanted, line = outcome(capture), capture["cmd"]
        if "daemon" in line and DAEMON in _HAS:
            return self._without_daemon(wanted, parts)
        found = _SERVICE.search(line)
        if found and wanted.rc == 0 and service(found) in self.gone and "-A " not in line:
            return GONE[line.split()[1][1]]
        if row := self._row(line, wanted):
            self._lose(line)
            if row.change is succeeds:  # the kernel of the capture has no such service later on
                self.run(line.replace("-A", "-D").partition(" -s")[0])
            return row.change(wanted)
        wanted = wanted._replace(stdout=self.kept(wanted.stdout))
        return self._restored(wanted, capture["stdin"]) if "stdin" in capture else wanted

    def kept(self, text: str) -> str:
        """Return *text*, rules or a table, without what is gone."""
        lines, here = [], ""
        for line in text.splitlines(keepends=True):
            found = _SERVICE.search(line) if line.startswith(("-A", "-a")) else None
            server = _SERVER.search(line) if found else None
            if found:
                here = service(found)
            elif line.split(" ")[0] in _SWITCHES:
                here = listed(line)
            elif line.startswith("  -> ") and here:
                server = re.match(r"  -> (\S+)", line)
            if here not in self.gone and not (server and f"{here} {numeric(server[1])}" in self.gone):
                lines.append(line)
        return "".join(lines)

    def _row(self, line: str, wanted: Outcome) -> Row | None:
        return next((row for row in DIFFERENCES if row.covers(line, self.file, wanted)), None)

    def _lose(self, line: str) -> None:
        """Note what a refused command does not add."""
        found, server = _SERVICE.search(line), _SERVER.search(line)
        if found and "-A " in line:
            self.gone.add(service(found))
        elif found and server and "-a " in line:
            self.gone.add(f"{service(found)} {server[1]}")

    def _restored(self, wanted: Outcome, rules: str) -> Outcome:
        """Return the answer to a restore of *rules*, some of which are refused."""
        stderr, status = "", wanted.rc
        for line in rules.splitlines():
            status, words = 0, f" {line} "
            found = _SERVICE.search(words)
            if row := self._row(words.rstrip(), SUCCEEDS):
                self._lose(words.rstrip())
                stderr, status = stderr + row.change(SUCCEEDS).stderr, 255
            elif found and service(found) in self.gone:
                stderr, status = stderr + "Service not defined\n", 255
        return wanted._replace(rc=status, stderr=stderr) if stderr else wanted

    def _without_daemon(self, wanted: Outcome, parts: list[str]) -> Outcome:
        """Return the answer when no sync daemon can be started."""
        own = ("illegal", "invalid", "No such device", "Invalid operation")
        stderr = "".join(line for line in wanted.stderr.splitlines(keepends=True) if line.startswith(own))
        status = wanted.rc if stderr else 0
        for part in parts:
            if "--start-daemon" in part and (not stderr or len(parts) > 1):
                stderr, status = stderr + DAEMON(wanted).stderr, 255
            elif "--stop-daemon" in part:
                stderr, status = stderr + "No daemon is running\n", 255
            elif "--start-daemon" not in part:
                status = 0
        return Outcome(status, "", stderr)


def numeric(end: str) -> str:
    """Return ``address:port`` with the number of a named port."""
    host, _, port = end.rpartition(":")
    return f"{host}:{_NUMBERS.get(port, port)}"


def service(found: re.Match[str]) -> str:
    """Return the service that a command or a rule names, in numbers."""
    return f"{found[1]} {found[2] if found[1] == '-f' else numeric(found[2])}"


def listed(line: str) -> str:
    """Return the service that a line of a table is about."""
    protocol, *words = line.split()
    if protocol == "FWM":
        return f"-f {words[0]}{' -6' if words[1:2] == ['IPv6'] else ''}"
    return f"{_SWITCHES[protocol]} {numeric(words[0])}"


COMMANDS = json.loads((DATA / "commands.json").read_text())
NOT_ROOT = "su nobody"
_BUSY = ("--stats", "--rate", "-Lnc", "run_estimation")
"""What the captured listings show of traffic: other tests have that."""
_COUNTED = [re.compile(rf"^(  -> .*?)( +\d+){{{n}}} +$", re.MULTILINE) for n in (2, 3)]


def single_commands(run: Run) -> Iterator[Verdict]:
    """Replay the commands that were each run against one base: output, and what was so afterwards."""
    base = Replay(run, "base")
    for number, case in enumerate(COMMANDS["cases"]):
        if case["cmd"].startswith(NOT_ROOT):
            continue
        name = f"{number} {case['cmd']}{' # ' + case['note'] if 'note' in case else ''}"
        _reset(run)
        yield Verdict(f"base of {name}", run("ipvsadm -R", stdin=COMMANDS["base"]), SUCCEEDS)
        replay = Replay(run, "commands")
        verdict = _comparable(replay(case))
        yield verdict._replace(name=f"commands: {name}")
        changed = verdict.want.rc == case["rc"]
        saved = case.get("state_after", COMMANDS["base_saved"]) if changed else COMMANDS["base_saved"]
        yield Verdict(f"after {name}", run("ipvsadm -S -n").stdout, base.kept(replay.kept(saved)))
        timeouts = {"cmd": "ipvsadm -L --timeout", "rc": 0, "stderr": ""}
        timeouts["stdout"] = case.get("timeout_after", "Timeout (tcp tcpfin udp): 900 120 300\n")
        if "timeout_after" in case or "--set" not in case.get("stdin", ""):  # that one was not asked
            yield replay(timeouts)._replace(name=f"timeouts after {name}")
        daemon = {"cmd": "ipvsadm -L --daemon", "rc": 0, "stderr": "", "stdout": case.get("daemon_after", "")}
        yield replay(daemon)._replace(name=f"daemon after {name}")


def sequences() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Give out each file, or case of one, with its captures, in their order."""
    yield "01-empty", captures("01-empty")
    yield "02-help", captures("02-help")
    yield "03-config-commands", captures("03-config-commands") + captures("04-configured")
    yield "05-save-restore", [capture for capture in captures("05-save-restore") if "|" not in capture["cmd"]]
    yield "07-daemon-timeout", captures("07-daemon-timeout")
    for kernel in ("6.1.0", "6.12.107"):
        (case,) = json.loads((DATA / f"07-listings-{kernel}.json").read_text())["cases"]
        found = [capture for capture in case["captures"] if capture["cmd"].startswith("ipvsadm")]
        yield f"07-listings-{kernel}", [c for c in found if not any(word in c["cmd"] for word in _BUSY)]
    for case in json.loads((DATA / "cases.json").read_text()):
        yield case["file"], case["captures"]


def _reset(run: Run) -> None:
    run("ipvsadm -C")
    run("ipvsadm --set 900 120 300")


def everything(run: Run) -> Iterator[Verdict]:
    """Replay every captured command."""
    yield from single_commands(run)
    for number, (file, found) in enumerate(sequences()):
        _reset(run)
        replay = Replay(run, file)
        for place, capture in enumerate(found):
            verdict = replay(capture)
            yield _comparable(verdict)._replace(name=f"{number}.{place} {verdict.name}")


def _comparable(verdict: Verdict) -> Verdict:
    """Return *verdict* without what nobody can foretell: the order of ``--nosort``, connections of other tests."""
    got, want = verdict.got, verdict.want
    if "--nosort" in verdict.name:
        got, want = (o._replace(stdout="".join(sorted(o.stdout.splitlines(keepends=True)))) for o in (got, want))
    if "07-listings" in verdict.name:
        counted = _COUNTED[1 if "--persistent-conn" in verdict.name else 0]
        got, want = (o._replace(stdout=counted.sub(r"\1", o.stdout)) for o in (got, want))
    return verdict._replace(got=got, want=want)


def differing(run: Run) -> list[str]:
    """Replay everything and return what was not answered as it should have been."""
    wrong = []
    for verdict in everything(run):
        if verdict.got != verdict.want:
            wrong.append(f"{verdict.name}\n  got  {verdict.got!r}\n  want {verdict.want!r}")
    return wrong
