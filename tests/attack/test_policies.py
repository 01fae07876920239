"""Policies that are made to hurt, and names that are made to leave the folder."""

import contextlib
import json
import time
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.errors import InvalidPolicy
from guard.policy.loader import load_text
from guard.policy.schema import PatternRule
from guard.screen.patterns import PatternSet, check_regex
from guard.service import pattern_names
from tests.conftest import Server

HEAD = "version: 1\nname: forum\ndescription: A forum.\nextends: default\n"
PATTERN = HEAD + "patterns:\n  odd: {{category: pii, action: redact, regex: {regex}}}\n"
NAMES = [
    "../default", "..", ".", "/etc/passwd", "default/../strict", "..\\default", "default\0", "default\0.yaml",
    "ｄefault", "de\u200bfault", "\u202edefault", "Default", "default ", "default@../x", "default@*",
    "default@", "@", "@x", "default@@x", "default@x@y",
    "~", "*", "", "\n", "default\r\nX-Injected: yes", "x" * 100_000,
]  # fmt: skip
PATHS = [*NAMES[:-1], "x" * 8_000]


@pytest.mark.parametrize("letter", ["a", "x", ","])
@pytest.mark.parametrize(
    "regex", ["(a+)+$", "(a|a)*b", "(a|aa)+$", "([a-z]+)*=", "(.*,){25}x", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y"]
)
def test_an_expression_that_would_go_back_and_forth_takes_no_time(regex: str, letter: str):
    """They are RE2's, which reads a text once; elsewhere thirty of these letters would be too many."""
    assert check_regex(regex) is None
    patterns = PatternSet({"odd": PatternRule(category="pii", action="flag", regex=regex)})
    asked = time.monotonic()
    patterns.find(letter * 10_000 + "!")
    assert time.monotonic() - asked < 2


@pytest.mark.parametrize("regex", [r"(a)\1", "(?=a)b", "(?<!a)b", "((a{100}){100}){100}", "[a", "(?P<n>a"])
def test_an_expression_that_RE2_does_not_have_is_a_mistake(server: Server, regex: str):
    """Back references, looking around, a billion states: told with the line, within a second."""
    asked = time.monotonic()
    answer = server.client.post("/policies/validate", json={"yaml": PATTERN.format(regex=json.dumps(regex))})
    assert time.monotonic() - asked < 2
    assert answer.status_code == 200
    assert answer.json()["valid"] is False


@pytest.mark.parametrize(
    "yaml",
    [
        "a: &a [x,x]\n" + "".join(f"{n}: &{n} [{f'*{p},' * 9}]\n" for p, n in pairwise("abcdefghi")),
        "[" * 100_000,
        "{a: " * 20_000,
        "- " * 50_000,
        "name: !!python/object/apply:os.system ['true']\n",
        "? " * 30_000,
        "&a " * 30_000,
        "name: " + "9" * 100_000,
        "version: 1e400\nname: 0x" + "f" * 50_000,
        "\0", "\ufeff" * 1_000, "--- " * 20_000,
    ],
    ids=range(12),
)  # fmt: skip
def test_a_policy_that_is_a_bomb_is_a_mistake(server: Server, yaml: str):
    """Aliases that grow, nesting without end, tags, numbers without end: an answer within two seconds."""
    asked = time.monotonic()
    answer = server.client.post("/policies/validate", json={"yaml": yaml})
    assert time.monotonic() - asked < 5
    assert (answer.status_code, answer.json()["valid"]) == (200, False)
    assert server.client.get("/healthz").status_code == 200


KEYS = st.sampled_from(["version", "name", "extends", "categories", "patterns", "terms", "redaction", "chat", "x"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("forum")),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=9))
def test_the_loader_knows_one_error(tree: dict[str, object]):
    """Whatever stands in a policy: it is one, or its mistakes are named."""
    with contextlib.suppress(InvalidPolicy):
        load_text(json.dumps(tree), {}, pattern_names())


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_is_looked_up_and_never_opened(server: Server, name: str):
    """In a body, in a header: there is no such policy; an empty one is none."""
    expected = 200 if not name else 404
    assert server.moderate("Hi", policy=name).status_code == expected
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "guard": {"policy": name}}
    response = server.client.post("/v1/chat/completions", json=body)
    assert response.status_code == (503 if not name else 404)
    assert "X-Injected" not in response.headers


@pytest.mark.parametrize("name", PATHS, ids=range(len(PATHS)))
def test_an_address_leads_to_policies_alone(server: Server, name: str):
    """However its dots and slashes are written; nothing of a file is shown."""
    for written in {quote(name, safe=""), quote(quote(name, safe=""), safe=""), quote(name, safe="/")}:
        response = server.client.get(f"/policies/{written}" if written else "/policies/%20")
        assert response.status_code in (200, 404), written
        if response.status_code == 200:
            # The client itself has followed the dots.
            assert response.url.path in ("/policies/default", "/policies/strict", "/policies", "/policies/")
        assert "version: 1" not in response.text
    assert "Traceback" not in server.log()
