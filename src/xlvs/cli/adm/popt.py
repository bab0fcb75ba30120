"""The option parser of ipvsadm: popt with ipvsadm's table.

popt is not getopt: long options are never abbreviated, an optional argument
may be the next word, an option takes the next word as its argument whatever it
looks like, and words that are no options are set aside until the end.
Knows nothing about what the options mean.  Options that only xlvs has are
known once the command is, so that all else is answered as ipvsadm does.
"""

from __future__ import annotations

_NONE, _STRING, _OPTIONAL = range(3)

_TABLE = (
    ("add-service", "A", _NONE),
    ("edit-service", "E", _NONE),
    ("delete-service", "D", _NONE),
    ("clear", "C", _NONE),
    ("list", "Ll", _NONE),
    ("zero", "Z", _NONE),
    ("add-server", "a", _NONE),
    ("edit-server", "e", _NONE),
    ("delete-server", "d", _NONE),
    ("set", "", _NONE),
    ("help", "h", _NONE),
    ("version", "v", _NONE),
    ("restore", "R", _NONE),
    ("save", "S", _NONE),
    ("start-daemon", "", _STRING),
    ("stop-daemon", "", _STRING),
    ("tcp-service", "t", _STRING),
    ("udp-service", "u", _STRING),
    ("sctp-service", "", _STRING),
    ("fwmark-service", "f", _STRING),
    ("scheduler", "s", _STRING),
    ("persistent", "p", _OPTIONAL),
    ("netmask", "M", _STRING),
    ("real-server", "r", _STRING),
    ("masquerading", "m", _NONE),
    ("ipip", "i", _NONE),
    ("gatewaying", "g", _NONE),
    ("weight", "w", _STRING),
    ("u-threshold", "x", _STRING),
    ("l-threshold", "y", _STRING),
    ("numeric", "n", _NONE),
    ("connection", "c", _NONE),
    ("mcast-interface", "", _STRING),
    ("syncid", "", _STRING),
    ("timeout", "", _NONE),
    ("daemon", "", _NONE),
    ("stats", "", _NONE),
    ("rate", "", _NONE),
    ("thresholds", "", _NONE),
    ("persistent-conn", "", _NONE),
    ("nosort", "", _NONE),
    ("sort", "", _NONE),
    ("exact", "X", _NONE),
    ("ipv6", "6", _NONE),
    ("ops", "o", _NONE),
    ("pe", "", _STRING),
    ("sched-flags", "b", _STRING),
    ("mcast-group", "", _STRING),
    ("mcast-port", "", _STRING),
    ("mcast-ttl", "", _STRING),
    ("sync-maxlen", "", _STRING),
    ("tun-info", "", _NONE),
    ("tun-type", "", _STRING),
    ("tun-port", "", _STRING),
    ("tun-nocsum", "", _NONE),
    ("tun-csum", "", _NONE),
    ("tun-remcsum", "", _NONE),
)
_KINDS = {long: kind for long, _, kind in _TABLE}
_OWN = {
    "list": {
        "output": _STRING,
        "client": _STRING,
        "server": _STRING,
        "service": _STRING,
        "state": _STRING,
        "protocol": _STRING,
        "older-than": _STRING,
        "limit": _STRING,
        "largest": _NONE,
        "idle": _NONE,
        "bytes": _NONE,
    },
    "restore": {"atomic": _NONE},
}
"""Options that ipvsadm does not have, by the command that has them; with any other they are as unknown as there."""
_SHORT = {letter: long for long, letters, _ in _TABLE for letter in letters}


class PoptError(Exception):
    """An option that cannot be read; the message is popt's own."""


class Popt:
    """One command line, read option by option.  *words* excludes the program name."""

    def __init__(self, words: list[str]) -> None:
        self.leftovers: list[str] = []
        self._words = words
        self._next = 0
        self._cluster = ""
        self._only_leftovers = False
        self._kinds = _KINDS

    def extend(self, command: str) -> None:
        """Know the options that only xlvs has, those of this *command*, from now on."""
        if command in _OWN:
            self._kinds = {**_KINDS, **_OWN[command]}

    @property
    def last_word(self) -> str:
        """The word read last: what popt names when it complains."""
        return self._words[self._next - 1]

    def next(self) -> tuple[str, str | None] | None:
        """Return (long name, argument) of the next option, or None at the end; raises `PoptError`."""
        attached: str | None = None
        if not self._cluster:
            word = self._next_option_word()
            if word is None:
                return None
            if word.startswith("--"):
                name, equals, value = word[2:].partition("=")
                if name not in self._kinds:
                    raise PoptError("unknown option")
                return name, self._argument(name, value if equals else None)
            self._cluster = word[1:]
        letter, self._cluster = self._cluster[0], self._cluster[1:]
        if letter not in _SHORT:
            raise PoptError("unknown option")
        name = _SHORT[letter]
        if self._kinds[name] != _NONE and self._cluster:
            attached, self._cluster = self._cluster.removeprefix("="), ""
        elif self._cluster.startswith("="):
            raise PoptError("option does not take an argument")
        return name, self._argument(name, attached)

    def _next_option_word(self) -> str | None:
        while self._next < len(self._words):
            word = self._words[self._next]
            self._next += 1
            if word == "--" and not self._only_leftovers:
                self._only_leftovers = True
            elif self._only_leftovers or word == "-" or not word.startswith("-"):
                self.leftovers.append(word)
            else:
                return word
        return None

    def _argument(self, name: str, attached: str | None) -> str | None:
        kind = self._kinds[name]
        if kind == _NONE:
            if attached is not None:
                raise PoptError("option does not take an argument")
            return None
        if attached is not None:
            return attached
        at_end = self._next == len(self._words)
        if kind == _OPTIONAL and (at_end or self._words[self._next].startswith("-")):
            return None
        if at_end:
            raise PoptError("missing argument")
        self._next += 1
        return self.last_word
