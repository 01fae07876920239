"""Rollouts: which policies are tried beside those in use. `rollout.yaml` lies beside the policies' folders.

shadow   texts that are decided under a policy are also decided under these, and the two are compared
canary   a share of the requests for a policy is answered under this one

`docs/rollout.md` is the reference.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from guard.errors import InvalidPolicy, Problem
from guard.policy.compiled import Policy
from guard.policy.document import Node, parse, plain
from guard.policy.loader import POLICY_FILE, load_policies
from guard.policy.structure import structure, suggestion
from guard.policy.validate import PatternNames

__all__ = ["ROLLOUT_FILE", "Canary", "Loaded", "Rollout", "drawn", "load_folder"]

ROLLOUT_FILE = "rollout.yaml"

_Name = Annotated[str, Meta(min_length=1)]


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of the format: immutable, keywords only, unknown keys refused."""


class Canary(_Spec, frozen=True):
    """The policy that answers `percent` of the requests. `by`: what decides which ones, a text's hash or a tenant's."""

    policy: _Name
    percent: Annotated[float, Meta(ge=0.0, le=100.0)]
    by: Literal["hash", "key"] = "hash"


class Rollout(_Spec, frozen=True):
    """What is tried beside one policy."""

    shadow: tuple[_Name, ...] = ()
    canary: Canary | None = None


class Loaded(NamedTuple):
    """All of one folder: its policies, and the rollouts of some of them, by name."""

    policies: Mapping[str, Policy]
    rollouts: Mapping[str, Rollout]


def load_folder(folder: Path, patterns: PatternNames, *, keyed: bool = True) -> Loaded:
    """The policies of a folder and its rollouts. A policy's own folder has none: there is no other policy.

    `keyed`: whether callers have keys; where they have none, nothing can go by them.

    Raises:
        InvalidPolicy: with every mistake of every policy, then of the rollouts.
    """
    problems: list[Problem] = []
    policies: dict[str, Policy] | None = None
    try:
        policies = load_policies(folder, patterns)
    except InvalidPolicy as exc:
        problems += exc.problems
    rollouts, found = _rollouts(folder, policies, keyed=keyed)
    if problems or found or policies is None:
        raise InvalidPolicy(problems + found)
    return Loaded(policies, rollouts)


def drawn(secret: bytes, name: str, canary: Canary, who: str) -> bool:
    """Whether `who` belongs to the share of the requests for policy `name` that the canary answers.

    The same wherever the secret is the same; who is in a share is in every larger one too. Keyed, so that nobody
    outside can look for a text that goes to the milder of the two.
    """
    said = "\0".join((name, canary.policy, canary.by, who)).encode("utf-8", "surrogatepass")
    key = blake2b(secret).digest()
    digest = blake2b(said, key=key, digest_size=8, person=b"guard-canary").digest()
    return int.from_bytes(digest, "big") < canary.percent / 100 * 2.0**64


def _rollouts(
    folder: Path, policies: Mapping[str, Policy] | None, *, keyed: bool
) -> tuple[dict[str, Rollout], list[Problem]]:
    """Where `policies` is None nobody knows which there are, and no name is held against them."""
    file = folder / ROLLOUT_FILE
    if not file.is_file() or (folder / POLICY_FILE).is_file():
        return {}, []
    tree, problems = parse(file, str(file))
    if tree is None:
        return {}, problems
    kind = dict[_Name, Rollout]
    problems += structure(tree, kind, "$")
    problems += _sentences(tree, policies, keyed=keyed)
    problems += _circles(tree)
    if problems:
        return {}, sorted(set(problems), key=lambda problem: (problem.line, problem.path))
    return msgspec.convert(plain(tree), kind), []


class _Candidate(NamedTuple):
    """A place of the file that names a policy to be tried."""

    name: str
    node: Node
    path: str


def _candidates(name: str, rollout: Node) -> Iterator[_Candidate]:
    """What is tried beside the policy `name`; passes over what is no name."""
    shadow = rollout.get("shadow")
    for index, node in enumerate(shadow.elements() if shadow is not None else []):
        if isinstance(node.value, str):
            yield _Candidate(node.value, node, f"$.{name}.shadow[{index}]")
    node = rollout.get("canary", "policy") or rollout
    if isinstance(node.value, str):
        yield _Candidate(node.value, node, f"$.{name}.canary.policy")


def _sentences(tree: Node, policies: Mapping[str, Policy] | None, *, keyed: bool) -> Iterator[Problem]:
    """What a file's structure alone does not say."""
    for name, rollout in tree.items():
        if policies is not None and name not in policies:
            yield rollout.problem(f"$.{name}", f"no policy `{name}` here{suggestion(name, policies)}")
        if isinstance(rollout.value, dict) and not rollout.value.keys() & {"shadow", "canary"}:
            yield rollout.problem(f"$.{name}", "says nothing: give `shadow`, `canary` or both, or leave it out")
        shadowed: set[str] = set()
        for candidate in _candidates(name, rollout):
            if candidate.name == name:
                yield candidate.node.problem(candidate.path, f"`{name}` cannot be tried beside itself")
            elif policies is not None and candidate.name not in policies:
                hint = suggestion(candidate.name, policies)
                yield candidate.node.problem(candidate.path, f"no policy `{candidate.name}` here{hint}")
            if ".shadow[" in candidate.path:
                if candidate.name in shadowed:
                    yield candidate.node.problem(candidate.path, f"`{candidate.name}` stands in this list twice")
                shadowed.add(candidate.name)
        by = rollout.get("canary", "by")
        if by is not None and by.value == "key" and not keyed:
            message = "callers have no keys here, so that nothing can go by them: set GUARD_KEYS, or write `by: hash`"
            yield by.problem(f"$.{name}.canary.by", message)


def _circles(tree: Node) -> Iterator[Problem]:
    """Of two policies one is the next of the other, never both: nobody could say which one is to stay."""
    beside = {name: list(_candidates(name, rollout)) for name, rollout in tree.items()}
    done: set[str] = set()

    def walk(name: str, chain: tuple[str, ...]) -> Iterator[Problem]:
        for candidate in beside.get(name, []):
            if candidate.name == name:
                continue
            if candidate.name in chain:
                circle = " -> ".join((*chain[chain.index(candidate.name) :], candidate.name))
                yield candidate.node.problem(candidate.path, f"goes in a circle: {circle}")
            elif candidate.name not in done:
                yield from walk(candidate.name, (*chain, candidate.name))
        done.add(name)

    for name in beside:
        if name not in done:
            yield from walk(name, (name,))
