"""Change values in YAML or JSON text and leave every other byte as it was written.

Not by loading and writing again: ruamel.yaml keeps comments, but spaces things
its own way, gives comments to the wrong item when one is removed, and writes
some mixtures of flow and block style such that nobody can read them.  Here only
the characters of a changed value are replaced, and only its lines removed.

Callers read the result again: nobody promises here that it says what was meant.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from xlvs.config.dump import inline


class Item(NamedTuple):
    """An item of a changed list: its *value*, and which item it was before (None: it is new)."""

    value: Any
    was: int | None


def patch(text: str, node: yaml.Node, old: Any, new: Any) -> str:
    """Return *text* with the value of *node*, which is *old*, made *new*; lists in *new* that differ hold `Item`."""
    patcher = _Patcher(text, as_json=text.lstrip().startswith("{"))
    patcher.change(node, old, new)
    # From the end, so that what is still to be changed keeps its place.
    for (start, end, words), _ in sorted(zip(patcher.edits, itertools.count(), strict=False), key=_order, reverse=True):
        text = text[:start] + words + text[end:]
    return text


def _order(numbered: tuple[tuple[int, int, str], int]) -> tuple[int, int, int]:
    """Return what edits are sorted by: their place, and for one place the order in which they were made."""
    (start, end, _), number = numbered
    return start, end, number


class _Patcher:
    """Collects what to replace in a text: (start, end, words)."""

    def __init__(self, text: str, *, as_json: bool) -> None:
        self.edits: list[tuple[int, int, str]] = []
        self._text = text
        self._json = as_json
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def change(self, node: Any, old: Any, new: Any) -> None:
        """Make the value of *node* be *new*."""
        if new == old:
            return
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value and type(old) is type(new):
            if isinstance(new, dict):
                self._block_mapping(node, old, new)
            elif all(isinstance(item, Item) for item in new) and new:
                self._block_sequence(node, old, new)
            else:
                self._replace_block(node, new)
        elif isinstance(node, yaml.CollectionNode) and not node.flow_style:
            self._replace_block(node, new)
        else:
            self.edits.append((node.start_mark.index, _end(node), self._flow(node, old, new)))

    def _block_mapping(self, node: Any, old: dict[str, Any], new: dict[str, Any]) -> None:
        pairs = {key.value: (key, value) for key, value in node.value}
        for word, (key, value) in pairs.items():
            if word in new:
                self.change(value, old.get(word), new[word])
            elif word in old:
                self._remove_key(node, key, value)
        last_key, last_value = node.value[-1]
        # What comes from a merged mapping is said here from now on, if it changes.
        added = [word for word in new if word not in pairs and new[word] != old.get(word)]
        if added:
            at, indent = self._line_end(max(_end(last_value), last_key.end_mark.index)), node.start_mark.column
            lines = (f"{self._newline}{' ' * indent}{word}: {self._written(new[word])}" for word in added)
            self.edits.append((at, at, "".join(lines)))

    def _remove_key(self, node: Any, key: Any, value: Any) -> None:
        start, end = self._line_start(key.start_mark.index), self._line_end(_end(value))
        if not self._text[start : key.start_mark.index].strip():
            self.edits.append((start, min(end + len(self._newline), len(self._text)), ""))
            return
        # The first key stands behind the dash of its item: the next one moves up.
        following = [other for other, _ in node.value if other.start_mark.index > key.start_mark.index]
        if following:
            self.edits.append((key.start_mark.index, following[0].start_mark.index, ""))

    def _block_sequence(self, node: Any, old: list[Any], new: Sequence[Item]) -> None:
        kept = {item.was: item.value for item in new if item.was is not None}
        if not kept:
            self._replace_block(node, new)
            return
        for i, child in enumerate(node.value):
            if i in kept:
                self.change(child, old[i], kept[i])
            else:
                start = self._line_start(self._dash(child))
                end = min(self._line_end(_end(child)) + len(self._newline), len(self._text))
                self.edits.append((start, end, ""))
        indent = self._dash(node.value[0]) - self._line_start(self._dash(node.value[0]))
        before = None
        for item in new:
            if item.was is not None:
                before = node.value[item.was]
                continue
            words = f"{' ' * indent}- {self._written(item.value)}"
            if before is None:
                at = self._line_start(self._dash(node.value[0]))
                self.edits.append((at, at, words + self._newline))
            else:
                at = self._line_end(_end(before))
                self.edits.append((at, at, self._newline + words))

    def _replace_block(self, node: Any, new: Any) -> None:
        """Put one line in the place of a block: behind the colon of its key."""
        colon = self._text.rindex(":", 0, node.start_mark.index)
        self.edits.append((colon + 1, _end(node), f" {self._written(new)}"))

    def _flow(self, node: Any, old: Any, new: Any) -> str:
        """Return the text of a *node* without lines of its own, made *new*."""
        text = self._text[node.start_mark.index : _end(node)]
        if new == old:
            return text
        if isinstance(node, yaml.MappingNode) and isinstance(new, dict):
            parts = [(key.start_mark.index, _end(value)) for key, value in node.value]
            words = [
                self._text[key.start_mark.index : value.start_mark.index]
                + self._flow(value, old[key.value], new[key.value])
                for key, value in node.value
                if key.value in new and key.value in old
            ]
            words += [f"{self._word(word)}: {self._written(new[word])}" for word in new if word not in old]
        elif isinstance(node, yaml.SequenceNode) and isinstance(new, list):
            parts = [(child.start_mark.index, _end(child)) for child in node.value]
            words = [
                self._written(item.value)
                if item.was is None
                else self._flow(node.value[item.was], old[item.was], item.value)
                for item in new
            ]
        else:
            return self._written(new)
        return self._joined(node, parts, words)

    def _joined(self, node: Any, parts: list[tuple[int, int]], words: list[str]) -> str:
        """Return a flow collection of the *words*, with the spaces and lines between them that it had."""
        start, end = node.start_mark.index, _end(node)
        if not parts:
            return self._text[start] + ", ".join(words) + self._text[end - 1]
        between = self._text[parts[0][1] : parts[1][0]] if len(parts) > 1 else ", "
        if "#" in between:
            between = ", "
        return self._text[start : parts[0][0]] + between.join(words) + self._text[parts[-1][1] : end]

    def _written(self, value: Any) -> str:
        if isinstance(value, list):
            value = [item.value if isinstance(item, Item) else item for item in value]
        return json.dumps(value) if self._json else inline(value)

    def _word(self, key: str) -> str:
        return json.dumps(key) if self._json else key

    def _dash(self, child: Any) -> int:
        return self._text.rindex("-", 0, child.start_mark.index)

    def _line_start(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        end = self._text.find(self._newline, at)
        return len(self._text) if end < 0 else end


def _end(node: Any) -> int:
    """Return where the text of *node* ends; of a block that is where its last value does, comments aside."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return max(map(_end, last)) if isinstance(last, tuple) else _end(last)
