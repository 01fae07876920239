"""Cases written as the YAML that `load_cases` reads."""

from collections.abc import Sequence
from typing import Any

import yaml

from guard.content import Rail
from guard.errors import DatasetError
from guard.policy.document import MAX_NODES
from guard.regress.cases import Case, Expected

__all__ = ["cases_yaml"]


class _Quoted(str):
    """A text that is always quoted: bare, `1e5` would be read as a number."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    pass


_Dumper.add_representer(
    _Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
)


def cases_yaml(cases: Sequence[Case], *, heading: str, origin: str) -> str:
    """One file. All that is not ASCII is an escape, for what cannot be seen, or looks like something else, is there.

    `heading` is a comment at its head; `origin` holds for every case.

    Raises:
        DatasetError: an id is too long, or there are more cases than one file can hold.
    """
    long = next((case.id for case in cases if len(case.id) > 100), None)
    if long is not None:
        raise DatasetError(f"id `{long}` is longer than 100 characters: give the case behind it a shorter one")
    tree = {"defaults": {"origin": _Quoted(origin)}, "cases": [_tree(case) for case in cases]}
    if (values := _values(tree)) > MAX_NODES:
        raise DatasetError(
            f"{len(cases)} cases have {values} values, and a file holds {MAX_NODES}: choose with --attack or --sample"
        )
    written: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=120)
    return f"# {heading}\n{written}"


def _tree(case: Case) -> dict[str, Any]:
    role = case.turns[-1].role
    usual = Rail.OUTPUT if role == "assistant" else Rail.INPUT
    tree: dict[str, Any] = {"id": _Quoted(case.id)}
    if len(case.turns) == 1 and (not role or (role == "assistant" and case.rail is Rail.OUTPUT)):
        tree["text"] = _Quoted(case.text)
        usual = Rail.INPUT
    else:
        tree["conversation"] = [{"role": _Quoted(turn.role), "content": _Quoted(turn.text)} for turn in case.turns]
    if case.rail is not usual:
        tree["rail"] = case.rail.value
    tree["expect"] = _expected(case.expected)
    for key in ("violates", "not_violates"):
        if names := getattr(case, key):
            tree[key] = list(names)
    tree["tags"] = [_Quoted(tag) for tag in case.tags]
    for key in ("note", "known_failure"):
        if text := getattr(case, key):
            tree[key] = _Quoted(text)
    return tree


def _expected(expected: Expected) -> Any:
    if expected.at_least == expected.at_most:
        return expected.at_least
    ends = {"at_least": expected.at_least, "at_most": expected.at_most}
    usual = {"at_least": "allow", "at_most": "block"}
    return {end: word for end, word in ends.items() if word != usual[end]} or ends


def _values(tree: Any) -> int:
    match tree:
        case dict():
            return 1 + sum(map(_values, tree.values()))
        case list():
            return 1 + sum(map(_values, tree))
        case _:
            return 1
