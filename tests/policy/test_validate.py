"""What a policy must fulfil: each check on its own, on its right and its wrong side."""

from collections.abc import Callable

import pytest

Problems = Callable[[str], list[tuple[int, str, str]]]

LIST_EXPECTED = "expected a list, each element on a line with `- `"
POLICY_KEYS = (
    "`version`, `name`, `description`, `categories`, `extends`, `terms`, `patterns`, `redaction`, `chat`, `mode`, "
    "`long_text`, `when_judge_fails`, `when_screen_fails`, `deadline_ms`, "
    "`store_verdicts`, `store_texts`, `retention_days`, `when_store_fails`"
)


def test_a_right_policy_has_no_problems(problems: Problems, forum: str):
    """The text that all these tests start from is right."""
    assert problems(forum) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("version: 1\n", "", (1, "$", "`version` is missing")),
        ("name: forum\n", "", (1, "$", "`name` is missing")),
        ("description: A forum.\n", "", (1, "$", "`description` is missing")),
        ("    title: Hate\n", "", (5, "$.categories.hate", "`title` is missing")),
        ("    group: harm\n", "", (5, "$.categories.hate", "`group` is missing")),
        (
            "    definition: The text attacks people for what they are.\n",
            "",
            (5, "$.categories.hate", "`definition` is missing"),
        ),
        (
            "    thresholds: {flag: 0.5, review: 0.7, block: 0.9}\n",
            "",
            (5, "$.categories.hate", "`thresholds` is missing"),
        ),
    ],
)
def test_required_keys_are_named_where_they_are_missing(
    problems: Problems, forum: str, old: str, new: str, expected: tuple[int, str, str]
):
    """The line is that of the mapping that lacks the key."""
    line, path, message = expected
    if path != "$":
        line = 5
    assert problems(forum.replace(old, new)) == [(line, path, message)]


