"""What makes one version of a policy another one, in words that its authors read.

    changes(before, after) -> Change, one for each thing that differs

Both are resolved: what a parent changed shows in its children. Words of term lists and examples stand apart from the
sentences, so that they can be left out: they may be what nobody wants to read.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from guard.policy.calibration import CategoryFits
from guard.policy.compiled import Policy
from guard.policy.schema import Category, PatternRule, PolicySpec, TermList, Thresholds
from guard.verdict import Action

__all__ = ["Change", "changes", "without_words"]

CONTEXT = 4
"""Words that are shown on either side of a changed one."""
MOST_PROSE = 600
"""Characters of changed prose that are shown."""
SHORT = 40
"""Characters up to which a setting's text is shown as it is."""


class Change(msgspec.Struct, frozen=True):
    """One thing that differs.

    `path` is where it stands, such as `$.categories.hate.thresholds.block`; `text` says it in a sentence. `prose` shows
    a changed text, with `[-what went-]` and `{+what came+}`; `added` and `removed` are words or examples.
    """

    path: str
    text: str
    prose: str = ""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def changes(before: Policy, after: Policy) -> tuple[Change, ...]:
    """What differs between two policies, or two versions of one; their names and comments do not count."""
    return tuple(_of_specs(before.spec, after.spec)) + tuple(_of_calibrations(before, after))


def without_words(change: Change) -> Change:
    """The change without the words and examples."""
    return msgspec.structs.replace(change, added=(), removed=())


def _of_specs(before: PolicySpec, after: PolicySpec) -> Iterator[Change]:
    if before.extends != after.extends:
        yield Change("$.extends", _extends(before.extends, after.extends))
    if before.description != after.description:
        yield Change("$.description", "description changed", prose=_prose(before.description, after.description))
    yield from _categories(before.categories, after.categories)
    for kind, article in (("terms", "terms"), ("patterns", "pattern")):
        old, new = getattr(before, kind), getattr(after, kind)
        for name in _names(old, new):
            place, said = f"$.{kind}.{name}", f"{article} `{name}`"
            if name not in new:
                yield Change(place, f"{said} removed")
            elif name not in old:
                yield Change(place, _new_rule(said, new[name]), added=getattr(new[name], "words", ()))
            else:
                yield from _rule(place, said, old[name], new[name])
    for key in PolicySpec.__struct_fields__:
        if key not in ("version", "name", "extends", "description", "categories", "terms", "patterns"):
            yield from _settings(f"$.{key}", key, getattr(before, key), getattr(after, key))


def _extends(before: str | None, after: str | None) -> str:
    if after is None:
        return f"extends `{before}` no more"
    return f"extends `{after}`" + (f" instead of `{before}`" if before is not None else "")


def _categories(before: Mapping[str, Category], after: Mapping[str, Category]) -> Iterator[Change]:
    for name in _names(before, after):
        place = f"$.categories.{name}"
        if name not in after:
            yield Change(place, f"category `{name}` removed")
        elif name not in before:
            steps = ", ".join(f"{action.word} from {start:g}" for action, start in after[name].thresholds.steps())
            yield Change(place, f"category `{name}` added" + (f": {steps}" if steps else ""))
        else:
            yield from _category(place, name, before[name], after[name])
    shared = [name for name in before if name in after]
    if shared != [name for name in after if name in before]:
        yield Change("$.categories", "categories stand in another order, in which a judge reads them")


def _category(place: str, name: str, before: Category, after: Category) -> Iterator[Change]:
    said = f"`{name}`"
    if before.enabled != after.enabled:
        yield Change(f"{place}.enabled", f"category {said} switched {'on' if after.enabled else 'off'}")
    if before.title != after.title:
        yield Change(f"{place}.title", f"{said}: title {_arrow(before.title, after.title)}")
    if before.definition != after.definition:
        yield Change(
            f"{place}.definition", f"{said}: definition changed", prose=_prose(before.definition, after.definition)
        )
    yield from _thresholds(f"{place}.thresholds", said, before.thresholds, after.thresholds)
    if before.doubt != after.doubt:
        yield Change(f"{place}.doubt", f"{said}: doubtful band {_arrow(_band(before), _band(after))}")
    for side in ("violates", "allowed"):
        yield from _words(
            f"{place}.examples.{side}",
            f"{said}: examples of what {'violates' if side == 'violates' else 'is allowed'}",
            getattr(before.examples, side),
            getattr(after.examples, side),
            kind="",
        )
    for key in ("group", "rails"):
        if _differ(before, after, key):
            yield Change(f"{place}.{key}", f"{said}: {key} {_arrow(getattr(before, key), getattr(after, key))}")
    if before.maps != after.maps:
        taxonomies = [key for key in before.maps.__struct_fields__ if _differ(before.maps, after.maps, key)]
        yield Change(f"{place}.maps", f"{said}: names in other taxonomies changed ({', '.join(taxonomies)})")


