"""`POST /beta/litellm_basic_guardrail_api` over a real socket, with bodies as LiteLLM 1.106.2 sends them.

The proxy itself stands before Guard in tests/chat/clients/litellm.
"""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from guard.access.keys import Rates, make, written
from guard.dialects.litellm import held_back
from guard.policy.schema import Streaming
from tests.conftest import ROOT, Server, serving
from tests.doubles import running_judge_server

PATH = "/beta/litellm_basic_guardrail_api"
POLICY = """\
version: 1
name: {name}
description: Blocks one word, and asks for reviews of another.
extends: default
terms:
  one_word: {{category: harassment, action: block, words: [grumpf]}}
  another: {{category: harassment, action: review, words: [hmpf]}}
"""
CHAT = "chat:\n  refusals: {input: Not that., output: Not so.}\n"
MORE = {
    "grumpf": CHAT,
    "everything": CHAT + "  scope: all\n",
    "refusing": CHAT + "  uninspected: refuse\n",
    "tried": CHAT,
    "tried-all": CHAT + "  scope: all\n",
    "tried-refusing": CHAT,
    "through": CHAT + "  streaming: {mode: through}\n",
    "masking": CHAT + "redaction: {style: mask}\n",
    "hurried": CHAT + "deadline_ms: 1\n",
    "hurried-review": CHAT + "deadline_ms: 1\nwhen_screen_fails: review\n",
    "hurried-allow": CHAT + "deadline_ms: 1\nwhen_screen_fails: allow\n",
}
ASKING = """\
version: 1
name: asking
description: Asks the judge about every text.
extends: default
categories:
  shouting:
    title: Shouting
    definition: The text shouts at the person who reads it.
    group: nuisance
    thresholds: {block: 0.95}
"""
ROLLOUT = """\
tried-all: {canary: {policy: tried, percent: 100}}
tried: {canary: {policy: masking, percent: 100}}
tried-refusing: {canary: {policy: refusing, percent: 100}}
"""
LATE = "and so on without end " * 4_000
CALL = {
    "id": "call-1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"for": "a parcel", "at": ["home"]}'},
}


def request(texts: list[str] | None, **more: Any) -> dict[str, Any]:
    """What LiteLLM sends before a call; every key is there, absent ones are null."""
    return {
        "input_type": "request",
        "litellm_call_id": "2f05cbb1-1c22-4c9c-9a37-0e6d3c1f2b9a",
        "litellm_trace_id": "81a5c38c-cbd1-4e59-a2a5-f4b1de3c6d1f",
        "structured_messages": None,
        "images": None,
        "tools": None,
        "texts": texts,
        "request_data": {"user_api_key_hash": "litellm_proxy_master_key", "user_api_key_user_id": "default_user_id"},
        "request_headers": {"host": "127.0.0.1:4000", "authorization": "[present]", "x-team": "[present]"},
        "litellm_version": "1.106.2",
        "additional_provider_specific_params": {},
        "tool_calls": None,
        "model": "m",
    } | more


