"""Cases: texts that a policy's author has an opinion about, kept beside the policy as YAML.

    policies/<name>/cases/*.yaml --document--> trees --structure, sentence by sentence--> Case
    Case.content() -> what the moderator is asked;  Case.met_by(verdict) -> whether the policy does what was expected

`docs/policies-as-code.md` is the reference of the format.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from guard.content import Content, Rail, Turn
from guard.errors import InvalidPolicy, Problem
from guard.policy import Policy
from guard.policy.document import Node, parse, plain
from guard.policy.structure import structure, suggestion
from guard.verdict import Action, ActionWord, Verdict

__all__ = ["CASES", "Case", "Expected", "Name", "case_files", "load_cases"]

CASES = "cases"
"""The folder of a policy's cases, beside its `policy.yaml`."""

Text = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[a-z0-9][a-z0-9_.:-]*$(?!\n)")]


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of the format: immutable, keywords only, unknown keys refused."""


class Expected(_Spec, frozen=True):
    """The mildest and the hardest action that will do."""

    at_least: ActionWord = "allow"
    at_most: ActionWord = "block"

    def met_by(self, action: ActionWord) -> bool:
        """Whether `action` lies between the two."""
        return Action.of(self.at_least) <= Action.of(action) <= Action.of(self.at_most)

    def __str__(self) -> str:
        if self.at_least == self.at_most:
            return self.at_least
        if self.at_most == "block":
            return f"at least {self.at_least}"
        if self.at_least == "allow":
            return f"at most {self.at_most}"
        return f"{self.at_least} to {self.at_most}"


class Message(_Spec, frozen=True):
    """One turn of a conversation."""

    role: Text
    content: Text


class CaseSpec(_Spec, frozen=True):
    """One case as it is written."""

    id: Name
    expect: ActionWord | Expected
    text: Text | None = None
    conversation: Annotated[tuple[Message, ...], Meta(min_length=1)] | None = None
    rail: Rail | None = None
    violates: tuple[str, ...] = ()
    not_violates: tuple[str, ...] = ()
    tags: tuple[Name, ...] = ()
    note: Text | None = None
    origin: Text | None = None
    known_failure: Text | None = None


class Defaults(_Spec, frozen=True):
    """What holds for every case of a file: tags are added, the others hold where a case does not say."""

    rail: Rail | None = None
    tags: tuple[Name, ...] = ()
    origin: Text | None = None


class CasesFile(_Spec, frozen=True):
    """One file of cases."""

    cases: Annotated[tuple[CaseSpec, ...], Meta(min_length=1)]
    defaults: Defaults = Defaults()


class Case(msgspec.Struct, frozen=True):
    """One case, ready to be asked.

    `id` is its own among the policy's cases. `violates` and `not_violates` are categories that must and must not be
    violated; `known_failure` says why the models of today do not manage it. `file` and `line` are where it stands.
    """

    policy: str
    id: str
    turns: tuple[Turn, ...]
    rail: Rail
    expected: Expected
    violates: tuple[str, ...]
    not_violates: tuple[str, ...]
    tags: tuple[str, ...]
    note: str
    origin: str
    known_failure: str
    file: str
    line: int

    @property
    def text(self) -> str:
        """What is judged: the text, or the conversation's last turn."""
        return self.turns[-1].text

    def content(self) -> Content:
        """What the moderator is asked."""
        return Content(self.text, self.turns[-1].role, self.rail, self.turns[:-1])

    def missed_by(self, verdict: Verdict) -> list[str]:
        """What `verdict` is not as it should be, each in a few words; empty where all is well.

        A category that the verdict's policy does not check is not violated.
        """
        missed = []
        violated = {name for name, found in verdict.categories.items() if found.violated}
        if not self.expected.met_by(verdict.action):
            missed.append(f"expected {self.expected}, got {verdict.action}")
        missed += [f"{name} is not violated" for name in self.violates if name not in violated]
        missed += [f"{name} is violated" for name in self.not_violates if name in violated]
        return missed

    def truths(self, policy: Policy) -> dict[str, bool]:
        """Which categories the case says are violated, and which not. Where all is to be allowed, none is."""
        if self.expected.at_most == "allow":
            return {category.name: False for category in policy.active(self.rail)}
        return dict.fromkeys(self.violates, True) | dict.fromkeys(self.not_violates, False)


def case_files(folder: Path) -> list[Path]:
    """The files of cases of the policy in `folder`, in the order of their names."""
    return sorted(path for path in (folder / CASES).glob("*") if path.suffix in (".yaml", ".yml"))