def test_a_policy_without_categories_is_told_so_once(problems: Problems):
    """No other check complains about what is not there."""
    head = "version: 1\nname: forum\ndescription: A forum.\n"
    assert problems(head) == [(1, "$", "`categories` is missing")]
    assert problems(head + "categories: {}\n") == [(4, "$.categories", "must not be empty")]
    assert problems(head + "categories:\n") == [(4, "$.categories", "expected a mapping of names")]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("version: 1", "version: 2", (1, "$.version", "expected one of `1`, got 2")),
        ("version: 1", "version: '1'", (1, "$.version", "expected one of `1`, got '1'")),
        ("version: 1", "version: true", (1, "$.version", "expected one of `1`, got True")),
        ("A forum.", "5", (3, "$.description", "expected `str`, got `int`")),
        ("A forum.", "''", (3, "$.description", "expected `str` of length >= 1")),
        ("A forum.", "", (3, "$.description", "expected `str`, got `null`")),
        ("title: Hate", "title: no", None),
        ("title: Hate", "title: [Hate]", (6, "$.categories.hate.title", "expected `str`, got `array`")),
        (
            "The text attacks people for what they are.",
            "Hate.",
            (7, "$.categories.hate.definition", "expected `str` of length >= 20"),
        ),
        ("The text attacks people for what they are.", "Twenty characters 20", None),
        ("flag: 0.5", "flag: 0", None),
        ("block: 0.9", "block: 1", None),
        ("flag: 0.5", "flag: null", None),
        ("flag: 0.5", "flag: -0.1", (9, "$.categories.hate.thresholds.flag", "expected `float` >= 0.0")),
        ("block: 0.9", "block: 1.01", (9, "$.categories.hate.thresholds.block", "expected `float` <= 1.0")),
        ("block: 0.9", "block: 1e999", (9, "$.categories.hate.thresholds.block", "expected `float` <= 1.0")),
        (
            "flag: 0.5",
            "flag: '0.5'",
            (9, "$.categories.hate.thresholds.flag", "expected `float | null`, got `str`"),
        ),
        (
            "flag: 0.5",
            "flag: true",
            (9, "$.categories.hate.thresholds.flag", "expected `float | null`, got `bool`"),
        ),
        (
            "{flag: 0.5, review: 0.7, block: 0.9}",
            "0.5",
            (9, "$.categories.hate.thresholds", "expected a mapping with `flag`, `redact`, `review`, `block`"),
        ),
    ],
)
def test_values_have_their_type_and_range(
    problems: Problems, forum: str, old: str, new: str, expected: tuple[int, str, str] | None
):
    """Numbers in quotes are no numbers, words are strings, bounds are inclusive."""
    assert problems(forum.replace(old, new)) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        ("deadline_ms: 1", None),
        ("deadline_ms: 0", ("$.deadline_ms", "expected `int` >= 1")),
        ("deadline_ms: 1.5", ("$.deadline_ms", "expected `int`, got `float`")),
        ("store_texts: true", None),
        ("store_verdicts: flagged", None),
        (
            "store_verdicts: some",
            ("$.store_verdicts", "expected one of `none`, `flagged`, `all`, got 'some'"),
        ),
        ("retention_days: 3650", None),
        ("retention_days: 0", ("$.retention_days", "expected `int` >= 1")),
        ("retention_days: 3651", ("$.retention_days", "expected `int` <= 3650")),
        ("when_store_fails: refuse", None),
        (
            "when_store_fails: block",
            ("$.when_store_fails", "expected one of `answer`, `refuse`, got 'block'"),
        ),
        ("store_texts: no", ("$.store_texts", "expected `bool`, got `str`")),
        ("mode: self_reflection", None),
        ("mode: reflection", ("$.mode", "expected one of `questions`, `self_reflection`, got 'reflection'")),
        ("long_text: whole", None),
        ("long_text: half", ("$.long_text", "expected one of `windows`, `whole`, got 'half'")),
        ("when_judge_fails: allow", None),
        (
            "when_judge_fails: flag",
            ("$.when_judge_fails", "expected one of `allow`, `review`, `block`, got 'flag'"),
        ),
        (
            "when_screen_fails: off",
            ("$.when_screen_fails", "expected one of `allow`, `review`, `block`, got 'off'"),
        ),
        ("extends: null", None),
        ("extends: 5", ("$.extends", "expected `str | null`, got `int`")),
        ("redaction: {style: mask, restore: true}", None),
        ("redaction: {style: hash}", ("$.redaction.style", "expected one of `placeholder`, `mask`, got 'hash'")),
        ("redaction: mask", ("$.redaction", "expected a mapping with `style`, `restore`")),
        ("chat: {scope: last_k, last_k: 1}", None),
        ("chat: {last_k: 0}", ("$.chat.last_k", "expected `int` >= 1")),
        ("chat: {streaming: {mode: buffer, hold_back_characters: 0}}", None),
        (
            "chat: {streaming: {hold_back_ms: 60001}}",
            ("$.chat.streaming.hold_back_ms", "expected `int` <= 60000"),
        ),
        ("chat: {refusals: {input: ''}}", ("$.chat.refusals.input", "expected `str` of length >= 1")),
        ("terms: []", ("$.terms", "expected a mapping of names")),
        ("patterns: {}", None),
    ],
)
def test_optional_keys_are_checked_where_they_stand(
    problems: Problems, forum: str, addition: str, expected: tuple[str, str] | None
):
    """Line 10 is the one that was added."""
    assert problems(f"{forum}{addition}\n") == ([(10, *expected)] if expected else [])


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        ("    rails: [input]", None),
        ("    rails: []", ("rails", "must not be empty")),
        ("    rails: input", ("rails", LIST_EXPECTED)),
        ("    rails: [inputs]", ("rails[0]", "invalid enum value 'inputs'")),
        ("    enabled: true", None),
        ("    doubt: [0.2, 0.8]", None),
        ("    doubt: null", None),
        ("    doubt: [0, 1]", None),
        ("    doubt: [0.8, 0.2]", ("doubt", "must go from low to high, got [0.8, 0.2]")),
        ("    doubt: [0.5, 0.5]", ("doubt", "must go from low to high, got [0.5, 0.5]")),
        ("    doubt: [0.5]", ("doubt", "expected `array` of length 2, got 1")),
        ("    doubt: [0.5, 1.5]", ("doubt", "expected `float` <= 1.0")),
        ("    doubt: 0.5", ("doubt", "expected `array | null`, got `float`")),
        ("    examples: {violates: [a, b], allowed: []}", None),
        ("    examples: {violates: [a, 5]}", ("examples.violates[1]", "expected `str`, got `int`")),
        ("    examples: {violates: a}", ("examples.violates", LIST_EXPECTED)),
        ("    maps: {openai: [hate], llama_guard: [S10]}", None),
        ("    maps: {openai: ['']}", ("maps.openai[0]", "expected `str` of length >= 1")),
    ],
)
def test_optional_keys_of_a_category_are_checked(
    problems: Problems, forum: str, addition: str, expected: tuple[str, str] | None
):
    """The path leads to the very element."""
    wanted = [(10, f"$.categories.hate.{expected[0]}", expected[1])] if expected else []
    assert problems(f"{forum}{addition}\n") == wanted


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    group:", "    gruop:", (8, "$.categories.hate.gruop", "unknown key `gruop`; did you mean `group`?")),
        (
            "flag: 0.5",
            "flg: 0.5",
            (9, "$.categories.hate.thresholds.flg", "unknown key `flg`; did you mean `flag`?"),
        ),
        (
            "flag: 0.5",
            "delete: 0.5",
            (
                9,
                "$.categories.hate.thresholds.delete",
                "unknown key `delete`; known keys: `flag`, `redact`, `review`, `block`",
            ),
        ),
        ("description", "1.5", (3, "$.1.5", f"unknown key `1.5`; known keys: {POLICY_KEYS}")),
        ("version: 1\n", "version: 1\nmod: questions\n", (2, "$.mod", "unknown key `mod`; did you mean `mode`?")),
        (
            "version: 1\n",
            "version: 1\nwhen_juge_fails: block\n",
            (2, "$.when_juge_fails", "unknown key `when_juge_fails`; did you mean `when_judge_fails`?"),
        ),
    ],
)
def test_unknown_keys_say_what_was_probably_meant(
    problems: Problems, forum: str, old: str, new: str, expected: tuple[int, str, str]
):
    """A close key is suggested; where none is close, all are listed."""
    assert expected in problems(forum.replace(old, new))