def conversation(messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The same of a chat, with the texts and calls that LiteLLM takes out of its messages."""
    texts, calls, images = [], [], []
    for message in messages:
        content = message["content"]
        for part in content if isinstance(content, list) else [{"text": content}]:
            texts += [part["text"]] if part.get("text") is not None else []
            images += [part["image_url"]["url"]] if part.get("type") == "image_url" else []
        calls += message.get("tool_calls", [])
    return request(
        texts, structured_messages=messages, tool_calls=calls or None, images=images or None
    ) | more  # fmt: skip


def response(texts: list[str], **more: Any) -> dict[str, Any]:
    """What it sends after a call, and of a stream every few chunks: all that was said so far."""
    return request(texts, input_type="response") | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Policies named for what they do."""
    made = tmp_path_factory.mktemp("litellm") / "policies"
    shutil.copytree(ROOT / "policies", made)
    (made / "rollout.yaml").write_text(ROLLOUT, encoding="utf-8")
    for name, more in MORE.items():
        (made / name).mkdir()
        (made / name / "policy.yaml").write_text(POLICY.format(name=name) + more, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def guard(folder: Any) -> Iterator[Server]:
    """A server whose default policy blocks `grumpf`."""
    with serving(GUARD_POLICIES=str(folder), GUARD_DEFAULT_POLICY="grumpf", GUARD_LOG_LEVEL="debug") as server:
        yield server


def asked(server: Server, body: Any, **headers: str) -> dict[str, Any]:
    """An answer, which is there."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = server.client.post(PATH, json=body, headers=given)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert set(told) == {"action", "blocked_reason", "texts", "stream_holdback_chars", "guard"}
    assert (told["blocked_reason"] is not None) == (told["action"] == "BLOCKED")
    assert (told["texts"] is not None) == (told["action"] == "GUARDRAIL_INTERVENED")
    return told


def test_an_ordinary_call_goes_on(guard):
    """And `guard` says by which policy."""
    told = asked(guard, request(["See you on Monday."]))
    assert told["action"] == "NONE"
    assert told["guard"]["policy"]["name"] == "grumpf"
    assert told["guard"]["id"].startswith("mod_")
    assert (told["guard"]["action"], told["guard"]["degraded"]) == ("allow", False)


@pytest.mark.parametrize(("made", "says"), [(request, "Not that."), (response, "Not so.")])
def test_a_block_gives_the_policys_refusal(guard, made, says: str):
    """LiteLLM's user reads it as the error's message; the categories are in `guard`."""
    told = asked(guard, made(["See you.", "You grumpf"]))
    assert (told["action"], told["blocked_reason"]) == ("BLOCKED", says)
    assert told["guard"]["categories"]["harassment"]["action"] == "block"


def test_what_is_redacted_is_replaced_in_its_place(guard):
    """All texts come back, in order; the same address has the same placeholder in each, another one another."""
    texts = ["I am jane@example.com.", "Nothing here.", "Ask joe@example.com or jane@example.com."]
    told = asked(guard, request(texts))
    assert told["action"] == "GUARDRAIL_INTERVENED"
    assert told["texts"] == ["I am [EMAIL_1].", "Nothing here.", "Ask [EMAIL_2] or [EMAIL_1]."]
    told = asked(guard, response(texts[:1]), X_Guard_Policy="masking")
    assert told["texts"] == [f"I am {'•' * len('jane@example.com')}."]


def test_a_review_passes_as_in_a_chat(guard):
    """LiteLLM has no word for it; `guard` has."""
    told = asked(guard, request(["Well, hmpf"]))
    assert (told["action"], told["guard"]["action"]) == ("NONE", "review")


TURNS = [
    {"role": "system", "content": "Be nice."},
    {"role": "user", "content": "My mail is jane@example.com."},
    {"role": "assistant", "content": "Thanks."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Write to joe@example.com"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "text", "text": "and to bob@example.com"},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call-1", "content": "joe@example.com is gone"},
]


def without_nothing(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """LiteLLM takes no text out of a message without one."""
    return [turn if turn["content"] is not None else turn | {"content": []} for turn in turns]


def test_a_conversation_is_checked_as_far_as_the_policy_says(guard):
    """The last turn, or all of it; what is redacted is redacted everywhere: as in a guarded chat."""
    turns = without_nothing(TURNS)
    redacted = ["Be nice.", "My mail is [EMAIL_1].", "Thanks.", "Write to [EMAIL_2]", "and to [EMAIL_3]",
                "[EMAIL_2] is gone"]  # fmt: skip
    told = asked(guard, conversation(turns))
    assert told["texts"] == redacted
    assert told["guard"]["uninspected"] == ["$.images[0]: image"]
    assert asked(guard, conversation(turns), X_Guard_Policy="everything")["texts"] == redacted


def test_a_null_content_as_litellm_sends_it(guard):
    """A message that only calls tools has `content: null`; LiteLLM takes no text out of it."""
    body = conversation(without_nothing(TURNS)) | {"structured_messages": TURNS}
    assert asked(guard, body)["texts"][1] == "My mail is [EMAIL_1].", "an earlier turn was to be redacted"


def test_an_earlier_turn_is_no_reason_to_block(guard):
    """It was checked when it came; under `scope: all` it is checked again."""
    turns = [
        {"role": "user", "content": "You grumpf"},
        {"role": "assistant", "content": "Please stop."},
        {"role": "user", "content": "Sorry."},
    ]
    assert asked(guard, conversation(turns))["action"] == "NONE"
    assert asked(guard, conversation(turns), X_Guard_Policy="everything")["action"] == "BLOCKED"


WORDLESS = [
    {"role": "user", "content": "mail a@b.co"},
    {"role": "assistant", "content": "ok"},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/y.png"}}]},
]


def test_a_last_turn_without_a_word_leaves_the_earlier_ones_redacted(guard):
    """A model reads them again; what is not redacted is no reason to do anything."""
    told = asked(guard, conversation(WORDLESS))
    assert told["texts"] == ["mail [EMAIL_1]", "ok"]
    assert (told["guard"]["id"], told["guard"]["uninspected"]) == (None, ["$.images[0]: image"])
    assert asked(guard, conversation(WORDLESS), X_Guard_Policy="refusing")["action"] == "BLOCKED"
    turns = [{"role": "user", "content": "You grumpf"}, *WORDLESS[1:]]
    assert asked(guard, conversation(turns))["action"] == "NONE"


def test_arguments_before_the_scope_are_no_reason_to_block(guard):
    """Beside them a text is redacted as ever."""
    call = {"id": "1", "type": "function", "function": {"name": "mail", "arguments": '{"to": "jane@example.com"}'}}
    turns = [
        {"role": "user", "content": "Mail her."},
        {"role": "assistant", "content": "I write to jane@example.com.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "Sent."},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks."},
    ]
    told = asked(guard, conversation(turns))
    assert told["texts"] == ["Mail her.", "I write to [EMAIL_1].", "Sent.", "Done.", "Thanks."]
    assert told["guard"]["unredacted"] == []
    assert asked(guard, conversation(turns[:3]))["guard"]["unredacted"] == ["$.tool_calls[0]"]


def test_a_canary_that_reads_other_turns_does_not_answer(guard):
    """What is checked, and what is refused, is settled under the policy that was named."""
    turns = [{"role": "user", "content": "Mail jane@example.com."}, {"role": "assistant", "content": "ok"},
             {"role": "user", "content": "Hi"}]  # fmt: skip
    for named, used in (("tried-all", "tried-all"), ("tried-refusing", "tried-refusing"), ("tried", "masking")):
        told = asked(guard, conversation(turns), X_Guard_Policy=named)
        assert told["guard"]["policy"]["name"] == used
        assert "jane@example.com" not in told["texts"][0]


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"role": "user", "content": "{}"}, ".content"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "{}"}]}, ".content[1]"),
        ({"role": "user", "content": ["{}"]}, ".content[0]"),
        ({"role": "user", "content": {"text": "{}"}}, ".content"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": '["{}"]'}}]}, ".tool_calls[0]"),
        ({"role": "assistant", "tool_calls": "{}"}, ".tool_calls"),
        ({"role": "assistant", "function_call": {"name": "x", "arguments": '["{}"]'}}, ".function_call"),
        ({"role": "assistant", "function_call": {"arguments": {"x": "{}"}}}, ".function_call"),
        ({"role": "assistant", "reasoning_content": "{}"}, ".reasoning_content"),
        ({"role": "assistant", "thinking_blocks": [{"type": "thinking", "thinking": "{}"}]}, ".thinking_blocks"),
        ({"role": "assistant", "content": "Hi", "refusal": "{}"}, ".refusal"),
        ("{}", ""),
    ],
)
@pytest.mark.parametrize("texts", [None, [], ["Hi"]])
def test_what_messages_say_besides_the_texts_is_checked(guard, texts, row, place: str):
    """Each by itself; it cannot be given back, so what would be redacted in it blocks."""

    def saying(word: str) -> Any:
        return asked(guard, request(texts, structured_messages=[json.loads(json.dumps(row).replace("{}", word))]))

    assert saying("See you")["action"] == "NONE"
    assert saying("You grumpf")["action"] == "BLOCKED"
    told = saying("a@b.co")
    assert (told["action"], told["guard"]["unredacted"]) == ("BLOCKED", [f"$.structured_messages[0]{place}"])


def test_what_a_conversation_says_besides_the_texts_is_checked_in_every_turn(guard):
    """Also where a turn that is not checked again has the same words."""
    turns = [
        {"role": "user", "content": "You grumpf"},
        {"role": "assistant", "content": "Please stop.", "refusal": None, "annotations": [], "function_call": None},
        {"role": "user", "content": "Sorry.", "name": "jane@example.com", "cache_control": {"type": "ephemeral"}},
    ]
    assert asked(guard, conversation(turns))["action"] == "NONE"
    for number in range(3):
        said = [turn | {"reasoning_content": "You grumpf"} if n == number else turn for n, turn in enumerate(turns)]
        assert asked(guard, conversation(said))["action"] == "BLOCKED"


def test_fields_of_messages_that_cannot_be_looked_at_are_named(guard):
    """As in a guarded chat."""
    turns = [
        {"role": "assistant", "content": "Hi", "audio": {"id": "audio_1"}, "images": [{"image_url": {"url": "data:"}}]},
        {"role": "user", "content": "Hello", "audio": None},
    ]
    told = asked(guard, conversation(turns))
    unseen = ["$.structured_messages[0].audio: audio", "$.structured_messages[0].images: image"]
    assert (told["action"], told["guard"]["uninspected"]) == ("NONE", unseen)
    assert asked(guard, conversation(turns), X_Guard_Policy="refusing")["action"] == "BLOCKED"


def test_a_deep_field_is_read_to_its_end(guard):
    """Or refused as a body that is too deep."""
    deep: Any = "You grumpf"
    for _ in range(300):
        deep = [{"x": deep}]
    for name in ("reasoning_content", "content", "function_call", "tool_calls"):
        assert asked(guard, request(["Hi"], structured_messages=[{"role": "user", name: deep}]))["action"] == "BLOCKED"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Something else"}],
        [
            {"role": "assistant", "content": "You grumpf"},
            {"role": "user", "content": "Hi"},
            {"role": "x", "content": "y"},
        ],
        [{"role": "assistant", "content": "You grumpf"}],
        [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "You grumpf"}],
        [{"content": "You grumpf"}, {"role": "user", "content": "Hi"}],
        [{"role": "assistant", "content": "You grumpf", "tool_calls": [CALL]}, {"role": "user", "content": "Hi"}],
        [{"role": "assistant", "content": "You grumpf", "tool_calls": "x"}, {"role": "user", "content": "Hi"}],
        [{"role": "assistant", "content": [{"text": 1}]}, "x", None],
        "deep",
    ],
)
def test_messages_that_are_not_the_texts_own_leave_no_text_unchecked(guard, messages):
    """Then every text is checked by itself, the first one too, which a conversation's last turn would not hold."""
    if messages == "deep":
        content: Any = "x"
        for _ in range(400):
            content = [{"text": content}]
        messages = [{"role": "user", "content": content}]
    told = asked(guard, request(["You grumpf", "Hi"], structured_messages=messages))
    assert told["action"] == "BLOCKED"


def test_a_calls_arguments_are_content(guard):
    """On the way to a model and back, whatever shape they have."""
    for arguments in ('{"say": ["You grumpf"]}', "grumpf, no JSON", '{"grumpf": 1}'):
        call = {"id": "1", "type": "function", "function": {"name": "say", "arguments": arguments}}
        assert asked(guard, response([], tool_calls=[call]))["action"] == "BLOCKED"
        turns = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": [], "tool_calls": [call]}]
        assert asked(guard, conversation(turns))["action"] == "BLOCKED"
    for call in ({"type": "custom", "custom": {"input": "grumpf"}}, {"function": {"arguments": {"x": "grumpf"}}}):
        assert asked(guard, response([], tool_calls=[call]))["action"] == "BLOCKED"
    both = CALL | {"custom": {"input": "grumpf"}}
    assert asked(guard, response([], tool_calls=[both]))["action"] == "BLOCKED"
    assert asked(guard, response([], tool_calls=[CALL]))["action"] == "NONE"


def test_definitions_of_tools_are_the_applications_own(guard):
    """As in a guarded chat."""
    tool = {"type": "function", "function": {"name": "look", "description": "grumpf", "parameters": {}}}
    assert asked(guard, request(["Hi"], tools=[tool]))["action"] == "NONE"


def test_a_redaction_that_litellm_has_no_place_for_blocks(guard):
    """It takes texts back and no arguments: to let them pass would be to say that they were redacted."""
    call = {"id": "1", "type": "function", "function": {"name": "mail", "arguments": '{"to": "jane@example.com"}'}}
    told = asked(guard, response(["Done."], tool_calls=[CALL, call]))
    assert (told["action"], told["blocked_reason"]) == ("BLOCKED", "Not so.")
    assert (told["guard"]["action"], told["guard"]["unredacted"]) == ("block", ["$.tool_calls[1]"])


def test_images_are_named_or_refused(guard):
    """Never claim to have checked what was not checked."""
    turns = [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "https://x.example/y.png"}},
                {"type": "text", "text": "See this"},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ],
        }
    ]
    unseen = ["$.images[0]: image", "$.structured_messages[0].content[2]: input_audio"]
    told = asked(guard, conversation(turns))
    assert (told["action"], told["guard"]["uninspected"]) == ("NONE", unseen)
    told = asked(guard, conversation(turns), X_Guard_Policy="refusing")
    assert (told["action"], told["blocked_reason"]) == ("BLOCKED", "Not that.")
    assert told["guard"]["uninspected"] == unseen
    told = asked(guard, response(["See this"], images=["AAAA"]), X_Guard_Policy="refusing")
    assert (told["action"], told["guard"]["uninspected"]) == ("NONE", ["$.images[0]: image"])


