"""Folders in, policies out: every mistake at once, inheritance, and texts that are not in a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from guard.content import Rail
from guard.errors import InvalidPolicy, Problem
from guard.policy import PatternNames, Policy, load_policies
from guard.policy.loader import load_text
from guard.verdict import Action

Write = Callable[[str, str], Path]
Shown = Callable[[list[Problem], Path], list[str]]

BASE = """\
version: 1
name: base
description: The base.
categories:
  hate:
    title: Hate
    definition: The text attacks people for what they are.
    group: harm
    thresholds: {flag: 0.5, block: 0.9}
    examples:
      violates: [one, two]
      allowed: [three]
  spam:
    title: Spam
    definition: The text sells what nobody asked for.
    group: nuisance
    thresholds: {flag: 0.5}
terms:
  slurs: {category: hate, action: flag, words: [a, b, c], allow_in: [a b]}
deadline_ms: 5000
chat:
  refusals: {input: No., output: Stop.}
"""

WRONG = {
    "ads": """\
version: 1
name: adverts
description: Advertising.
categorys: {}
categories:
  spam:
    title: Spam
    definition: too short
    group: nuisance
    thresholds: {flag: 0.8, block: 0.6}
    doubt: [0.9, 0.1]
    rails: [inbox]
  scam:
    title: Scam
    title: Scams
    group: nuisance
    thresholds: {}
""",
    "base": BASE.replace("flag: 0.5, block: 0.9", "flag: 0.5, block: 90"),
    "broken": "version: 1\nname: broken\ncategories: {hate: [\n",
    "child": """\
# Only what differs from base.
version: 1
name: child
extends: base
description: A child of the base.
categories:
  hate:
    thresholds: {flag: 0.95, block: 0.96}
terms:
  insults:
    category: harrassment
    action: delete
    words:
      - idiot
      - moron
      - IDIOT
patterns:
  emial: {category: hate, action: redact}
  ticket:
    category: hate
    action: redact
    regex: "([0-9]+"
deadline_ms: soon
store_texts: yes
""",
    "egg": "version: 1\nname: egg\nextends: hen\ndescription: Which came first?\n",
    "kid": "version: 1\nname: kid\nextends: broken\ndescription: Of a file that is no YAML.\n",
    "hen": "version: 1\nname: hen\nextends: egg\ndescription: Or this one?\n",
    "orphan": "version: 1\nname: orphan\nextends: bse\ndescription: A slip.\ncategories: {hate: {enabled: no}}\n",
    "tagged": BASE.replace("name: base", "name: !!python/name:os.system tagged").replace(
        "  hate:", "  <<: {}\n  hate:"
    ),
}

GOLDEN = """\
ads/policy.yaml:2: $.name: is `adverts` but the folder is called `ads`: make them equal
ads/policy.yaml:4: $.categorys: unknown key `categorys`; did you mean `categories`?
ads/policy.yaml:8: $.categories.spam.definition: expected `str` of length >= 20
ads/policy.yaml:10: $.categories.spam.thresholds.block: thresholds must climb: `block` (0.6) is below `flag` (0.8)
ads/policy.yaml:11: $.categories.spam.doubt: must go from low to high, got [0.9, 0.1]
ads/policy.yaml:12: $.categories.spam.rails[0]: invalid enum value 'inbox'
ads/policy.yaml:13: $.categories.scam: `definition` is missing
ads/policy.yaml:15: $.categories.scam.title: key `title` stands here twice (first in line 14)
ads/policy.yaml:17: $.categories.scam.thresholds: no action has a threshold: the category could never act
base/policy.yaml:9: $.categories.hate.thresholds.block: expected `float` <= 1.0
broken/policy.yaml:4: $: is not valid YAML: did not find expected node content
child/policy.yaml:11: $.terms.insults.category: the policy has no category `harrassment`; known keys: `hate`, `spam`
child/policy.yaml:12: $.terms.insults.action: expected one of `flag`, `redact`, `review`, `block`, got 'delete'
child/policy.yaml:16: $.terms.insults.words[2]: `IDIOT` stands in this list twice (first in [0])
child/policy.yaml:18: $.patterns.emial: no pattern `emial` in the catalogue and no `regex` given; did you mean `email`?
child/policy.yaml:22: $.patterns.ticket.regex: does not compile (RE2): missing )
child/policy.yaml:23: $.deadline_ms: expected `int`, got `str`
child/policy.yaml:24: $.store_texts: expected `bool`, got `str`
egg/policy.yaml:3: $.extends: goes in a circle: hen -> egg -> hen
hen/policy.yaml:3: $.extends: goes in a circle: egg -> hen -> egg
orphan/policy.yaml:3: $.extends: no policy `bse` here; there is: ads, base, broken, child, egg, hen, kid, orphan, tagged
tagged/policy.yaml:2: $.name: tag `tag:yaml.org,2002:python/name:os.system` is not part of the language
tagged/policy.yaml:5: $.categories: merge keys (`<<`) are not part of the language; use `extends`
"""


def refused(folder: Path, patterns: PatternNames) -> list[Problem]:
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(folder, patterns)
    return caught.value.problems


def test_all_mistakes_of_a_folder_are_reported_at_once(
    write: Write, folder: Path, patterns: PatternNames, shown: Shown
):
    """Nine files, more than twenty mistakes: each once, in its own file, line and path."""
    for name, text in WRONG.items():
        write(name, text)
    problems = refused(folder, patterns)
    assert shown(problems, folder) == GOLDEN.splitlines()


def test_the_exception_says_everything_in_its_text(write: Write, folder: Path, patterns: PatternNames, forum: str):
    """A command prints it as it is."""
    write("forum", forum.replace("version: 1", "version: 2"))
    with pytest.raises(InvalidPolicy, match=r"(?s)1 problem in the policies:\n  .*forum/policy.yaml:1: \$\.version: "):
        load_policies(folder, patterns)


def test_policies_come_by_name_in_order(write: Write, folder: Path, patterns: PatternNames, forum: str):
    """The folder's order is the alphabet's, whatever the file system's."""
    for name in ("zebra", "ant", "mole"):
        write(name, forum.replace("name: forum", f"name: {name}"))
    (folder / "README.md").write_text("no policy")
    (folder / "empty").mkdir()
    policies = load_policies(folder, patterns)
    assert list(policies) == ["ant", "mole", "zebra"]
    assert [policy.name for policy in policies.values()] == ["ant", "mole", "zebra"]


