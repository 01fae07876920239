"""Rollouts: what is read, what is a mistake, and who is drawn for a canary."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import InvalidPolicy, PolicyNotFound
from guard.policy import Canary, PatternNames, Policy, PolicyBook, Rollout, load_folder
from guard.policy.rollout import drawn

Write = Callable[[str, str], Path]
SECRET = b"a secret for the tests"


@pytest.fixture
def policies(write: Write, folder: Path, forum: str) -> Path:
    """A folder with `forum`, `next` (another threshold) and `other` (another definition)."""
    write("forum", forum)
    write("next", forum.replace("name: forum", "name: next").replace("0.9", "0.8"))
    write("other", forum.replace("name: forum", "name: other").replace("for what they are", "for anything"))
    return folder


def rolled_out(folder: Path, text: str) -> Path:
    (folder / "rollout.yaml").write_text(text, encoding="utf-8")
    return folder


def a_book(folder: Path, patterns: PatternNames, text: str, **more: bool) -> PolicyBook:
    return PolicyBook(rolled_out(folder, text), patterns, secret=SECRET, **more)


def chosen(book: PolicyBook, texts: Sequence[str], name: str = "forum", **more: object) -> list[str]:
    """The names of the policies that answer requests which begin so."""
    given = {"tenant": "shop"} | more
    return [book.chosen(name, beginning=lambda text=text: text, **given).name for text in texts]


def test_a_rollout_has_what_was_written(policies, patterns):
    text = "forum:\n  shadow: [next, other]\n  canary: {policy: next, percent: 5}\nother: {shadow: [next]}\n"
    loaded = load_folder(rolled_out(policies, text), patterns)
    assert list(loaded.policies) == ["forum", "next", "other"]
    assert loaded.rollouts == {
        "forum": Rollout(shadow=("next", "other"), canary=Canary(policy="next", percent=5.0, by="hash")),
        "other": Rollout(shadow=("next",)),
    }


def test_without_a_file_nothing_is_tried(policies, patterns):
    assert load_folder(policies, patterns).rollouts == {}
    assert chosen(PolicyBook(policies, patterns), ["a text"]) == ["forum"]


def test_a_policys_own_folder_has_no_rollout(policies, patterns):
    """There is no other policy that it could be about."""
    rolled_out(policies, "forum: {shadow: [next]}\n")
    assert load_folder(policies / "forum", patterns).rollouts == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("form: {shadow: [next]}\n", "1: $.form: no policy `form` here; did you mean `forum`?"),
        ("forum:\n  shadow: [nxt]\n", "2: $.forum.shadow[0]: no policy `nxt` here; did you mean `next`?"),
        (
            "forum:\n  canary: {policy: zzz, percent: 5}\n",
            "2: $.forum.canary.policy: no policy `zzz` here; known keys: `forum`, `next`, `other`",
        ),
        ("forum: {shadow: [forum]}\n", "1: $.forum.shadow[0]: `forum` cannot be tried beside itself"),
        (
            "forum:\n  canary: {policy: forum, percent: 5}\n",
            "2: $.forum.canary.policy: `forum` cannot be tried beside itself",
        ),
        ("forum: {shadow: [next, next]}\n", "1: $.forum.shadow[1]: `next` stands in this list twice"),
        ("forum: {}\n", "1: $.forum: says nothing: give `shadow`, `canary` or both, or leave it out"),
        ("forum: {shadows: [next]}\n", "1: $.forum.shadows: unknown key `shadows`; did you mean `shadow`?"),
        ("forum: {shadow: next}\n", "1: $.forum.shadow: expected a list, each element on a line with `- `"),
        ("forum: {canary: {policy: next}}\n", "1: $.forum.canary: `percent` is missing"),
        (
            "forum: {canary: {policy: next, percent: 101}}\n",
            "1: $.forum.canary.percent: expected `float` <= 100.0",
        ),
        (
            "forum: {canary: {policy: next, percent: 5, by: luck}}\n",
            "1: $.forum.canary.by: expected one of `hash`, `key`, got 'luck'",
        ),
        ("- forum\n", "1: $: expected a mapping: lines such as `name: value`"),
        (
            "forum: {shadow: [next]}\nnext: {shadow: [forum]}\n",
            "2: $.next.shadow[0]: goes in a circle: forum -> next -> forum",
        ),
        (
            "other: {shadow: [forum]}\nforum: {canary: {policy: next, percent: 1}}\nnext: {shadow: [other]}\n",
            "3: $.next.shadow[0]: goes in a circle: other -> forum -> next -> other",
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(policies, patterns, text, expected):
    with pytest.raises(InvalidPolicy) as caught:
        load_folder(rolled_out(policies, text), patterns)
    assert expected in [f"{p.line}: {p.path}: {p.message}" for p in caught.value.problems]
    assert {Path(problem.file).name for problem in caught.value.problems} == {"rollout.yaml"}


def test_two_ways_to_one_policy_are_no_circle(policies, patterns):
    text = "forum: {shadow: [next, other]}\nnext: {shadow: [other]}\n"
    assert set(load_folder(rolled_out(policies, text), patterns).rollouts) == {"forum", "next"}


def test_mistakes_of_policies_and_rollouts_are_told_together(policies, patterns, write):
    """A policy that could not be read is not called unknown."""
    write("next", "nonsense")
    rolled_out(policies, "forum: {shadow: [next], canery: {}}\n")
    with pytest.raises(InvalidPolicy) as caught:
        load_folder(policies, patterns)
    assert [Path(problem.file).name for problem in caught.value.problems] == ["policy.yaml", "rollout.yaml"]
    assert caught.value.problems[1].path == "$.forum.canery"


def test_by_key_needs_keys(policies, patterns):
    """Where everybody is the same caller a share would be all or nobody."""
    text = "forum:\n  canary: {policy: next, percent: 5, by: key}\n"
    with pytest.raises(InvalidPolicy, match=r"rollout\.yaml:2: \$\.forum\.canary\.by: .* set GUARD_KEYS, or write"):
        a_book(policies, patterns, text, keyed=False)
    assert a_book(policies, patterns, text).rollouts["forum"].canary.by == "key"


def test_a_rollout_is_picked_up_and_a_bad_one_keeps_the_old(policies, patterns):
    """Beginning, widening and ending it are edits like any other."""
    book = PolicyBook(policies, patterns, secret=SECRET)
    rolled_out(policies, "forum: {canary: {policy: next, percent: 100}}\n")
    assert book.refresh()
    assert chosen(book, ["a text"]) == ["next"]
    rolled_out(policies, "forum: {canary: {policy: nxt, percent: 100}}\n")
    assert not book.refresh()
    assert chosen(book, ["a text"]) == ["next"]
    assert "no policy `nxt` here" in book.status.problems[0].message
    (policies / "rollout.yaml").unlink()
    assert book.refresh()
    assert (book.status.problems, chosen(book, ["a text"])) == ((), ["forum"])


def test_a_policy_that_is_still_tried_cannot_be_deleted(policies, patterns):
    """What the rollout names would be gone: both change together."""
    book = a_book(policies, patterns, "forum: {shadow: [next]}\n")
    (policies / "next" / "policy.yaml").unlink()
    assert not book.refresh()
    assert [shadow.name for shadow in book.shadows("forum")] == ["next"]


def test_a_share_of_the_texts_goes_to_the_canary_always_the_same(policies, patterns):
    """About as many as were asked for, the same in another process with the same secret."""
    text = "forum: {canary: {policy: next, percent: 5}}\n"
    texts = [f"text {number}" for number in range(4_000)]
    found = chosen(a_book(policies, patterns, text), texts)
    # Four standard deviations.
    assert abs(found.count("next") - 200) < 55
    assert chosen(a_book(policies, patterns, text), texts) == found
    assert chosen(PolicyBook(policies, patterns, secret=b"another secret"), texts) != found


def test_by_key_a_tenant_has_one_policy(policies, patterns):
    """Whatever it sends; and tenants differ."""
    book = a_book(policies, patterns, "forum: {canary: {policy: next, percent: 50, by: key}}\n")
    by_tenant = [set(chosen(book, ["one", "two", "three"], tenant=f"t{n}")) for n in range(40)]
    assert all(len(found) == 1 for found in by_tenant)
    assert set.union(*by_tenant) == {"forum", "next"}


def test_a_pin_is_never_rerouted(policies, patterns):
    book = a_book(policies, patterns, "forum: {canary: {policy: next, percent: 100}}\n")
    assert chosen(book, ["a text"], f"forum@{book['forum'].fingerprint}") == ["forum"]
    assert chosen(book, ["a text"], "other") == ["other"]
    with pytest.raises(PolicyNotFound, match="no policy `nope`"):
        chosen(book, ["a text"], "nope")


def test_a_request_that_the_canary_does_not_suit_stays(policies, patterns):
    book = a_book(policies, patterns, "forum: {canary: {policy: next, percent: 100}}\n")
    seen: list[Policy] = []
    assert chosen(book, ["a text"], suits=lambda policy: bool(seen.append(policy))) == ["forum"]
    assert [policy.name for policy in seen] == ["next"]


def test_a_canary_is_one_step(policies, patterns):
    """Whoever is drawn for a policy is not drawn again from there."""
    text = "forum: {canary: {policy: next, percent: 100}}\nnext: {canary: {policy: other, percent: 100}}\n"
    book = a_book(policies, patterns, text)
    assert chosen(book, ["a text"]) == ["next"]
    assert chosen(book, ["a text"], "next") == ["other"]


@given(who=st.text(), low=st.floats(0, 100), high=st.floats(0, 100), by=st.sampled_from(["hash", "key"]))
def test_a_wider_share_holds_the_narrower(who, low, high, by):
    """So that nobody goes back while a canary grows; nobody is in a share of 0, everybody in one of 100."""
    low, high = sorted((low, high))
    narrow, wide = (drawn(SECRET, "p", Canary(policy="q", percent=percent, by=by), who) for percent in (low, high))
    assert wide or not narrow
    assert not drawn(SECRET, "p", Canary(policy="q", percent=0, by=by), who)
    assert drawn(SECRET, "p", Canary(policy="q", percent=100, by=by), who)