@pytest.mark.parametrize("texts", [[], [""], None])
def test_where_there_is_nothing_to_check_nothing_is_done(guard, texts):
    """LiteLLM sends an empty message's empty text; an older or newer one may send none."""
    told = asked(guard, request(texts))
    assert (told["action"], told["guard"]["id"]) == ("NONE", None)


def test_empty_texts_keep_their_places(guard):
    """As many come back as were sent."""
    assert asked(guard, request(["", "jane@example.com", ""]))["texts"] == ["", "[EMAIL_1]", ""]


def test_a_stream_is_told_how_much_to_keep(guard):
    """Of an answer, which may be a stream's beginning, the last sentence; of a prompt nothing."""
    told = asked(guard, response(["Hello. Write to jane@exa", "No."]))
    assert told["stream_holdback_chars"] == [len("Write to jane@exa"), len("No.")]
    told = asked(guard, response(["Hello. Write to jane@example.com"]))
    assert told["stream_holdback_chars"] == [len("Write to [EMAIL_1]")]
    assert asked(guard, request(["Hello."]))["stream_holdback_chars"] is None
    assert asked(guard, response(["Hello."]), X_Guard_Policy="through")["stream_holdback_chars"] == [0]


def test_what_a_stream_keeps_is_the_policys_to_say():
    """Its mode and its limit."""
    assert held_back("Yes. Write to jane", Streaming()) == 13
    assert held_back("Yes. Write to jane", Streaming(hold_back_characters=4)) == 4
    assert held_back("Yes. Write to jane", Streaming(mode="buffer")) == 18
    assert held_back("Yes. Write to jane", Streaming(mode="through")) == 0
    assert held_back("", Streaming()) == 0


