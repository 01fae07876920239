"""Policy folders in, compiled policies out; every mistake at once, or nothing.

A policy is a folder with a `policy.yaml`, named as the policy is. `extends` is resolved here:
the child's mappings are merged onto its parent's, key by key, and a mistake is reported where it
was written. A `calibration.yaml` beside it belongs to the policy.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from guard.errors import InvalidPolicy, Problem
from guard.policy.calibration import extended, problems_in, read_calibration
from guard.policy.compiled import Policy
from guard.policy.document import Node, merge, parse, parse_text, plain
from guard.policy.schema import PolicySpec
from guard.policy.validate import PatternNames, problems_of

__all__ = ["POLICY_FILE", "load_policies", "load_text", "policy_files"]

POLICY_FILE = "policy.yaml"


def policy_files(folder: Path) -> list[Path]:
    """The policy files below `folder`, in the order of their names. A policy's own folder works too."""
    if (folder / POLICY_FILE).is_file():
        return [folder / POLICY_FILE]
    return sorted(folder.glob(f"*/{POLICY_FILE}"))


def load_policies(folder: Path, patterns: PatternNames, *, calibrated: bool = True) -> dict[str, Policy]:
    """All policies of a folder, by name.

    Where `folder` is itself one policy's folder, its siblings are read too (it may extend one of
    them) and it alone is returned. With `calibrated` false no calibration is looked at.

    Raises:
        InvalidPolicy: with every mistake of every policy, in file order.
    """
    if not folder.is_dir():
        raise InvalidPolicy([Problem(str(folder), 0, "$", "no such folder")])
    single = (folder / POLICY_FILE).is_file()
    root = folder.resolve().parent if single else folder
    files = policy_files(root)
    if not files:
        raise InvalidPolicy([Problem(str(folder), 0, "$", f"holds no policy: expected */{POLICY_FILE}")])
    documents: dict[str, Node | None] = {}
    calibrations: dict[str, Node] = {}
    problems: list[Problem] = []
    for file in files:
        tree, found = parse(file, str(file))
        if tree is not None:
            found += _name_problems(tree, file)
        documents[file.parent.name] = tree
        problems += found
        fitted, found = read_calibration(file.parent) if calibrated else (None, [])
        problems += found
        if fitted is not None:
            calibrations[file.parent.name] = fitted
    specs, found = _read_all(documents, patterns)
    problems += found
    wrong = {name: problems_in(tree, specs.get(name)) for name, tree in calibrations.items()}
    problems += [problem for found in wrong.values() for problem in found]
    policies = _compile_all(specs, {name: tree for name, tree in calibrations.items() if not wrong[name]})
    if single:
        own = folder.resolve().name
        kept = _lineage(own, documents)
        problems = [p for p in problems if Path(p.file).parent.name in kept]
        policies = {own: policies[own]} if own in policies else {}
    if problems:
        raise InvalidPolicy(_in_order(problems))
    return policies


def load_text(text: str, known: Mapping[str, Policy], patterns: PatternNames) -> Policy:
    """One policy from a string, which may extend a policy that is already loaded.

    Raises:
        InvalidPolicy: with every mistake; the file is called `policy.yaml`.
    """
    tree, problems = parse_text(text, POLICY_FILE)
    base: Policy | None = None
    if tree is None:
        raise InvalidPolicy(problems)
    if tree.get("name") is None:
        problems.append(tree.problem("$", "`name` is missing"))
    parent = tree.get("extends")
    if parent is not None and isinstance(parent.value, str):
        if parent.value in known:
            base = known[parent.value]
            tree = merge(_tree_of(base), tree)
        else:
            problems.append(parent.problem("$.extends", _no_parent(parent.value, known)))
            raise InvalidPolicy(_in_order(problems))
    problems += problems_of(tree, patterns)
    if problems:
        raise InvalidPolicy(_in_order(problems))
    spec = msgspec.convert(plain(tree), PolicySpec)
    return Policy(spec, extended(base.calibration, base.spec, spec, None) if base is not None else None)


