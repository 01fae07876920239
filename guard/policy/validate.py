"""What a policy must fulfil: its structure against the schema, then sentence by sentence.

Every check works on the tree of nodes and passes over what is missing or of the wrong type (the
structure check names that), so that one run reports all mistakes at once.
"""

from collections.abc import Callable, Iterator

import msgspec

from guard.errors import Problem
from guard.policy.document import Node, plain
from guard.policy.schema import PolicySpec
from guard.policy.structure import structure, suggestion

__all__ = ["PatternNames", "problems_of"]


class PatternNames(msgspec.Struct, frozen=True):
    """What the loader must know of the screen's patterns, passed in from above."""

    names: frozenset[str]
    check_regex: Callable[[str], str | None]


def problems_of(tree: Node, patterns: PatternNames) -> list[Problem]:
    """Every mistake of one policy, in no particular order."""
    problems = list(structure(tree, PolicySpec, "$"))
    for check in _CHECKS:
        problems.extend(check(tree))
    problems.extend(patterns_are_known(tree, patterns))
    return problems


def _number(node: Node | None) -> float | None:
    if node is None or isinstance(node.value, bool) or not isinstance(node.value, int | float):
        return None
    return float(node.value)


def thresholds_climb_with_the_action(tree: Node) -> Iterator[Problem]:
    """A harder action must not start at a lower score than a milder one."""
    for name, category in (tree.get("categories") or tree).items():
        thresholds = category.get("thresholds")
        if thresholds is None:
            continue
        last: tuple[str, float] | None = None
        for action in ("flag", "redact", "review", "block"):
            value = _number(thresholds.get(action))
            if value is None:
                continue
            if last is not None and value < last[1]:
                path = f"$.categories.{name}.thresholds.{action}"
                where = thresholds.get(action) or thresholds
                yield where.problem(
                    path, f"thresholds must climb: `{action}` ({value:g}) is below `{last[0]}` ({last[1]:g})"
                )
            last = (action, value)


def doubt_is_a_band(tree: Node) -> Iterator[Problem]:
    """The doubtful band goes from a lower to a higher score."""
    for name, category in (tree.get("categories") or tree).items():
        doubt = category.get("doubt")
        ends = [_number(end) for end in doubt.elements()] if doubt else []
        if doubt and len(ends) == 2 and ends[0] is not None and ends[1] is not None and ends[0] >= ends[1]:
            yield doubt.problem(
                f"$.categories.{name}.doubt", f"must go from low to high, got [{ends[0]:g}, {ends[1]:g}]"
            )


def rules_name_an_existing_category(tree: Node) -> Iterator[Problem]:
    """A term list or pattern decides for a category that the policy has."""
    categories = dict((tree.get("categories") or tree).items())
    for section in ("terms", "patterns"):
        for name, rule in (tree.get(section) or Node(None, tree.file, 0)).items():
            category = rule.get("category")
            if category is None or not isinstance(category.value, str) or category.value in categories:
                continue
            yield category.problem(
                f"$.{section}.{name}.category",
                f"the policy has no category `{category.value}`{suggestion(category.value, categories)}",
            )


def words_are_said_once(tree: Node) -> Iterator[Problem]:
    """A term list holds each word once, whatever its case."""
    for name, rule in (tree.get("terms") or Node(None, tree.file, 0)).items():
        seen: dict[str, int] = {}
        for index, word in enumerate((rule.get("words") or rule).elements()):
            if not isinstance(word.value, str):
                continue
            path = f"$.terms.{name}.words[{index}]"
            folded = " ".join(word.value.casefold().split())
            if not folded:
                yield word.problem(path, "a word must hold more than spaces")
            elif folded in seen:
                yield word.problem(path, f"`{word.value}` stands in this list twice (first in [{seen[folded]}])")
            seen.setdefault(folded, index)


def some_category_can_act(tree: Node) -> Iterator[Problem]:
    """An enabled category has a threshold, or a rule that decides for it."""
    ruled = {
        plain(category)
        for section in ("terms", "patterns")
        for _, rule in (tree.get(section) or Node(None, tree.file, 0)).items()
        if (category := rule.get("category")) is not None and isinstance(category.value, str)
    }
    for name, category in (tree.get("categories") or tree).items():
        thresholds = category.get("thresholds")
        enabled = category.get("enabled")
        if thresholds is None or name in ruled or (enabled is not None and enabled.value is False):
            continue
        if isinstance(thresholds.value, dict) and all(child.value is None for child in thresholds.value.values()):
            yield thresholds.problem(
                f"$.categories.{name}.thresholds", "no action has a threshold: the category could never act"
            )


def patterns_are_known(tree: Node, patterns: PatternNames) -> Iterator[Problem]:
    """A pattern is one of the catalogue, or brings a regular expression that compiles."""
    for name, rule in (tree.get("patterns") or Node(None, tree.file, 0)).items():
        regex = rule.get("regex")
        if regex is not None and isinstance(regex.value, str):
            fault = patterns.check_regex(regex.value)
            if fault is not None:
                yield regex.problem(f"$.patterns.{name}.regex", f"does not compile (RE2): {fault}")
        elif (regex is None or regex.value is None) and name not in patterns.names:
            hint = suggestion(name, sorted(patterns.names))
            yield rule.problem(f"$.patterns.{name}", f"no pattern `{name}` in the catalogue and no `regex` given{hint}")


_CHECKS: tuple[Callable[[Node], Iterator[Problem]], ...] = (
    thresholds_climb_with_the_action,
    doubt_is_a_band,
    rules_name_an_existing_category,
    words_are_said_once,
    some_category_can_act,
)