def _thresholds(place: str, said: str, before: Thresholds, after: Thresholds) -> Iterator[Change]:
    for action in Action:
        old, new = getattr(before, action.word, None), getattr(after, action.word, None)
        if old == new:
            continue
        if new is None:
            text = f"{action.word} at no score any more, before from {old:g}"
        elif old is None:
            text = f"{action.word} from {new:g}, before at no score"
        else:
            text = f"{action.word} from {old:g} to {new:g}"
        yield Change(f"{place}.{action.word}", f"{said}: {text}")


def _new_rule(said: str, rule: TermList | PatternRule) -> str:
    size = f", {_counted(len(rule.words), 'word')}" if isinstance(rule, TermList) else ""
    return f"{said} added: {rule.action}, for `{rule.category}`{size}"


def _rule(place: str, said: str, before: TermList | PatternRule, after: TermList | PatternRule) -> Iterator[Change]:
    for key in before.__struct_fields__:
        old, new = getattr(before, key), getattr(after, key)
        if key == "words":
            yield from _words(f"{place}.words", said, old, new, kind="word")
        elif key == "allow_in":
            yield from _words(f"{place}.allow_in", f"{said}: allow_in", old, new, kind="word")
        elif key == "regex" and old != new:
            # The expression itself may hold what a term list's words would.
            yield Change(
                f"{place}.regex",
                f"{said}: regex changed",
                added=(new,) if new is not None else (),
                removed=(old,) if old is not None else (),
            )
        elif old != new:
            yield Change(f"{place}.{key}", f"{said}: {key} {_arrow(old, new)}")


def _words(place: str, said: str, before: Sequence[str], after: Sequence[str], *, kind: str) -> Iterator[Change]:
    added = tuple([word for word in after if word not in set(before)])
    removed = tuple([word for word in before if word not in set(after)])
    if not added and not removed:
        if tuple(before) != tuple(after):
            yield Change(place, f"{said}: in another order")
        return
    parts = [f"{_counted(len(added), kind)} added"] if added else []
    if removed:
        parts.append(f"{len(removed) if added else _counted(len(removed), kind)} removed")
    yield Change(place, f"{said}: {', '.join(parts)}", added=added, removed=removed)


def _settings(place: str, said: str, before: Any, after: Any) -> Iterator[Change]:
    """A setting, or a mapping of settings, one by one."""
    if isinstance(before, msgspec.Struct):
        for key in before.__struct_fields__:
            yield from _settings(f"{place}.{key}", f"{said}.{key}", getattr(before, key), getattr(after, key))
    elif before != after:
        if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > SHORT:
            yield Change(place, f"{said} changed", prose=_prose(before, after))
        else:
            yield Change(place, f"{said}: {_arrow(before, after)}")


def _of_calibrations(before: Policy, after: Policy) -> Iterator[Change]:
    old = _curves(before.calibration.categories if before.calibration is not None else {})
    new = _curves(after.calibration.categories if after.calibration is not None else {})
    for name, source in _names(old, new):
        place, said = f"calibration.{name}.{source}", f"`{name}`: calibration of the {source}'s scores"
        key = (name, source)
        if key not in new:
            yield Change(place, f"{said} removed")
        elif key not in old:
            yield Change(place, f"{said} added")
        elif old[key] != new[key]:
            yield Change(place, f"{said} fitted anew")


def _curves(categories: Mapping[str, CategoryFits]) -> dict[tuple[str, str], object]:
    return {(name, source): fit.shape for name, fits in categories.items() for source, fit in fits.items()}


def _names(before: Mapping[Any, object], after: Mapping[Any, object]) -> list[Any]:
    """The keys of both, those of `after` first."""
    return [*after, *[name for name in before if name not in after]]


def _differ(before: object, after: object, key: str) -> bool:
    return bool(getattr(before, key) != getattr(after, key))


def _band(category: Category) -> str:
    return "none" if category.doubt is None else f"{category.doubt[0]:g} to {category.doubt[1]:g}"


def _arrow(before: object, after: object) -> str:
    return f"{_plain(before)} -> {_plain(after)}"


def _plain(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "none"
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case "":
            return "empty"
    return str(value)


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind}{'s' * (count != 1)}" if kind else str(count)


def _prose(before: str, after: str) -> str:
    """The changed places of a text with some words around them, on one line."""
    old, new = re.findall(r"\S+", before), re.findall(r"\S+", after)
    parts: list[str] = []
    steps = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for number, (tag, a, b, c, d) in enumerate(steps):
        if tag == "equal":
            head = old[a : min(b, a + CONTEXT)] if number else []
            tail = old[max(a, b - CONTEXT) : b] if number < len(steps) - 1 else []
            whole = b - a <= len(head) + len(tail)
            parts += old[a:b] if whole else [*head, "…", *tail]
            continue
        if b > a:
            parts.append(f"[-{' '.join(old[a:b])}-]")
        if d > c:
            parts.append(f"{{+{' '.join(new[c:d])}+}}")
    text = " ".join(parts)
    return text if len(text) <= MOST_PROSE else text[: MOST_PROSE - 1] + "…"
