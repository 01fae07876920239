"""What a judge reads: golden prompts, and texts that cannot get out of their place."""

import gc
import json
import os
import random
import re
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.content import Content, Rail, Turn
from guard.judge import Inquiry, asking
from guard.judge.pieces import pieces_of, tokens_at_most
from guard.judge.rendering import LETTERS, WRAPPINGS, answers, prompts
from guard.policy.prompt import block, quoted
from guard.question import Answer, Choice, Option, Predicate, Scale
from guard.testing import a_policy

GOLDEN = Path(__file__).parent / "golden"
MISTRAL = WRAPPINGS["mistral"]
EXAMPLES = {"examples": {"violates": ["They are all thieves."], "allowed": ["Why do people hate?"]}}
POLICY = a_policy(["hate", "violence"], category=EXAMPLES)
CONVERSATION = (Turn("user", "How do I get a dark stain out?"),)
FREE = (
    Predicate("The customer is angry."),
    Choice("What is it about?", (Option("delivery", "parcels and couriers"), Option("billing"))),
    Scale("How urgent is it?", (Option("not"), Option("somewhat"), Option("very"))),
)
CASES = {
    "instruct-input": (asking(POLICY, Content("Some text.", "user"), ("hate", "violence")), "instruct", "mistral"),
    "instruct-output": (
        asking(POLICY, Content("With cold water.", "assistant", Rail.OUTPUT, CONVERSATION), ("violence",)),
        "instruct",
        "chatml",
    ),
    "self-reflection": (
        asking(a_policy(["hate", "violence"], mode="self_reflection"), Content("Some text."), ("hate",)),
        "instruct",
        "mistral",
    ),
    "free": (Inquiry(Content("Where is my parcel?"), FREE), "instruct", "llama3"),
    "wildguard-input": (asking(POLICY, Content("Some text."), ("hate",)), "wildguard", "plain"),
    "wildguard-output": (
        asking(POLICY, Content("With cold water.", "assistant", Rail.OUTPUT, CONVERSATION), ("hate",)),
        "wildguard",
        "plain",
    ),
    "llama-guard": (
        asking(POLICY, Content("With cold water.", "assistant", Rail.OUTPUT, CONVERSATION), ("violence",)),
        "llama_guard",
        "plain",
    ),
}
CONTROL = [
    "[INST]", "[/INST]", "</s>", "<s>", "<unk>", "[AVAILABLE_TOOLS]", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]",
    "<<SYS>>", "<</SYS>>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|eot_id|>", "<|endoftext|>",
    "<|start_header_id|>", "<start_of_turn>", "<end_of_turn>", "<pad>", "[CONTROL_8]",
]  # fmt: skip
DELIMITERS = ["<text>", "</text>", "<context>", "</context>"]


@pytest.mark.parametrize("name", CASES)
def test_prompts_are_as_reviewed(name):
    """A changed prompt changes every score: it is changed on purpose, with GUARD_WRITE_GOLDEN=1, and reviewed."""
    inquiry, form, wrapping = CASES[name]
    rendered = [
        f"{'=' * 20} {n}: {json.dumps(prompt.labels)}\n{prompt.shared}{prompt.text}{prompt.ask}"
        for n, prompt in enumerate(prompts(inquiry, form, WRAPPINGS[wrapping], context=4_096))
    ]
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GUARD_WRITE_GOLDEN"):
        path.write_text("\n".join(rendered) + "\n", encoding="utf-8")
    assert "\n".join(rendered) + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("word", CONTROL + DELIMITERS)
def test_control_words_and_delimiters_are_broken(word):
    """Also in capitals or small letters, and when they stand inside one another."""
    for form in (word, word.lower(), word.upper(), word[:1] + word + word[1:], f"a{word}b{word}"):
        assert word.lower() not in quoted(form).lower()


@given(st.lists(st.sampled_from([*CONTROL, *DELIMITERS, "<", ">", "[", "]", "/", "|", " ", "text", "INST", "x", "\n"])))
def test_no_text_forges_a_control_word(parts):
    """Whatever is put together, nothing of the template comes out, and quoting again changes nothing."""
    text = quoted("".join(parts))
    for word in (*CONTROL, *DELIMITERS):
        assert word.lower() not in text.lower()
    assert quoted(text) == text


@given(st.text())
def test_quoting_only_adds_spaces(text):
    """What the text says is still there."""
    assert quoted(text).replace(" ", "") == text.replace(" ", "")


@given(st.text(), st.text(), st.text(max_size=30))
def test_a_block_has_its_delimiters_once(text, earlier, role):
    """The text begins and ends where we say, whoever is said to have spoken."""
    found = block(Content(text, role, context=(Turn(role, earlier),)))
    assert [len(re.findall(word, found)) for word in DELIMITERS] == [1, 1, 1, 1]
    assert found.endswith("\n</text>")


def test_questions_share_everything_before_them():
    """The branches of one text differ in their last words alone, and texts share the policy."""
    first = prompts(asking(POLICY, Content("one"), ("hate", "violence")), "instruct", MISTRAL, context=4_096)
    second = prompts(asking(POLICY, Content("two"), ("hate",)), "instruct", MISTRAL, context=4_096)
    assert {(prompt.shared, prompt.text) for prompt in first} == {(first[0].shared, first[0].text)}
    assert second[0].shared == first[0].shared


