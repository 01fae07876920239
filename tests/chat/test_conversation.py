"""A request's messages: what of them is checked, what cannot be, and what the model is told."""

import copy
import json

import pytest

from guard.chat.conversation import (
    CONTEXT,
    arguments_text,
    in_scope,
    messages_of,
    redacted,
    restore,
    with_system_prompt,
)
from guard.errors import InvalidContent
from guard.policy.redaction import Redactor
from guard.policy.schema import Chat
from guard.verdict import Cut

USER = {"role": "user", "content": "Hi"}


def texts(*messages: dict) -> list[str]:
    """What each message says."""
    return [message.text for message in messages_of({"messages": list(messages)})]


def test_every_string_that_a_model_reads_is_checked():
    """Text, parts, refusals, thoughts, arguments of calls, results of tools; not names and ids, not definitions."""
    function = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": ["y", 2]}'}}
    custom = {"id": "2", "type": "custom", "custom": {"name": "f", "input": "run it"}}
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert texts(
        {"role": "system", "content": "Be kind."},
        {"role": "user", "name": "joe", "content": parts},
        {"role": "assistant", "content": None, "refusal": "no", "reasoning_content": "hm"},
        {"role": "assistant", "tool_calls": [function]},
        {"role": "assistant", "tool_calls": [custom]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "not json"}},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}, thought]},
    ) == ["Be kind.", "a\nb", "no\nhm", "x\ny", "run it", "not json", "found", "no\nhm"]


def test_what_cannot_be_looked_at_is_named_with_its_place():
    """Never claim to have checked what was not."""
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:x"}},
        {"type": "input_audio", "input_audio": {}},
        {"type": "text"},
    ]
    (message,) = messages_of({"messages": [{"role": "user", "content": parts}]})
    assert message.uninspected == (
        "$.messages[0].content[1]: image_url",
        "$.messages[0].content[2]: input_audio",
        "$.messages[0].content[3]: text",
    )
    (message,) = messages_of({"messages": [{"role": "assistant", "audio": {"id": "a"}}]})
    assert message.uninspected == ("$.messages[0].audio: audio",)


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        (None, "$.messages"),
        ([], "$.messages"),
        (["Hi"], "$.messages[0]"),
        ([{"content": "Hi"}], "$.messages[0]"),
        ([USER, {"role": "user", "content": 7}], "$.messages[1].content"),
        ([{"role": "user", "content": ["Hi"]}], "$.messages[0].content[0]"),
        ([{"role": "user", "content": [{"text": "Hi"}]}], "$.messages[0].content[0]"),
        ([{"role": "assistant", "tool_calls": {}, "content": "x"}, USER], None),
        ([{"role": "assistant", "tool_calls": {"a": 1}}], "$.messages[0].tool_calls"),
    ],
)
def test_messages_in_another_form_are_refused_with_their_place(messages, path):
    """What we cannot read we cannot check."""
    if path is None:
        path = "$.messages[0].tool_calls"
    with pytest.raises(InvalidContent) as refused:
        messages_of({"messages": messages})
    assert refused.value.path == path


def scope(**chat: object) -> list[str]:
    """What is checked of a conversation with a tool's call in its last turn."""
    call = {"id": "1", "function": {"name": "f", "arguments": '{"q": "z"}'}}
    messages = messages_of(
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u1"},
                {"role": "assistant", "content": "a1"},
                {"role": "user", "content": "u2"},
                {"role": "assistant", "content": "Let me look.", "tool_calls": [call]},
                {"role": "tool", "content": "t"},
            ]
        }
    )
    return [content.text for _, content in in_scope(messages, Chat(**chat))]


def test_the_last_turn_is_all_since_the_assistant_answered():
    """What the user says, the tools' calls, and what they returned."""
    assert scope() == ["u2", "Let me look.\nq\nz", "t"]


def test_more_turns_can_be_checked():
    """The last so many, or all."""
    assert scope(scope="last_k", last_k=1) == ["t"]
    assert scope(scope="all") == ["s", "u1", "a1", "u2", "Let me look.\nq\nz", "t"]


def test_a_text_is_read_with_a_bounded_context():
    """However long the conversation: what was said last, oldest first."""
    messages = messages_of({"messages": [{"role": "user", "content": f"{n:05} " * 100} for n in range(200)]})
    ((_, content),) = in_scope(messages, Chat(scope="last_k", last_k=1))
    assert sum(len(turn.text) for turn in content.context) == CONTEXT
    assert content.context[-1].text == messages[-2].text


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_policys_prompt_is_first_and_joined_to_the_clients(role):
    """Many templates know one system message only."""
    body = {"messages": [{"role": "system", "content": "Be brief."}, USER], "model": "m"}
    before = copy.deepcopy(body)
    told = with_system_prompt(body, "Be kind.\n", role)
    assert told["messages"] == [{"role": role, "content": "Be kind.\n\nBe brief."}, USER]
    assert body == before
    assert with_system_prompt({"messages": [USER]}, "Be kind.", role)["messages"] == [
        {"role": role, "content": "Be kind."},
        USER,
    ]
    parts = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    (told, _) = with_system_prompt({"messages": [parts, USER]}, "Be kind.", role)["messages"]
    assert [part["text"] for part in told["content"]] == ["Be kind.\n", "Be brief."]


def test_a_model_without_a_system_role_reads_it_before_the_users_words():
    """In the first message of the user."""
    told = with_system_prompt({"messages": [USER, USER]}, "Be kind.", "none")
    assert told["messages"] == [{"role": "user", "content": "Be kind.\n\nHi"}, USER]
    told = with_system_prompt({"messages": [{"role": "assistant", "content": "x"}]}, "Be kind.", "none")
    assert told["messages"][0] == {"role": "user", "content": "Be kind."}
    assert with_system_prompt({"messages": [USER]}, " ", "system") == {"messages": [USER]}


def test_characters_are_replaced_where_they_stand():
    """In parts, and in strings inside the JSON of a call's arguments, which stays JSON."""
    arguments = json.dumps({"to": ["joe@x.org"], "n": 1.5, "quote": 'a "b"'})
    body = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "I am"}, {"type": "text", "text": "joe@x.org."}]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]},
        ]
    }
    redactor = Redactor("placeholder")
    for message in messages_of(body):
        start = message.text.index("joe")
        redacted(message, [Cut(start, start + 9, "EMAIL")], redactor)
    assert body["messages"][0]["content"][1]["text"] == "[EMAIL_1]."
    found = body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(found) == {"to": ["[EMAIL_1]"], "n": 1.5, "quote": 'a "b"'}
    for message in messages_of(body):
        restore(message, redactor)
    assert json.loads(body["messages"][1]["tool_calls"][0]["function"]["arguments"]) == json.loads(arguments)


def test_the_strings_of_arguments_are_read_however_deep():
    """And what is no JSON as it is."""
    assert arguments_text('{"a": {"b": ["c", 1, null, "d"]}}') == "a\nb\nc\nd"
    assert arguments_text('"gr\\u0075mpf"') == "grumpf"
    assert arguments_text("{broken") == "{broken"
    assert arguments_text("[" * 5_000) == "[" * 5_000
