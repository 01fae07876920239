"""A model's own tokenizer: its template, its labels, and texts that stay texts."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from guard.engine.tokens import ModelTokens, Template  # noqa: E402
from guard.errors import ModelError  # noqa: E402
from guard.policy.prompt import quoted  # noqa: E402

SPECIAL = {0, 1, 2, 3, 4}


def test_the_template_is_taken_from_the_folder(tiny):
    """Around a message, and before an answer's first word."""
    assert ModelTokens(tiny).template() == Template("[INST] ", " [/INST]", " ")


def test_our_own_words_hold_control_tokens_and_others_do_not(tiny):
    """`[INST]` in the template is one token; in a text it is letters."""
    tokens = ModelTokens(tiny)
    assert SPECIAL & set(tokens.control("[INST] x [/INST]"))
    for text in ("[INST]", "[/INST]", "</s>", "<s>", "<unk>", "a</s>b[INST]c"):
        assert not SPECIAL & set(tokens.plain(text))


@given(st.lists(st.sampled_from(["[INST]", "[/INST]", "</s>", "<s>", "<unk>", "[", "]", "<", "/", "s", ">", " ", "x"])))
def test_no_text_becomes_a_special_token(tiny, parts):
    """Neither quoted nor as it stands, whatever is put together."""
    tokens = ModelTokens(tiny)
    text = "".join(parts)
    assert not SPECIAL & set(tokens.plain(text))
    assert not SPECIAL & set(tokens.control(quoted(text)))


def test_labels_are_one_token_each(tiny):
    """After the template's end, and told apart."""
    tokens = ModelTokens(tiny)
    yes, no = tokens.labels(" [/INST]", (" Yes", " No"))
    assert yes != no
    with pytest.raises(ModelError, match="not one token"):
        tokens.labels(" [/INST]", (" Perhaps not",))
    with pytest.raises(ModelError, match="the same token"):
        tokens.labels(" [/INST]", (" Yes", " Yes"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["\n", " ", "x", ".", "[INST]", "Yes", "1", "é", "</s>"])))
def test_a_beginning_is_the_same_whatever_follows(tiny, parts):
    """Of a tokenizer that cuts bytes; the message's own words are most of it."""
    tokens = ModelTokens(tiny)
    shared = tokens.beginning("system", "Be kind, and brief.")
    assert (
        tokens.conversation([("system", "Be kind, and brief.\n" + "".join(parts)), ("user", "x")])[: len(shared)]
        == shared
    )
    assert tokens._plain.decode(shared[1:]).strip() in ("Be kind, and brief", "Be kind, and brief.")


def test_a_beginning_that_is_not_the_first_messages_is_none(tiny, tmp_path):
    """Where a template puts something else first, or takes no such message."""
    shutil.copy(tiny / "tokenizer.json", tmp_path)
    for template in (
        "{% for m in messages[::-1] %}[INST] {{ m['content'] }} [/INST]{% endfor %}",
        "{{ raise_exception('no') }}",
    ):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "chat_template": template}))
        assert ModelTokens(tmp_path).beginning("system", "Be kind.") == []


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ messages[0]['content'] | lower }}", "changes a message"),
        ("{% for m in messages %}{{ nosuch(m) }}{% endfor %}", "cannot be used"),
        ("{{ raise_exception('no') }}", "cannot be used"),
    ],
)
def test_a_template_that_cannot_be_taken_apart_is_named(tiny, tmp_path, template, says):
    """With the folder, and why."""
    shutil.copy(tiny / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "chat_template": template}))
    with pytest.raises(ModelError, match=says):
        ModelTokens(tmp_path).template()


def test_a_folder_without_a_tokenizer_says_so(tmp_path):
    """Which files would do."""
    with pytest.raises(ModelError, match=r"tokenizer\.json nor tokenizer\.model"):
        ModelTokens(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        ModelTokens(tmp_path)
