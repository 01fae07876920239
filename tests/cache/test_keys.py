"""Keys: everything that an assessment depends on is in them, and nothing can be read out of them."""

import os
import subprocess
import sys

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from guard.cache import CacheKeyer
from guard.content import Content, Rail, Turn
from guard.text import Normalised, View, normalise

secrets = st.binary(min_size=16, max_size=64)
words = st.text(max_size=12)
keyer = CacheKeyer(b"a secret of sixteen", screen="screen-1", judge="judge-1")


def key_of(content: Content, policy: str = "policy-1", only: frozenset[str] | None = None) -> bytes:
    return keyer.key(content, normalise(content.text), policy, only)


def with_views(*views: tuple[str, str]) -> bytes:
    read = Normalised("x", "x", views=tuple(View(kind, text) for kind, text in views))
    return keyer.key(Content("x"), read, "policy-1")


@settings(deadline=None)
@given(st.text())
def test_the_same_content_has_the_same_key_of_32_bytes(text: str) -> None:
    """Without that nothing would ever be found again."""
    key = key_of(Content(text))
    assert key == key_of(Content(text))
    assert len(key) == 32


@settings(deadline=None)
@given(words, words)
def test_another_policy_fingerprint_is_another_key(one: str, other: str) -> None:
    """An edited definition changes what the judge answers."""
    assume(one != other)
    assert key_of(Content("x"), one) != key_of(Content("x"), other)


@settings(deadline=None)
@given(words, words)
def test_another_tenant_is_another_key(one: str, other: str) -> None:
    """What one wrote, no other can feel."""
    assume(one != other)
    keys = [keyer.key(Content("x"), normalise("x"), "policy-1", tenant=tenant) for tenant in (one, other)]
    assert keys[0] != keys[1]


@settings(deadline=None)
@given(words, words)
def test_another_text_is_another_key(one: str, other: str) -> None:
    """Texts that are screened alike share a key, others never do."""
    assume(normalise(one).text != normalise(other).text)
    assert key_of(Content(one)) != key_of(Content(other))


def test_texts_that_are_read_alike_share_a_key() -> None:
    """The screen reads the normalised text, so a ligature is no reason to score again."""
    assert key_of(Content("ﬁne")) == key_of(Content("fine"))


def test_another_rail_is_another_key() -> None:
    """Categories may be active on one side only."""
    assert key_of(Content("x", rail=Rail.INPUT)) != key_of(Content("x", rail=Rail.OUTPUT))


@settings(deadline=None)
@given(words, words)
def test_another_role_is_another_key(one: str, other: str) -> None:
    """The judge is told who speaks."""
    assume(one != other)
    assert key_of(Content("x", role=one)) != key_of(Content("x", role=other))


turns = st.lists(st.builds(Turn, words, words), max_size=4).map(tuple)


@settings(deadline=None)
@given(turns, turns)
def test_another_context_is_another_key(one: tuple[Turn, ...], other: tuple[Turn, ...]) -> None:
    """The judge reads the conversation: its order, its speakers, its length."""
    assume(one != other)
    assert key_of(Content("x", context=one)) != key_of(Content("x", context=other))


views = st.lists(st.tuples(words, words), max_size=4)


@settings(deadline=None)
@given(views, views)
def test_another_reading_is_another_key(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """A hidden block that decodes differently is a different text."""
    assume(one != other)
    assert with_views(*one) != with_views(*other)


names = st.frozensets(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), max_size=3)


@settings(deadline=None)
@given(names, names | st.none())
def test_another_choice_of_categories_is_another_key(one: frozenset[str], other: frozenset[str] | None) -> None:
    """A judge that was asked for one category has not answered for the rest."""
    assume(one != other)
    assert key_of(Content("x"), only=one) != key_of(Content("x"), only=other)


@settings(deadline=None)
@given(secrets, secrets)
def test_another_secret_is_another_key(one: bytes, other: bytes) -> None:
    """Who steals the cache cannot test guesses of a text without the secret."""
    assume(one != other)
    read = normalise("x")
    keys = [CacheKeyer(s, screen="s", judge="j").key(Content("x"), read, "p") for s in (one, other)]
    assert keys[0] != keys[1]


@settings(deadline=None)
@given(words, words, words, words)
def test_another_screen_or_judge_is_another_key(s1: str, j1: str, s2: str, j2: str) -> None:
    """A new model scores anew."""
    assume((s1, j1) != (s2, j2))
    read = normalise("x")
    secret = b"a secret of sixteen"
    keys = [CacheKeyer(secret, screen=s, judge=j).key(Content("x"), read, "p") for s, j in [(s1, j1), (s2, j2)]]
    assert keys[0] != keys[1]


letters = st.text("abc012 ", min_size=1, max_size=6)


@settings(deadline=None)
@given(letters, letters)
def test_characters_moved_to_the_next_field_change_the_key(left: str, right: str) -> None:
    """Fields are behind their lengths: what ends one can never pass for the start of the next."""
    moved, rest = left + right[0], right[1:]
    read = normalise("x")
    texts = [(left, right), (moved, rest)]
    as_policy_and_role = [keyer.key(Content("x", role=b), read, a) for a, b in texts]
    as_role_and_text = [keyer.key(Content("", role=a), Normalised(b, b), "p") for a, b in texts]
    as_turn = [key_of(Content("x", context=(Turn(a, b),))) for a, b in texts]
    as_turns = [key_of(Content("x", context=(Turn("u", a), Turn(b, "t")))) for a, b in texts]
    as_view = [with_views((a, b)) for a, b in texts]
    as_views = [with_views(("k", a), (b, "t")) for a, b in texts]
    models = [CacheKeyer(b"s" * 16, screen=a, judge=b).key(Content("x"), read, "p") for a, b in texts]
    for before, after in [
        as_policy_and_role,
        as_role_and_text,
        as_turn,
        as_turns,
        as_view,
        as_views,
        models,
    ]:
        assert before != after


@settings(deadline=None)
@given(words, words)
def test_a_turn_and_a_reading_are_not_taken_for_each_other(kind: str, text: str) -> None:
    """Both are pairs of strings at the end of the key; their counts tell them apart."""
    assert key_of(Content("x", context=(Turn(kind, text),))) != with_views((kind, text))


def test_a_lone_surrogate_has_a_key() -> None:
    """JSON can carry one in a context turn, and a cache never raises."""
    assert len(key_of(Content("x", context=(Turn("user", "\ud800"),)))) == 32


def test_replicas_with_the_same_secret_make_the_same_key() -> None:
    """Replicas share a Redis, and each process has hash randomisation of its own."""
    program = (
        "from guard.cache import CacheKeyer; from guard.content import Content, Turn\n"
        "from guard.text import normalise\n"
        "content = Content('Ｈｅｌｌｏ', role='user', context=(Turn('system', 'a'), Turn('user', 'b')))\n"
        "keyer = CacheKeyer(b'0123456789abcdef', screen='s', judge='j')\n"
        "print(keyer.key(content, normalise(content.text), 'p', frozenset('abcdefgh')).hex())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert len(told.pop().strip()) == 64
