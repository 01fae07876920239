"""YAML files as trees that know the file and line of every value."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from guard.policy.document import MAX_DEPTH, Node, merge, parse, parse_text, plain

NOT_YAML = "is not valid YAML"


def tree_of(text: str) -> Node:
    tree, problems = parse_text(text, "f.yaml")
    assert problems == []
    assert tree is not None
    return tree


def value_of(scalar: str) -> object:
    return plain(tree_of(f"key: {scalar}\n"))["key"]


def complaints(text: str) -> list[str]:
    return [str(problem) for problem in parse_text(text, "f.yaml")[1]]


def test_every_key_stands_at_its_own_line():
    """In block style a key's line is that of the key, not of the block below it."""
    tree = tree_of(
        "# a comment\na: 1\nb:\n\n  c: 2\n  d:\n    - x\n    - y: 3\n      z: 4\ne: >-\n  long\n  text\nf: 5\n"
    )
    assert (tree.file, tree.line) == ("f.yaml", 2)
    assert {key: node.line for key, node in tree.items()} == {"a": 2, "b": 3, "e": 10, "f": 13}
    assert {key: node.line for key, node in tree.get("b").items()} == {"c": 5, "d": 6}
    first, second = tree.get("b", "d").elements()
    assert (first.line, second.line) == (7, 8)
    assert {key: node.line for key, node in second.items()} == {"y": 8, "z": 9}


def test_flow_style_knows_its_lines_too():
    """Braces and brackets may run over lines; each key and element has its own."""
    tree = tree_of("a: {b: 1, c: 2,\n  d: [3,\n  4]}\n'e':\n  5\n")
    assert {key: node.line for key, node in tree.get("a").items()} == {"b": 1, "c": 1, "d": 2}
    assert [node.line for node in tree.get("a", "d").elements()] == [2, 3]
    assert tree.get("e").line == 4


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        *((word, word) for word in ("no", "No", "yes", "on", "off", "y", "n", "tRue", "nil", "=", "<<")),
        *((word, word) for word in ("0o7", "0x1f", ".inf", "-.inf", ".nan", "1_000", "12:30:45", "1e", "e5", ".")),
        *((word, word) for word in ("2020-01-01", "2020-01-01T10:00:00Z", "1.2.3", "+-1", "٣")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("null", "Null", "NULL", "~", "")),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("-7", -7),
        ("007", 7),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.5e+1", -5.0),
        ('"5"', "5"),
        ("'0.5'", "0.5"),
        ('"true"', "true"),
        ("'null'", "null"),
        ("''", ""),
        ("|\n  5", "5\n"),
        (">-\n  true", "true"),
        ("&anchor 5", 5),
    ],
)
def test_scalars_follow_the_core_schema(scalar: str, value: object):
    """Words stay words, decimal numbers are numbers, and whatever is quoted is a string."""
    found = value_of(scalar)
    assert found == value
    assert type(found) is type(value)


def test_a_number_too_long_for_an_integer_is_a_float():
    """A thousand digits cost nothing and are no error of Python's."""
    assert isinstance(value_of("9" * 30), float)
    assert value_of("9" * 10_000) == float("inf")


def test_a_key_said_twice_is_reported_with_both_lines():
    """YAML keeps the last one without a word; we don't."""
    assert complaints("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\na: 5\n") == [
        "f.yaml:5: $.b.c: key `c` stands here twice (first in line 3)",
        "f.yaml:6: $.a: key `a` stands here twice (first in line 1)",
    ]


def test_merge_keys_are_refused():
    """`extends` is the one way to inherit."""
    message = "merge keys (`<<`) are not part of the language; use `extends`"
    assert complaints("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n") == [f"f.yaml:3: $.b: {message}"]
    assert complaints("'<<': {x: 1}\n") == [f"f.yaml:1: $: {message}"]


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("!!python/object/apply:os.system [ls]", "tag:yaml.org,2002:python/object/apply:os.system"),
        ("!!python/object:guard.Guard {a: 1}", "tag:yaml.org,2002:python/object:guard.Guard"),
        ("!!python/name:os.system", "tag:yaml.org,2002:python/name:os.system"),
        ("!!str 5", "tag:yaml.org,2002:str"),
        ("!!binary aGk=", "tag:yaml.org,2002:binary"),
        ("!!set {a, b}", "tag:yaml.org,2002:set"),
        ("!env HOME", "!env"),
        ("!<tag:example.org,2000:x> 1", "tag:example.org,2000:x"),
    ],
)
def test_tags_are_refused(value: str, tag: str):
    """Data only: neither Python's tags, nor our own, nor a type forced on a value."""
    assert complaints(f"a: 1\nb: {value}\n") == [f"f.yaml:2: $.b: tag `{tag}` is not part of the language"]