def test_the_policy_is_named_by_header_or_configuration(guard):
    """The header goes first: a request's own `extra_body` can change the configuration's parameters."""
    named = {"additional_provider_specific_params": {"policy": "strict", "threshold": 0.8}}
    assert asked(guard, request(["Hi"], **named))["guard"]["policy"]["name"] == "strict"
    told = asked(guard, request(["Hi"], **named), X_Guard_Policy="everything")
    assert told["guard"]["policy"]["name"] == "everything"


def test_the_least_that_an_older_litellm_sends(guard):
    """And what a newer one may send besides."""
    assert asked(guard, {"texts": ["You grumpf"], "request_data": {}})["action"] == "BLOCKED"
    more = {"texts": ["You grumpf"], "input_type": "response", "documents": [{"x": 1}], "model": None}
    assert asked(guard, more)["action"] == "BLOCKED"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "expected a JSON object"),
        ({"texts": "a text"}, 400, "$.texts"),
        ({"texts": [1]}, 400, "$.texts[0]"),
        ({"texts": ["x"], "input_type": "both"}, 400, "$.input_type"),
        ({"texts": ["x"], "tool_calls": ["x"]}, 400, "$.tool_calls[0]"),
        ({"texts": ["x"], "additional_provider_specific_params": {"policy": 1}}, 400, "$.additional_provider_specific"),
        ({"texts": ["x"], "additional_provider_specific_params": {"policy": "none"}}, 404, "none"),
        ({"texts": [], "additional_provider_specific_params": {"policy": "none"}}, 404, "none"),
        ({"texts": ["x"] * 300}, 400, "$.texts: 300 texts in one request; the limit is 256"),
        ({"texts": ["xy " * 40_000] * 2}, 400, "$.texts: 240000 characters"),
        (
            {"structured_messages": [{"content": "Hi"}] * 300},
            400,
            "$.texts: 300 texts in one request; the limit is 256",
        ),
        ({"structured_messages": [{"x": "xy " * 40_000}] * 2}, 400, "$.texts: 240000 characters"),
        ({"structured_messages": [{}] * 5_000}, 400, "$.structured_messages: more than 4096"),
        ({"texts": [""] * 5_000}, 400, "$.texts: more than 4096"),
    ],
)
def test_errors_are_as_litellms_own_servers_tell_them(guard, body, status: int, says: str):
    """`detail`, with the place and the remedy; LiteLLM itself reads the status."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = guard.client.post(PATH, content=content)
    assert answer.status_code == status
    told = answer.json()
    assert set(told) == {"detail", "code"}
    assert says in told["detail"]


def test_other_methods_are_refused_in_the_same_shape(guard):
    """So is a body that is too large."""
    answer = guard.client.get(PATH)
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    answer = guard.client.post(PATH, content=b"x" * 2_000_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "limit-exceeded")


def test_a_screen_that_fails_lets_nothing_pass(guard):
    """A block is a block, whatever LiteLLM does about errors; a review that nobody can be told of is an error, and
    what the policy allows is allowed."""
    told = asked(guard, request([LATE]), X_Guard_Policy="hurried")
    assert (told["action"], told["guard"]["degraded"]) == ("BLOCKED", True)
    answer = guard.client.post(PATH, json=request([LATE]), headers={"X-Guard-Policy": "hurried-review"})
    assert (answer.status_code, answer.json()["code"]) == (503, "moderation-failed")
    assert answer.headers["Retry-After"] == "1"
    told = asked(guard, request([LATE]), X_Guard_Policy="hurried-allow")
    assert (told["action"], told["guard"]["degraded"]) == ("NONE", True)


def test_a_judge_that_fails_lets_no_doubtful_text_pass(tmp_path):
    """The default policy wants a review then; LiteLLM's `unreachable_fallback` decides about that."""
    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", folder)
    (folder / "asking").mkdir()
    (folder / "asking" / "policy.yaml").write_text(ASKING, encoding="utf-8")
    with (
        running_judge_server() as judge,
        serving(
            GUARD_POLICIES=str(folder), GUARD_DEFAULT_POLICY="asking", GUARD_JUDGE_URL=judge.url, GUARD_JUDGE_MODEL="m"
        ) as server,
    ):
        judge.faults = [500] * 20
        answer = server.client.post(PATH, json=request(["See you on Monday."]))
        assert (answer.status_code, answer.json()["code"]) == (503, "moderation-failed")