@pytest.mark.parametrize("name", ["a", "forum-2", "0x", "a" * 64])
def test_names_of_policies_are_short_and_plain(problems: Problems, forum: str, name: str):
    """They stand in addresses, headers and log lines."""
    assert problems(forum.replace("name: forum", f"name: '{name}'")) == []


@pytest.mark.parametrize("name", ["Forum", "-a", "_a", "a b", "a@b", "a/b", "ä", "", "a" * 65, "a\\n"])
def test_other_names_of_policies_are_refused(problems: Problems, forum: str, name: str):
    """An `@` would be taken for a pin, a `/` for a path."""
    found = problems(forum.replace("name: forum", f'name: "{name}"'))
    assert [(line, path) for line, path, _ in found] == [(2, "$.name")]


@pytest.mark.parametrize("name", ["hate", "h", "hate_speech_2"])
def test_names_inside_a_policy_are_lower_case_words(problems: Problems, forum: str, name: str):
    """Letters, digits and underscores, starting with a letter."""
    assert problems(forum.replace("  hate:", f"  {name}:")) == []


@pytest.mark.parametrize("name", ["Hate", "hate-speech", "2hate", "_hate", "hässlich", "a b", "''"])
def test_other_names_inside_a_policy_are_refused(problems: Problems, forum: str, name: str):
    """They become keys of answers and labels of metrics."""
    found = problems(forum.replace("  hate:", f"  {name}:"))
    name = name.strip("'")
    message = f"name `{name}` may hold only a-z, 0-9 and _, starting with a letter"
    assert found == [(5, f"$.categories.{name}", message)]


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ("{flag: 0.5, redact: 0.5, review: 0.5, block: 0.5}", None),
        ("{flag: 0.1, block: 0.2}", None),
        ("{block: 0.2}", None),
        ("{block: 0.9, flag: 0.1}", None),
        ("{flag: 0.6, block: 0.5}", "thresholds must climb: `block` (0.5) is below `flag` (0.6)"),
        ("{redact: 0.7, review: 0.6, block: 0.8}", "thresholds must climb: `review` (0.6) is below `redact` (0.7)"),
        ("{flag: 0.6, redact: null, review: 0.5}", "thresholds must climb: `review` (0.5) is below `flag` (0.6)"),
    ],
)
def test_thresholds_climb_with_the_action(problems: Problems, forum: str, thresholds: str, message: str | None):
    """Equal is allowed; absent actions are passed over; the order of the keys does not matter."""
    found = problems(forum.replace("{flag: 0.5, review: 0.7, block: 0.9}", thresholds))
    assert [text for _, _, text in found] == ([message] if message else [])


def test_each_fall_of_the_thresholds_is_reported_at_its_own_line(problems: Problems, forum: str):
    """Two falls are two mistakes."""
    block = "\n      flag: 0.9\n      redact: 0.8\n      review: 0.85\n      block: 0.1"
    found = problems(forum.replace(" {flag: 0.5, review: 0.7, block: 0.9}", block))
    assert [(line, path.rpartition(".")[2]) for line, path, _ in found] == [(11, "redact"), (13, "block")]


@pytest.mark.parametrize("thresholds", ["{}", "{flag: null, block: null}"])
def test_an_enabled_category_must_be_able_to_act(problems: Problems, forum: str, thresholds: str):
    """It needs a threshold or a rule, unless it is switched off."""
    text = forum.replace("{flag: 0.5, review: 0.7, block: 0.9}", thresholds)
    expected = (9, "$.categories.hate.thresholds", "no action has a threshold: the category could never act")
    assert problems(text) == [expected]
    assert problems(f"{text}    enabled: true\n") == [expected]
    assert problems(f"{text}    enabled: false\n") == []
    assert problems(f"{text}terms: {{slurs: {{category: hate, action: flag, words: [a]}}}}\n") == []
    assert problems(f"{text}patterns: {{email: {{category: hate, action: flag}}}}\n") == []