def load_cases(folder: Path, policy: Policy) -> tuple[Case, ...]:
    """The cases of the policy in `folder`, in the order of their files; none where there is no file.

    Raises:
        InvalidPolicy: with every mistake of every file.
    """
    cases: list[Case] = []
    problems: list[Problem] = []
    first: dict[str, Case] = {}
    for path in case_files(folder):
        tree, found = parse(path, str(path))
        if tree is not None:
            found += [problem for problem in structure(tree, CasesFile, "$") if not problem.path.endswith("].expect")]
            found += _sentences(tree, policy)
        problems += found
        if found or tree is None:
            continue
        for case in _cases(tree, policy):
            before = first.setdefault(case.id, case)
            if before is not case:
                there = f"{before.file}:{before.line}"
                problems.append(Problem(case.file, case.line, "$.cases", f"id `{case.id}` is taken by {there}"))
            cases.append(case)
    if problems:
        raise InvalidPolicy(sorted(set(problems)))
    return tuple(cases)


def _cases(tree: Node, policy: Policy) -> Iterator[Case]:
    written = msgspec.convert(plain(tree), CasesFile)
    places = (tree.get("cases") or tree).elements()
    for spec, place in zip(written.cases, places, strict=True):
        turns = _turns(spec)
        rail = spec.rail or written.defaults.rail or _rail(turns[-1].role)
        if not turns[-1].role and rail is Rail.OUTPUT:
            turns = (Turn("assistant", turns[-1].text),)
        expected = (
            spec.expect if isinstance(spec.expect, Expected) else Expected(at_least=spec.expect, at_most=spec.expect)
        )
        yield Case(
            policy=policy.name,
            id=spec.id,
            turns=turns,
            rail=rail,
            expected=expected,
            violates=spec.violates,
            not_violates=spec.not_violates,
            tags=tuple(dict.fromkeys((*written.defaults.tags, *spec.tags))),
            note=spec.note or "",
            origin=spec.origin or written.defaults.origin or "",
            known_failure=spec.known_failure or "",
            file=tree.file,
            line=place.line,
        )


def _turns(spec: CaseSpec) -> tuple[Turn, ...]:
    if spec.conversation is not None:
        return tuple([Turn(message.role, message.content) for message in spec.conversation])
    return (Turn("", spec.text or ""),)


def _rail(role: str) -> Rail:
    return Rail.OUTPUT if role == "assistant" else Rail.INPUT


def _sentences(tree: Node, policy: Policy) -> Iterator[Problem]:
    """What a file's structure alone does not say. Passes over what the structure check has named."""
    default_rail = tree.get("defaults", "rail")
    for index, case in enumerate((tree.get("cases") or tree).elements()):
        path = f"$.cases[{index}]"
        said = [name for name in ("text", "conversation") if case.get(name) is not None]
        if len(said) != 1:
            yield case.problem(path, f"give either `text` or `conversation`{', not both' if said else ''}")
        yield from _an_expectation_can_be_met(case, path)
        rail = _rail_of(case, default_rail)
        wanted = _names(case, "violates")
        if wanted and case.get("expect") is not None and (case.get("expect") or case).value == "allow":
            yield wanted[0][1].problem(
                f"{path}.violates", "a text that is allowed violates nothing: expect `flag` or more"
            )
        unwanted = _names(case, "not_violates")
        for name, node in unwanted:
            if name in dict(wanted):
                yield node.problem(f"{path}.not_violates", f"`{name}` stands in `violates` too")
        for key, names in (("violates", wanted), ("not_violates", unwanted)):
            for name, node in names:
                yield from _a_category_is_checked(name, node, f"{path}.{key}", policy, rail)


def _an_expectation_can_be_met(case: Node, path: str) -> Iterator[Problem]:
    expect = case.get("expect")
    if expect is None:
        return
    words = [action.word for action in Action]
    given = plain(expect)
    if isinstance(given, dict):
        known = (
            bool(given) and given.keys() <= {"at_least", "at_most"} and all(word in words for word in given.values())
        )
    else:
        known = given in words
    if not known:
        message = f"expected an action ({', '.join(words)}), or `at_least` or `at_most` with one"
        yield expect.problem(f"{path}.expect", message)
    elif isinstance(given, dict):
        ends = msgspec.convert(given, Expected)
        if Action.of(ends.at_least) > Action.of(ends.at_most):
            yield expect.problem(f"{path}.expect", "`at_least` is a harder action than `at_most`")


def _a_category_is_checked(name: str, node: Node, path: str, policy: Policy, rail: Rail | None) -> Iterator[Problem]:
    if name not in policy.categories:
        yield node.problem(
            path, f"policy `{policy.name}` has no category `{name}`{suggestion(name, policy.categories)}"
        )
    elif rail is not None and name not in {category.name for category in policy.active(rail)}:
        yield node.problem(path, f"policy `{policy.name}` does not check `{name}` on the {rail} rail")


def _names(case: Node, key: str) -> list[tuple[str, Node]]:
    found = case.get(key)
    return [(node.value, node) for node in found.elements() if isinstance(node.value, str)] if found else []


def _rail_of(case: Node, default: Node | None) -> Rail | None:
    """The rail that a case will have; None where it is not one."""
    said = case.get("rail") or default
    if said is not None:
        return Rail(said.value) if said.value in set(Rail) else None
    turns = (case.get("conversation") or case).elements()
    role = turns[-1].get("role") if turns else None
    return _rail(role.value if role is not None and isinstance(role.value, str) else "")
