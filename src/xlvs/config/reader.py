"""YAML or JSON text to plain values, and where in the text each of them stands.

YAML in its core schema (YAML 1.2.2, §10.3), which editors and ruamel.yaml read,
too: ``on`` and ``no`` are text, ``1:30`` is text, only ``true`` and ``false`` are
booleans.  libyaml finds the events; they are put together here, because PyYAML's own
loader takes ten times as long and silently keeps the last of two equal keys.
Keys are text, whatever they look like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from xlvs.config.problems import Path

MAX_DEPTH = 64
MAX_VALUES = 10_000_000
"""Values in a document, an alias counted as all that it stands for."""

_TOO_MANY = f"the document is too large: its aliases make more than {MAX_VALUES} values"

Place = tuple[int, int]
"""Line and column, counted from 1."""

Places = dict[str | int, int]
"""Where each key, or item, and its value stand: line and column of both in one number.

Numbers, because the garbage collector goes through everything else again and
again: with tuples a large file took twice as long.
"""

_BITS = 32

_START: Place = (1, 1)
_STR = "tag:yaml.org,2002:str"

PLAIN = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}"),
    "float": re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?"),
}
"""What an unquoted scalar is if it is not text."""


class SyntaxFault(Exception):
    """Text that is not one YAML document; *place* is where reading it ended."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


class Tree:
    """A document: its *value*, and the place of every value and key in it.

    *faults* are what may not be in a configuration though it is YAML, such as
    a key that is there twice.
    """

    def __init__(self) -> None:
        self.value: Any = None
        self.faults: list[tuple[Place, str]] = []
        # By the identity of the container, since an alias is the same object.
        self._places: dict[int, Places] = {}
        # So that no other object gets the identity of a container which is not in the document.
        self._kept: list[Any] = []

    def note(self, container: Any, places: Places) -> None:
        """Remember where the keys and values of a *container* stand."""
        self._places[id(container)] = places

    def keep(self, container: Any) -> None:
        """Keep a *container* that does not become part of the document."""
        self._kept.append(container)

    def places(self, container: Any) -> Places:
        """Return where the keys and values of a *container* stand; empty if it is none."""
        return self._places.get(id(container), {})

    def place(self, path: Path, *, at_key: bool = False) -> Place:
        """Return where the value at *path* stands, or as much of the path as there is."""
        found, value = _START, self.value
        for depth, part in enumerate(path, 1):
            both = self.places(value).get(part)
            if both is None:
                return found
            found = _unpack(both >> _BITS * 2 if at_key and depth == len(path) else both)
            value = value[part]
        return found


