"""YAML read into a tree that remembers the file and line of every value.

Scalars follow the YAML 1.2 core schema: only `true` and `false` are booleans, so `no` and `on` stay
the words that they are; numbers are decimal, so `0x1f` and `.inf` are words too. Duplicate
keys, merge keys, tags and several documents in one file are mistakes, reported and not guessed at.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import yaml

from guard.errors import Problem

__all__ = ["Node", "merge", "parse", "plain"]

Scalar: TypeAlias = str | int | float | bool | None
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"

MAX_NODES = 200_000
"""Values in one document: far above any policy, low enough that nested aliases cannot fill memory."""

MAX_DEPTH = 50
"""Values inside one another. The parser recurses in C, where too deep a file would end the process."""

_UNTAGGED = ""
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")


class Node(NamedTuple):
    """A value and where it stands. `value` is a scalar, a list of nodes, or a mapping of nodes."""

    value: "Scalar | list[Node] | dict[str, Node]"
    file: str
    line: int

    def problem(self, path: str, message: str) -> Problem:
        """A problem at this place."""
        return Problem(self.file, self.line, path, message)

    def get(self, *keys: str) -> "Node | None":
        """The node under `keys`, or None where a key is missing or its parent is no mapping."""
        node: Node | None = self
        for key in keys:
            node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
        return node

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The entries of a mapping; none for anything else."""
        if isinstance(self.value, dict):
            yield from self.value.items()

    def elements(self) -> list["Node"]:
        """The elements of a list; none for anything else."""
        return self.value if isinstance(self.value, list) else []


def parse(path: Path, shown_as: str) -> tuple[Node | None, list[Problem]]:
    """Reads one file; the tree is None where the file is no YAML mapping at all."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        return None, [Problem(shown_as, 0, "$", f"cannot be read: {exc}; expected a UTF-8 file")]
    return parse_text(text, shown_as)


def parse_text(text: str, shown_as: str) -> tuple[Node | None, list[Problem]]:
    """Reads one document from a string; see `parse`."""
    try:
        line = _too_deep(text)
        if line is not None:
            return None, [Problem(shown_as, line, "$", f"is nested more than {MAX_DEPTH} deep")]
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 0
        return None, [Problem(shown_as, line, "$", f"is not valid YAML: {exc.problem or exc.context}")]
    except (yaml.YAMLError, ValueError) as exc:
        return None, [Problem(shown_as, 0, "$", f"is not valid YAML: {exc}")]
    if not isinstance(root, yaml.MappingNode):
        return None, [Problem(shown_as, 1, "$", "expected a mapping: lines such as `name: value`")]
    builder = _Builder(shown_as)
    return builder.build(root, "$"), builder.problems


def plain(node: Node) -> Plain:
    """The tree as ordinary Python values."""
    match node.value:
        case dict() as mapping:
            return {key: plain(child) for key, child in mapping.items()}
        case list() as elements:
            return [plain(child) for child in elements]
        case scalar:
            return scalar


def merge(base: Node, over: Node) -> Node:
    """`over` on top of `base`: mappings merge key by key, everything else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, over.file, over.line)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Tags nothing by itself, so that every tag left is one that the author wrote."""

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: object) -> str:
        return _UNTAGGED


def _too_deep(text: str) -> int | None:
    """The line of the first value that is nested too deeply; raises what the parser raises."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return event.start_mark.line + 1 if event.start_mark else 0
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None


class _Builder:
    """Turns PyYAML's nodes into ours and collects what is wrong on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._count = 0
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: str) -> Node:
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > MAX_NODES or id(node) in self._open or len(self._open) > MAX_DEPTH:
            if self._count <= MAX_NODES + 1:
                self._report(line, path, "holds an alias to itself or more values than a policy can have")
            return Node(None, self.file, line)
        self._open.add(id(node))
        try:
            return Node(self._value(node, path), self.file, line)
        finally:
            self._open.discard(id(node))

    def _value(self, node: yaml.Node, path: str) -> "Scalar | list[Node] | dict[str, Node]":
        if node.tag != _UNTAGGED:
            self._report(node.start_mark.line + 1, path, f"tag `{node.tag}` is not part of the language")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.build(child, f"{path}[{i}]") for i, child in enumerate(node.value)]
            case _:
                return _scalar(str(node.value), quoted=bool(getattr(node, "style", None)))

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(line, path, "a key must be a plain word")
                continue
            key = str(key_node.value)
            child_path = f"{path}.{key}"
            if key == "<<":
                self._report(line, path, "merge keys (`<<`) are not part of the language; use `extends`")
            elif key in children:
                first = children[key].line
                self._report(line, child_path, f"key `{key}` stands here twice (first in line {first})")
            else:
                built = self.build(value_node, child_path)
                # A key's own line is what an author looks for, not that of a block below it.
                children[key] = built._replace(line=line)
        return children

    def _report(self, line: int, path: str, message: str) -> None:
        self.problems.append(Problem(self.file, line, path, message))


def _scalar(text: str, *, quoted: bool) -> Scalar:
    """One scalar under the core schema; a quoted or block scalar is always a string."""
    if quoted:
        return text
    match text:
        case "" | "~" | "null" | "Null" | "NULL":
            return None
        case "true" | "True" | "TRUE":
            return True
        case "false" | "False" | "FALSE":
            return False
    if _INT.match(text):
        return int(text) if len(text) < 20 else float(text)
    if _FLOAT.match(text):
        return float(text)
    return text