def test_a_folder_that_is_not_there_or_empty_is_refused(folder: Path, patterns: PatternNames):
    """A service without a policy would let everything pass."""
    assert refused(folder, patterns) == [Problem(str(folder), 0, "$", "holds no policy: expected */policy.yaml")]
    gone = folder / "gone"
    assert refused(gone, patterns) == [Problem(str(gone), 0, "$", "no such folder")]


def test_a_policy_is_named_as_its_folder(write: Write, folder: Path, patterns: PatternNames, forum: str):
    """Otherwise a request for the folder's name would miss it."""
    file = write("board", forum)
    message = "is `forum` but the folder is called `board`: make them equal"
    assert refused(folder, patterns) == [Problem(str(file), 2, "$.name", message)]


def test_a_name_is_not_inherited(write: Write, folder: Path, patterns: PatternNames):
    """A child without a name would answer under its parent's."""
    write("base", BASE)
    file = write("child", "version: 1\nextends: base\n")
    assert refused(folder, patterns) == [Problem(str(file), 1, "$", "`name` is missing")]


def test_a_child_inherits_what_it_does_not_say(write: Write, folder: Path, patterns: PatternNames):
    """Mappings merge at every depth; lists and scalars are replaced."""
    write("base", BASE)
    write(
        "child",
        """\
version: 1
name: child
extends: base
description: A child.
categories:
  hate:
    thresholds: {flag: null, block: 0.8}
    examples: {violates: [four]}
  own:
    title: Own
    definition: The text is about something else.
    group: own
    thresholds: {block: 0.1}
terms:
  slurs: {words: [d]}
chat: {refusals: {output: Enough.}}
""",
    )
    child = load_policies(folder, patterns)["child"].spec
    hate = child.categories["hate"]
    assert (child.name, child.extends, child.description, child.deadline_ms) == ("child", "base", "A child.", 5000)
    assert hate.thresholds.steps() == ((Action.BLOCK, 0.8),)
    assert (hate.title, hate.examples.violates, hate.examples.allowed) == ("Hate", ("four",), ("three",))
    assert (child.terms["slurs"].words, child.terms["slurs"].allow_in) == (("d",), ("a b",))
    assert (child.chat.refusals.input, child.chat.refusals.output) == ("No.", "Enough.")
    assert list(child.categories) == ["hate", "spam", "own"]


def test_a_chain_of_three_is_resolved_from_its_root(write: Write, folder: Path, patterns: PatternNames):
    """The nearest word wins, wherever in the alphabet the files stand."""
    write("base", BASE)
    write("a", "version: 1\nname: a\nextends: b\ndescription: A.\ndeadline_ms: 1\n")
    write("b", "version: 1\nname: b\nextends: base\ndescription: B.\ndeadline_ms: 2\nstore_texts: true\n")
    policies = load_policies(folder, patterns)
    assert [policies[name].spec.deadline_ms for name in ("a", "b", "base")] == [1, 2, 5000]
    assert [policies[name].spec.store_texts for name in ("a", "b", "base")] == [True, True, False]
    assert policies["a"].spec.categories == policies["base"].spec.categories


def test_a_circle_is_shown_once_per_file(write: Write, folder: Path, patterns: PatternNames, shown: Shown):
    """Each file on the circle is told; a file that leads into it is not to blame."""
    for name, parent in {"a": "b", "b": "c", "c": "a", "d": "a", "self": "self"}.items():
        write(name, f"version: 1\nname: {name}\nextends: {parent}\ndescription: X.\n")
    circle = "policy.yaml:3: $.extends: goes in a circle: "
    assert shown(refused(folder, patterns), folder) == [
        f"a/{circle}b -> c -> a -> b",
        f"b/{circle}c -> a -> b -> c",
        f"c/{circle}a -> b -> c -> a",
        f"self/{circle}self -> self",
    ]