def read_json(text: str) -> Any:
    """Return the value of a JSON object; None if the text is none, or has a key twice."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def read_yaml(text: str) -> Tree:
    """Return the document that *text* writes; raises `SyntaxFault`."""
    builder = _Builder()
    try:
        builder.run(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = _within(text, mark.line + 1, mark.column + 1) if mark else _START
        raise SyntaxFault(place, _syntax(text, place, err.problem or err.context or "it ends too early")) from err
    except yaml.reader.ReaderError as err:
        raise SyntaxFault(_at(text, err.position), "there is a character that may not be in YAML") from err
    except UnicodeEncodeError as err:
        raise SyntaxFault(_START, "the text has half a character: a surrogate without the other") from err
    except yaml.YAMLError as err:
        raise SyntaxFault(_START, f"not YAML: {err}") from err
    return builder.tree


def _syntax(text: str, place: Place, problem: str) -> str:
    lines = text.splitlines()
    line = lines[place[0] - 1] if place[0] <= len(lines) else ""
    if line[: place[1]].isspace() and "\t" in line[: place[1]]:
        return "not YAML: lines are indented with blanks, never with tabs"
    return f"not YAML: {problem}"


def _within(text: str, line: int, column: int) -> Place:
    """Return a place in *text*: libyaml sees the end of the text a line below the last one."""
    lines = text.splitlines()
    return (line, column) if line <= len(lines) else (len(lines), len(lines[-1]) + 1)


def _at(text: str, position: int) -> Place:
    """Return the place behind *position* bytes of UTF-8."""
    before = text.encode()[:position].decode(errors="ignore")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _place(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


def _pack(mark: yaml.Mark) -> int:
    return mark.line + 1 << _BITS | mark.column + 1


def _unpack(packed: int) -> Place:
    return packed >> _BITS & (1 << _BITS) - 1, packed & (1 << _BITS) - 1


class _Frame:
    """A container that is being read."""

    __slots__ = ("anchor", "key", "key_place", "merges", "place", "places", "value")

    def __init__(self, value: Any, place: int, anchor: str | None) -> None:
        self.value = value
        self.place = place
        self.anchor = anchor
        self.key: str | None = None
        self.key_place = place
        self.places: Places = {}
        self.merges: list[tuple[int, Any]] = []


class _Builder:
    """Puts events together; one per document."""

    def __init__(self) -> None:
        self.tree = Tree()
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Any] = {}
        self._sizes: dict[int, int] = {}
        self._aliased = 0
        self._cache: dict[str, Any] = {}

    def run(self, events: Iterator[yaml.Event]) -> None:
        """Read all *events*; raises `SyntaxFault`."""
        documents = 0
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent:
                self._open({}, event)
            elif kind is yaml.SequenceStartEvent:
                self._open([], event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise SyntaxFault(_place(event.start_mark), "a second document begins here; a file holds one")

    def _fault(self, place: int, message: str) -> None:
        self.tree.faults.append((_unpack(place), message))

    def _scalar(self, event: Any) -> None:
        text, mark = event.value, event.start_mark
        place = mark.line + 1 << _BITS | mark.column + 1
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is None and type(frame.value) is dict:
            if event.anchor:
                self._anchors[event.anchor] = text
            self._key(frame, text, place, merge=text == "<<" and event.implicit[0])
            return
        value = text
        if event.implicit[0]:
            value = self._cache.get(text, self)
            if value is self:
                value = self._cache[text] = _plain(text)
        elif event.tag not in (None, "!", _STR):
            self._fault(place, f"the tag {event.tag} is not for configurations; leave it out")
        if event.anchor:
            self._anchors[event.anchor] = value
        self._put(value, place)

    def _key(self, frame: _Frame, text: str, place: int, *, merge: bool) -> None:
        if not merge and text in frame.places:
            line = _unpack(frame.places[text] >> _BITS * 2)[0]
            self._fault(place, f"the key {text!r} is here a second time (the first is in line {line})")
        frame.key, frame.key_place = ("<<" if merge else text), place

    def _put(self, value: Any, place: int) -> None:
        """Add a whole *value* to the container that is open."""
        if not self._stack:
            self.tree.value = value
            return
        frame = self._stack[-1]
        if type(frame.value) is list:
            frame.places[len(frame.value)] = place << _BITS * 2 | place
            frame.value.append(value)
        elif frame.key is None:
            raise SyntaxFault(_unpack(place), "a key is one word, not a list or a mapping")
        elif frame.key == "<<":
            frame.merges.append((place, value))
            self.tree.keep(value)
            frame.key = None
        else:
            if frame.key not in frame.value:
                frame.value[frame.key] = value
                frame.places[frame.key] = frame.key_place << _BITS * 2 | place
            else:
                self.tree.keep(value)
            frame.key = None

    def _open(self, value: Any, event: Any) -> None:
        place = _pack(event.start_mark)
        if len(self._stack) >= MAX_DEPTH:
            raise SyntaxFault(_unpack(place), f"nested too deeply (at most {MAX_DEPTH} levels)")
        if event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            self._fault(place, f"the tag {event.tag} is not for configurations; leave it out")
        self._stack.append(_Frame(value, place, event.anchor))

    def _close(self) -> None:
        frame = self._stack.pop()
        for place, merged in frame.merges:
            for source in merged if isinstance(merged, list) else [merged]:
                if not isinstance(source, dict):
                    self._fault(place, "<< takes a mapping, such as the alias *NAME of one")
                    continue
                for key, value in source.items():
                    if key not in frame.value:
                        frame.value[key] = value
                        frame.places[key] = self.tree.places(source)[key]
        self.tree.note(frame.value, frame.places)
        if frame.anchor:
            self._anchors[frame.anchor] = frame.value
        self._put(frame.value, frame.place)

    def _alias(self, event: Any) -> None:
        place = _pack(event.start_mark)
        if any(frame.anchor == event.anchor for frame in self._stack):
            raise SyntaxFault(_unpack(place), f"the alias *{event.anchor} stands inside what it names")
        if event.anchor not in self._anchors:
            raise SyntaxFault(_unpack(place), f"there is no anchor &{event.anchor} before this alias")
        value = self._anchors[event.anchor]
        frame = self._stack[-1] if self._stack else None
        if frame is not None and type(frame.value) is dict and frame.key is None and isinstance(value, str):
            self._key(frame, value, place, merge=False)
            return
        self._aliased += self._size(value)
        if self._aliased > MAX_VALUES:
            raise SyntaxFault(_unpack(place), _TOO_MANY)
        self._put(value, place)

    def _size(self, value: Any) -> int:
        """Return how many values *value* is when its aliases are written out."""
        if not isinstance(value, list | dict):
            return 1
        size = self._sizes.get(id(value))
        if size is None:
            parts = value.values() if isinstance(value, dict) else value
            size = self._sizes[id(value)] = 1 + sum(map(self._size, parts))
        return size


def _plain(text: str) -> Any:
    """Return what the unquoted *text* means."""
    if PLAIN["int"].fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if PLAIN["null"].fullmatch(text):
        return None
    if PLAIN["bool"].fullmatch(text):
        return text[0] in "tT"
    if PLAIN["float"].fullmatch(text):
        return float(text)
    return text