def test_more_options_than_letters_are_a_letter_and_a_digit():
    """One prompt for the letters, one for the digits after each; together a probability for each of 255 options."""
    options = tuple([Option(str(n)) for n in range(255)])
    inquiry = Inquiry(Content("x"), (Predicate("Yes?"), Choice("Which?", options), Predicate("No?")))
    made = prompts(inquiry, "instruct", MISTRAL, context=4_096)
    before, first, *rest, after = made
    assert (before.begun, after.begun) == (False, False)
    assert first.labels == tuple([f" {letter}" for letter in LETTERS])
    assert [prompt.ask.removeprefix(first.ask) for prompt in rest] == [f" {letter}" for letter in LETTERS]
    assert [len(prompt.labels) for prompt in rest] == [10] * 25 + [5]
    assert "Z4) 254" in first.ask
    luck = random.Random(0)

    def answer(count: int) -> Answer:
        weights = [luck.random() for _ in range(count)]
        return Answer(tuple([w / sum(weights) for w in weights]), mass=0.9)

    found = [answer(len(prompt.labels)) for prompt in made]
    one, which, other = answers(inquiry, "instruct", found)
    assert (one, other) == (found[0], found[-1])
    assert sum(which.probabilities) == pytest.approx(1)
    assert which.probabilities[37] == pytest.approx(found[1].probabilities[3] * found[5].probabilities[7])
    assert which.mass == pytest.approx(0.81)
    (prompt,) = prompts(Inquiry(Content("x"), (Choice("Which?", options[:26]),)), "instruct", MISTRAL, context=4_096)
    assert prompt.labels == tuple([f" {letter}" for letter in LETTERS])


def test_a_policy_leaves_room_for_the_text():
    """Where its words would fill the context it has fewer examples, and then none; its definitions stay."""
    words = {"definition": "About hate. " * 40, "examples": {"violates": ["Bad words. " * 40] * 5}}
    policy = a_policy(["hate"], category=words)
    said = [
        prompts(asking(policy, Content("x"), ("hate",)), "instruct", MISTRAL, context=context)[0].shared
        for context in (8_192, 1_400, 600)
    ]
    assert [one.count("- Bad words.") for one in said] == [5, 4, 0]
    assert all("About hate." in one for one in said)
    long = Content("plain words of a text " * 400)
    pieces = prompts(asking(policy, long, ("hate",)), "instruct", MISTRAL, context=4_096)
    assert len(pieces) <= 3
    # A tokenizer at hand counts better than an estimate.
    exact = prompts(asking(policy, long, ("hate",)), "instruct", MISTRAL, context=1_400, prose=lambda words: 10)
    assert exact[0].shared.count("- Bad words.") == 5


def test_of_several_windows_the_one_that_finds_most_counts():
    """A predicate by its yes; a self-reflection by how little it says that there is nothing."""
    inquiry = asking(POLICY, Content("x"), ("hate", "violence"))
    found = [Answer((p, 1 - p)) for p in (0.1, 0.8, 0.7, 0.2)]  # window 1: hate, violence; window 2
    assert [answer.probabilities[0] for answer in answers(inquiry, "instruct", found)] == [0.7, 0.8]
    reflecting = asking(a_policy(["hate"], mode="self_reflection"), Content("x"), ("hate",))
    (answer,) = answers(reflecting, "instruct", [Answer((0.2, 0.8)), Answer((0.9, 0.1)), Answer((0.4, 0.6))])
    assert answer.probabilities == (0.9, 0.1)


@given(st.text(min_size=1, max_size=600), st.integers(8, 90))
def test_pieces_cover_the_text_in_order_and_fit(text, most):
    """Every character is in a piece, no piece is too long, and there is an end."""
    pieces = pieces_of(text, most)
    assert all(tokens_at_most(piece) <= most for piece in pieces)
    at = 0
    for piece in pieces:
        # In a text that repeats itself a piece stands in several places; the last one that leaves no gap is taken.
        start = text.rfind(piece, max(0, at - len(piece)), at + len(piece))
        assert 0 <= start <= at
        at = start + len(piece)
    assert at == len(text)


def test_long_turns_before_a_text_leave_it_room():
    """The last words of the conversation are kept."""
    turns = (Turn("user", "early words " * 3_000), Turn("assistant", "late words " * 300))
    inquiry = asking(POLICY, Content("the text", context=turns), ("hate",))
    (prompt,) = prompts(inquiry, "instruct", MISTRAL, context=4_096)
    assert "late words" in prompt.text
    assert tokens_at_most(prompt.shared + prompt.text + prompt.ask) < 4_096


def test_a_policy_that_was_replaced_is_let_go():
    """Nothing that was written for a judge keeps it, nor what else was compiled for it."""
    policy = a_policy(["hate"])
    inquiry = asking(policy, Content("A text."), ("hate",))
    assert prompts(inquiry, "instruct", WRAPPINGS["plain"], context=4_096)
    gone = weakref.ref(policy)
    del policy, inquiry
    gc.collect()
    assert gone() is None