def test_an_unknown_parent_is_the_only_complaint(write: Write, folder: Path, patterns: PatternNames):
    """What the child lacks it would have inherited, so nothing else is called missing."""
    write("base", BASE)
    file = write(
        "child", "version: 1\nname: child\nextends: bse\ndescription: X.\ncategories: {hate: {enabled: false}}\n"
    )
    message = "no policy `bse` here; there is: base, child"
    assert refused(folder, patterns) == [Problem(str(file), 3, "$.extends", message)]


def test_an_unreadable_parent_is_reported_at_the_parent_alone(write: Write, folder: Path, patterns: PatternNames):
    """Its children are not told that it does not exist: it does."""
    file = write("base", "a: [\n")
    write("child", "version: 1\nname: child\nextends: base\ndescription: X.\n")
    assert [problem.file for problem in refused(folder, patterns)] == [str(file)]


def test_an_inherited_mistake_is_reported_once_and_where_it_was_made(
    write: Write, folder: Path, patterns: PatternNames
):
    """Three children do not make four mistakes of one."""
    file = write("base", BASE.replace("flag: 0.5, block: 0.9", "flag: 0.5, blok: 0.9"))
    for name in ("a", "b", "c"):
        write(name, f"version: 1\nname: {name}\nextends: base\ndescription: X.\n")
    message = "unknown key `blok`; did you mean `block`?"
    assert refused(folder, patterns) == [Problem(str(file), 9, "$.categories.hate.thresholds.blok", message)]


def test_a_child_is_told_where_it_clashes_with_what_it_inherits(write: Write, folder: Path, patterns: PatternNames):
    """The merged policy is checked as a whole; the line is the child's own."""
    write("base", BASE)
    file = write(
        "child",
        "version: 1\nname: child\nextends: base\ndescription: X.\ncategories: {hate: {thresholds: {block: 0.4}}}\n",
    )
    problem = refused(folder, patterns)[0]
    assert (problem.file, problem.line, problem.path) == (str(file), 5, "$.categories.hate.thresholds.block")


def test_a_single_policy_folder_finds_its_parent_beside_it(write: Write, folder: Path, patterns: PatternNames):
    """Only that policy is returned, and only its own and its ancestors' mistakes count."""
    write("base", BASE)
    child = write("child", "version: 1\nname: child\nextends: base\ndescription: X.\n").parent
    write("unrelated", "a: [")
    policies = load_policies(child, patterns)
    assert list(policies) == ["child"]
    assert len(policies["child"].active(Rail.INPUT)) == 2
    base = write("base", BASE.replace("deadline_ms: 5000", "deadline_ms: 0"))
    assert [(p.file, p.line) for p in refused(child, patterns)] == [(str(base), 20)]
    base.write_text("a: [")
    assert [p.file for p in refused(child, patterns)] == [str(base)]


def test_a_text_may_extend_a_loaded_policy(write: Write, folder: Path, patterns: PatternNames):
    """What comes by the API is resolved against what is in use, exactly as a file would be."""
    write("base", BASE)
    text = "version: 1\nname: child\nextends: base\ndescription: X.\nterms: {slurs: {action: block}}\n"
    write("child", text)
    loaded = load_policies(folder, patterns)
    compiled = load_text(text, {"base": loaded["base"]}, patterns)
    assert compiled.spec == loaded["child"].spec
    assert compiled.fingerprint == loaded["child"].fingerprint


def test_mistakes_of_a_text_are_reported_at_its_lines(write: Write, folder: Path, patterns: PatternNames):
    """The file is called `policy.yaml`; an unknown parent lists what is loaded."""
    write("base", BASE)
    loaded = load_policies(folder, patterns)

    def told(text: str) -> list[str]:
        with pytest.raises(InvalidPolicy) as caught:
            load_text(text, loaded, patterns)
        return [str(problem) for problem in caught.value.problems]

    head = "version: 1\nname: child\ndescription: X.\n"
    assert told(f"{head}extends: base\ndeadline_ms: 0\nnme: x\n") == [
        "policy.yaml:5: $.deadline_ms: expected `int` >= 1",
        "policy.yaml:6: $.nme: unknown key `nme`; did you mean `name`?",
    ]
    assert told(f"{head}extends: bas\n") == ["policy.yaml:4: $.extends: no policy `bas` here; there is: base"]
    assert told("version: 1\nextends: base\n") == ["policy.yaml:1: $: `name` is missing"]
    assert told("- a\n") == ["policy.yaml:1: $: expected a mapping: lines such as `name: value`"]


def test_loading_leaves_nothing_shared_between_policies(write: Write, folder: Path, patterns: PatternNames):
    """Two loads of one folder give equal fingerprints and separate objects."""
    write("base", BASE)
    first, second = (load_policies(folder, patterns)["base"] for _ in range(2))
    assert isinstance(first, Policy)
    assert first is not second
    assert first.fingerprint == second.fingerprint