def test_several_documents_in_one_file_are_refused():
    """Only one of them could be the policy."""
    tree, problems = parse_text("a: 1\n---\nb: 2\n", "f.yaml")
    assert tree is None
    assert [(p.line, p.path) for p in problems] == [(2, "$")]
    assert "another document" in problems[0].message


def test_one_document_may_have_its_markers():
    """A directive, `---` and `...` around a single document change nothing."""
    assert plain(tree_of("%YAML 1.2\n---\na: no\n...\n")) == {"a": "no"}


def test_an_alias_stands_for_its_anchor():
    """Repetition within a file is welcome; the line is that of the place that uses it."""
    tree = tree_of("a: &steps {flag: 0.5}\nb: *steps\nc: [*steps]\n")
    assert plain(tree) == {"a": {"flag": 0.5}, "b": {"flag": 0.5}, "c": [{"flag": 0.5}]}
    assert tree.get("b").line == 2


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "&root {a: *root}", "a: &a [[[*a]]]"])
def test_an_alias_to_itself_is_refused(text: str):
    """A value without an end is no value."""
    problems = complaints(text)
    assert len(problems) == 1
    assert "alias" in problems[0]


def test_a_billion_laughs_are_refused_at_once():
    """Nested aliases that stand for 10^12 values cost neither time nor memory."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    start = time.perf_counter()
    problems = complaints("\n".join(lines))
    assert time.perf_counter() - start < 5
    assert len(problems) == 1
    assert "more values than a policy can have" in problems[0]


def test_aliases_cannot_nest_without_limit():
    """Each anchor is shallow, and a chain of them is not: that may not exhaust the stack."""
    links = [f"a{i}: &a{i} {'[' * 40}*a{i - 1}{']' * 40}" for i in range(1, 200)]
    problems = complaints("\n".join(["a0: &a0 1", *links]))
    assert problems
    assert all("alias" in problem for problem in problems)


def test_an_alias_without_an_anchor_is_named_at_its_line():
    """The mistake is found by the parser and keeps its place."""
    assert complaints("a: 1\nb: *nowhere\n") == [f"f.yaml:2: $: {NOT_YAML}: found undefined alias"]


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 10_000 + "]" * 10_000,
        "a: " + "[" * 10_000,
        "a: " + "{a: " * 10_000 + "1" + "}" * 10_000,
        "\n".join(" " * depth + "a:" for depth in range(3_000)),
        "- " * 10_000,
        "a: " + "[" * 200_000,
    ],
    ids=["closed", "unclosed", "mappings", "blocks", "dashes", "very deep"],
)
def test_deep_nesting_is_refused_and_never_ends_the_process(text: str):
    """PyYAML's C composer recurses without a limit: two hundred thousand brackets were a segmentation fault."""
    start = time.perf_counter()
    tree, problems = parse_text(text, "f.yaml")
    assert time.perf_counter() - start < 5
    assert tree is None
    assert [p.message for p in problems] == [f"is nested more than {MAX_DEPTH} deep"]


def test_nesting_up_to_the_limit_is_read():
    """The limit is exact: the mapping itself is the first level."""
    inner = MAX_DEPTH - 1
    assert complaints(f"a: {'[' * inner}{']' * inner}") == []
    assert complaints(f"a: {'[' * MAX_DEPTH}{']' * MAX_DEPTH}") != []


def test_tabs_as_indentation_are_refused_at_their_line():
    """YAML forbids them there, and only there."""
    problems = complaints("a:\n  b: 1\n\tc: 2\n")
    assert len(problems) == 1
    assert problems[0].startswith(f"f.yaml:3: $: {NOT_YAML}")
    assert value_of("\t5\t# why") == 5


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null", "a word", "- a\n- b\n", "5"])
def test_what_is_no_mapping_is_told_what_to_be(text: str):
    """An empty file, a word and a list get the same advice."""
    tree, problems = parse_text(text, "f.yaml")
    assert tree is None
    assert [p.message for p in problems] == ["expected a mapping: lines such as `name: value`"]


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path):
    """Windows editors write one."""
    file = tmp_path / "policy.yaml"
    file.write_bytes("\ufeffversion: 1\r\nname: a\r\n".encode())
    tree, problems = parse(file, "f.yaml")
    assert problems == []
    assert plain(tree) == {"version": 1, "name": "a"}