def _name_problems(tree: Node, file: Path) -> list[Problem]:
    name = tree.get("name")
    if name is None:
        return [tree.problem("$", "`name` is missing")]
    if isinstance(name.value, str) and name.value != file.parent.name:
        return [
            name.problem("$.name", f"is `{name.value}` but the folder is called `{file.parent.name}`: make them equal")
        ]
    return []


def _read_all(
    documents: Mapping[str, Node | None], patterns: PatternNames
) -> tuple[dict[str, PolicySpec], list[Problem]]:
    specs: dict[str, PolicySpec] = {}
    problems: list[Problem] = []
    for name in documents:
        tree, found = _resolve(name, documents, ())
        if tree is not None:
            found += problems_of(tree, patterns)
        problems += found
        if tree is not None and not found:
            specs[name] = msgspec.convert(plain(tree), PolicySpec)
    return specs, problems


def _compile_all(specs: Mapping[str, PolicySpec], calibrations: Mapping[str, Node]) -> dict[str, Policy]:
    """The policies in the order of `specs`; a parent's calibration is there before its child's."""
    policies: dict[str, Policy] = {}

    def compiled(name: str) -> Policy:
        if name not in policies:
            spec = specs[name]
            base = compiled(spec.extends) if spec.extends is not None and spec.extends in specs else None
            above, parent = (base.calibration, base.spec) if base is not None else (None, None)
            policies[name] = Policy(spec, extended(above, parent, spec, calibrations.get(name)))
        return policies[name]

    return {name: compiled(name) for name in specs}


def _resolve(
    name: str, documents: Mapping[str, Node | None], below: tuple[str, ...]
) -> tuple[Node | None, list[Problem]]:
    """The document with its ancestors merged below it.

    None where it or an ancestor cannot be had: what it lacks may then be inherited, and whoever
    named it missing would send the author to the wrong place.
    """
    tree = documents[name]
    parent = tree.get("extends") if tree is not None else None
    if tree is None or parent is None or not isinstance(parent.value, str):
        return tree, []
    chain = (*below, name)
    if parent.value in chain:
        circle = " -> ".join((*chain[chain.index(parent.value) :], parent.value))
        return None, [parent.problem("$.extends", f"goes in a circle: {circle}")]
    if parent.value not in documents:
        return None, [parent.problem("$.extends", _no_parent(parent.value, documents))]
    base, problems = _resolve(parent.value, documents, chain)
    return merge(base, tree) if base is not None else None, problems


def _lineage(name: str, documents: Mapping[str, Node | None]) -> set[str]:
    """The folder names of a policy and all its ancestors."""
    kept: set[str] = set()
    current: str | None = name
    while current is not None and current not in kept:
        kept.add(current)
        tree = documents.get(current)
        parent = tree.get("extends") if tree is not None else None
        current = parent.value if parent is not None and isinstance(parent.value, str) else None
    return kept


def _no_parent(name: str, known: Mapping[str, object]) -> str:
    return f"no policy `{name}` here; there is: {', '.join(sorted(known)) or 'none'}"


def _tree_of(policy: Policy) -> Node:
    """A loaded policy as a tree, so that a text can extend it."""
    return _wrap(msgspec.to_builtins(policy.spec))


def _wrap(value: object) -> Node:
    match value:
        case dict():
            return Node({str(k): _wrap(v) for k, v in value.items()}, POLICY_FILE, 0)
        case list() | tuple():
            return Node([_wrap(v) for v in value], POLICY_FILE, 0)
        case str() | int() | float() | None:
            return Node(value, POLICY_FILE, 0)
    raise TypeError(f"no policy value: {type(value).__name__}")


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Each mistake once (a child inherits its parent's), by file and line."""
    return sorted(set(problems))
