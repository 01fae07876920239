"""A tree of nodes held against a schema of structs: what is missing, unknown or of the wrong type, and where."""

import difflib
from collections.abc import Collection, Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from guard.errors import Problem
from guard.policy.document import Node, plain

__all__ = ["structure", "suggestion"]


def structure(node: Node, expected: Any, path: str) -> Iterator[Problem]:
    """Walks the schema's types beside the tree; `path` is the JSONPath of `node`."""
    kind = _bare(expected)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _struct(node, kind, path)
    elif get_origin(kind) is dict:
        yield from _mapping(node, expected, path)
    elif get_origin(kind) is tuple and get_args(kind)[1:] == (Ellipsis,):
        yield from _sequence(node, expected, path)
    else:
        yield from _leaf(node, expected, path)


def _struct(node: Node, kind: type[msgspec.Struct], path: str) -> Iterator[Problem]:
    if not isinstance(node.value, dict):
        yield node.problem(path, f"expected a mapping with {_listed(kind.__struct_fields__)}")
        return
    hints = get_type_hints(kind, include_extras=True)
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    for name in sorted(required - node.value.keys()):
        yield node.problem(path, f"`{name}` is missing")
    for key, child in node.items():
        if key in hints:
            yield from structure(child, hints[key], f"{path}.{key}")
        else:
            yield child.problem(f"{path}.{key}", f"unknown key `{key}`{suggestion(key, hints)}")


def _mapping(node: Node, expected: Any, path: str) -> Iterator[Problem]:
    name, element = get_args(_bare(expected))
    if not isinstance(node.value, dict):
        yield node.problem(path, "expected a mapping of names")
        return
    if not node.value and expected is not _bare(expected):
        yield node.problem(path, "must not be empty")
    for key, child in node.items():
        if name is not str:
            yield from _leaf(Node(key, child.file, child.line), name, f"{path}.{key}")
        elif not _is_name(key):
            yield child.problem(f"{path}.{key}", f"name `{key}` may hold only a-z, 0-9 and _, starting with a letter")
        yield from structure(child, element, f"{path}.{key}")


def _sequence(node: Node, expected: Any, path: str) -> Iterator[Problem]:
    if not isinstance(node.value, list):
        yield node.problem(path, "expected a list, each element on a line with `- `")
        return
    if not node.value and expected is not _bare(expected):
        yield node.problem(path, "must not be empty")
    element = get_args(_bare(expected))[0]
    for index, child in enumerate(node.value):
        yield from structure(child, element, f"{path}[{index}]")


def _leaf(node: Node, expected: Any, path: str) -> Iterator[Problem]:
    try:
        msgspec.convert(plain(node), expected, strict=True)
    except msgspec.ValidationError as exc:
        message = str(exc).split(" - at `")[0]
        choices = get_args(expected) if get_origin(expected) is Literal else ()
        if choices:
            message = f"expected one of {_listed(choices)}, got {plain(node)!r}"
        yield node.problem(path, message[:1].lower() + message[1:])


def _bare(expected: Any) -> Any:
    """A type without its constraints, and without `| None`."""
    if hasattr(expected, "__metadata__"):
        expected = expected.__origin__
    if get_origin(expected) in (Union, UnionType):
        options = [option for option in get_args(expected) if option is not type(None)]
        if len(options) == 1:
            return _bare(options[0])
    return expected


def suggestion(key: str, known: Collection[str]) -> str:
    """The end of a message about an unknown key: the known one that is nearest, or all of them."""
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known keys: {_listed(known)}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _is_name(key: str) -> bool:
    return key.isascii() and key.replace("_", "a").isalnum() and key[:1].isalpha() and key == key.lower()