@pytest.mark.parametrize("content", [b"a: \xff\xfe\n", "a: ä\n".encode("latin-1"), "a: 1\n".encode("utf-16")])
def test_a_file_that_is_not_utf8_is_told_so(tmp_path: Path, content: bytes):
    """No guessing at encodings."""
    file = tmp_path / "policy.yaml"
    file.write_bytes(content)
    tree, problems = parse(file, "f.yaml")
    assert tree is None
    assert [(p.file, p.line, p.path) for p in problems] == [("f.yaml", 0, "$")]
    assert "expected a UTF-8 file" in problems[0].message


def test_a_file_that_cannot_be_opened_is_a_problem_not_a_crash(tmp_path: Path):
    """It may be deleted between the listing and the reading."""
    tree, problems = parse(tmp_path / "gone.yaml", "gone.yaml")
    assert tree is None
    assert "cannot be read" in problems[0].message


@pytest.mark.parametrize(
    "text", ["a: \x00", "a: \ud800", "a: \x07", "a: 'x", "a: [1", "a: b: c", "%TAG", "a: @b", "\\"]
)
def test_text_that_is_no_yaml_is_a_problem_not_a_crash(text: str):
    """Control characters, lone surrogates and open brackets included."""
    tree, problems = parse_text(text, "f.yaml")
    assert tree is None
    assert len(problems) == 1


@pytest.mark.parametrize("text", ["? [a, b]\n: 1\n", "{a: 1}: 2\n", "[x]: 1\n"])
def test_a_key_that_is_no_word_is_refused(text: str):
    """Lists and mappings are no keys."""
    assert complaints(text) == ["f.yaml:1: $: a key must be a plain word"]


def test_every_mistake_of_a_file_is_collected():
    """One mistake does not hide the next."""
    assert len(complaints("a: !x 1\na: 2\n<<: {b: 1}\nc: &c [*c]\n[d]: 1\n")) == 5


def test_merging_is_deep_and_keeps_where_values_came_from():
    """Mappings merge, lists and scalars are replaced, and each value still knows its file."""
    base = parse_text("a: {x: 1, y: [1, 2]}\nb: 1\n", "base.yaml")[0]
    over = parse_text("\n\na: {y: [3], z: 4}\nc: {d: 5}\n", "over.yaml")[0]
    merged = merge(base, over)
    assert plain(merged) == {"a": {"x": 1, "y": [3], "z": 4}, "b": 1, "c": {"d": 5}}
    places = {key: (node.file, node.line) for key, node in merged.get("a").items()}
    assert places == {"x": ("base.yaml", 1), "y": ("over.yaml", 3), "z": ("over.yaml", 3)}
    assert plain(base) == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=12)
KEYS = WORDS.filter(lambda key: key != "<<")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
    # What YAML 1.1 and 1.2 disagree on, in quotes or not.
    | st.sampled_from(
        ["no", "on", "y", "0o7", "1e3", "1.5", "2020-01-01", "~", "null", "true", "1:30", "=", "- a", "#"]
    )
)
TREES = st.dictionaries(
    KEYS,
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)),
    max_size=5,
)


class _Strict(yaml.SafeDumper):
    """Quotes every string, for what YAML 1.1 leaves bare and 1.2 reads otherwise (`1e3`, `0o7`)."""


_Strict.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@given(TREES, st.sampled_from([None, True, False]), st.booleans())
def test_what_is_dumped_is_read_back(tree: dict[str, object], flow: bool | None, unicode: bool):
    """Any mapping of scalars, lists and mappings survives the way to YAML and back, in any style."""
    text = yaml.dump(tree, Dumper=_Strict, default_flow_style=flow, allow_unicode=unicode)
    assert plain(tree_of(text)) == tree


@given(st.text(max_size=200))
def test_parsing_is_total(text: str):
    """Whatever stands in a file, the answer is a tree, or problems, and never an exception."""
    tree, problems = parse_text(text, "f.yaml")
    assert (tree is None) <= bool(problems)


@given(st.text(alphabet="ab:-[]{}&*!<?|>#'\",\n \t", max_size=60))
def test_parsing_is_total_for_what_looks_like_yaml(text: str):
    """The same, for texts that are made of YAML's own signs."""
    tree, problems = parse_text(text, "f.yaml")
    assert (tree is None) <= bool(problems)
    if tree is not None:
        assert isinstance(plain(tree), dict)