def test_keys_come_in_litellms_header(folder, tmp_path):
    """`api_key` of a guardrail is sent as `x-api-key`; its policies and rates hold."""
    rights = {"all": {}, "narrow": {"policies": ("strict",)}, "slow": {"rates": Rates(1, None)}}
    keys = {name: make(name, now=datetime.now(UTC), **more) for name, more in rights.items()}
    written(tmp_path / "keys.yaml", [key for key, _ in keys.values()])
    with serving(
        GUARD_POLICIES=str(folder), GUARD_DEFAULT_POLICY="grumpf", GUARD_KEYS=str(tmp_path / "keys.yaml")
    ) as server:

        def post(key: str, body: Any, **headers: str) -> httpx.Response:
            return server.client.post(PATH, json=body, headers={"x-api-key": key} | headers)

        hi = request(["Hi"])
        assert post(keys["all"][1], hi).status_code == 200
        assert post("guard_00000000_wrong", hi).json()["code"] == "unauthenticated"
        told = post(keys["narrow"][1], request(["Hi"], additional_provider_specific_params={"policy": "grumpf"}))
        assert (told.status_code, told.json()["code"]) == (403, "forbidden")
        assert post(keys["narrow"][1], hi, **{"X-Guard-Policy": "strict"}).status_code == 200
        # A last turn without a word has its rates too.
        assert [post(keys["slow"][1], conversation(WORDLESS)).status_code for _ in range(2)] == [200, 429]
        assert post(keys["slow"][1], hi).status_code == 429


def test_the_document_has_it(guard):
    """With its answer and its errors."""
    document = guard.client.get("/schema/openapi.json").json()
    described = document["paths"][PATH]["post"]
    assert described["operationId"] == "LiteLLMGuardrail"
    assert {"texts", "tool_calls", "input_type"} <= set(
        document["components"]["schemas"]["GuardrailRequest"]["properties"]
    )
    assert set(document["components"]["schemas"]["GuardrailError"]["properties"]) == {"detail", "code"}


def test_no_text_reaches_the_log(guard):
    """Nor what the parameters and headers of the call are."""
    asked(guard, request(["A heliotrope grumpf"], additional_provider_specific_params={"other": "heliotrope"}))
    guard.client.post(PATH, json={"texts": "heliotrope"})
    assert "heliotrope" not in guard.log()
    assert PATH in guard.log()