@pytest.mark.parametrize("section", ["terms", "patterns"])
def test_a_rule_decides_for_a_category_that_exists(problems: Problems, forum: str, section: str):
    """A misspelt category is pointed out, with the one that was meant."""
    words = ", words: [x]" if section == "terms" else ""

    def rule(category: str) -> str:
        return f"{forum}{section}:\n  email:\n    {{category: {category}, action: flag{words}}}\n"

    path = f"$.{section}.email.category"
    assert problems(rule("hate")) == []
    assert problems(rule("hat")) == [(12, path, "the policy has no category `hat`; did you mean `hate`?")]
    assert problems(rule("spam")) == [(12, path, "the policy has no category `spam`; known keys: `hate`")]
    assert problems(rule("[hate]")) == [(12, path, "expected `str`, got `array`")]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{category: hate, action: flag, words: [a], match: substring, allow_in: [b], rails: [output]}", []),
        ("{category: hate, action: flag}", [("", "`words` is missing")]),
        ("{action: flag, words: [a]}", [("", "`category` is missing")]),
        ("{category: hate, words: [a]}", [("", "`action` is missing")]),
        ("{category: hate, action: flag, words: []}", [(".words", "must not be empty")]),
        ("{category: hate, action: flag, words: word}", [(".words", LIST_EXPECTED)]),
        ("{category: hate, action: flag, words: [no, on]}", []),
        ("{category: hate, action: flag, words: [1]}", [(".words[0]", "expected `str`, got `int`")]),
        (
            "{category: hate, action: allow, words: [a]}",
            [(".action", "expected one of `flag`, `redact`, `review`, `block`, got 'allow'")],
        ),
        (
            "{category: hate, action: flag, words: [a], match: words}",
            [(".match", "expected one of `word`, `substring`, got 'words'")],
        ),
    ],
)
def test_term_lists_are_checked(problems: Problems, forum: str, rule: str, expected: list[tuple[str, str]]):
    """Words that YAML 1.1 takes for booleans are words; numbers need quotes."""
    found = problems(f"{forum}terms:\n  list: {rule}\n")
    assert found == [(11, f"$.terms.list{path}", message) for path, message in expected]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("[idiot, idiots]", []),
        ("[idiot, Idiot]", ["[1]: `Idiot` stands in this list twice (first in [0])"]),
        ("[a b, x, ' A   B ']", ["[2]: ` A   B ` stands in this list twice (first in [0])"]),
        ("[straße, STRASSE]", ["[1]: `STRASSE` stands in this list twice (first in [0])"]),
        ("[a, a, a]", [f"[{i}]: `a` stands in this list twice (first in [0])" for i in (1, 2)]),
        ("[' ', a]", ["[0]: a word must hold more than spaces"]),
    ],
)
def test_words_are_said_once(problems: Problems, forum: str, words: str, expected: list[str]):
    """Case and the width of spaces make no other word."""
    found = problems(f"{forum}terms:\n  list: {{category: hate, action: flag, words: {words}}}\n")
    assert [f"{path}: {message}" for _, path, message in found] == [f"$.terms.list.words{e}" for e in expected]


def test_two_lists_may_share_a_word(problems: Problems, forum: str):
    """One list may flag on the input what another blocks on the output."""
    rule = "{category: hate, action: flag, words: [a]}"
    assert problems(f"{forum}terms: {{one: {rule}, two: {rule}}}\n") == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("email: {category: hate, action: redact}", None),
        ("ticket: {category: hate, action: redact, regex: '(T-[0-9]+)'}", None),
        ("email: {category: hate, action: redact, regex: '(a)'}", None),
        (
            "ticket: {category: hate, action: redact, regex: '(T-[0-9]+'}",
            ("$.patterns.ticket.regex", "does not compile (RE2): missing )"),
        ),
        (
            "e_mail: {category: hate, action: redact}",
            (
                "$.patterns.e_mail",
                "no pattern `e_mail` in the catalogue and no `regex` given; did you mean `email`?",
            ),
        ),
        (
            "ticket: {category: hate, action: redact, regex: 5}",
            ("$.patterns.ticket.regex", "expected `str | null`, got `int`"),
        ),
        ("email: {category: hate, action: redact, regex: null}", None),
        (
            "e_mail: {category: hate, action: redact, regex: null}",
            (
                "$.patterns.e_mail",
                "no pattern `e_mail` in the catalogue and no `regex` given; did you mean `email`?",
            ),
        ),
    ],
)
def test_patterns_are_known_or_bring_a_regex(
    problems: Problems, forum: str, rule: str, expected: tuple[str, str] | None
):
    """A pattern is the catalogue's, or has a regular expression that compiles."""
    assert problems(f"{forum}patterns:\n  {rule}\n") == ([(11, *expected)] if expected else [])
