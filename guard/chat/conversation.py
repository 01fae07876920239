"""A chat request's messages: what of them is checked, what cannot be, and what the model is told first.

Every string of a message that a model reads is a *piece*: its text, its text parts, the strings inside the arguments of
its tool calls. Definitions of tools are the application's own and are not checked.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from guard.chat.upstream import SystemRole
from guard.content import Content, Rail, Turn
from guard.errors import InvalidContent
from guard.policy.redaction import Redactor
from guard.policy.schema import Chat
from guard.verdict import Cut

__all__ = [
    "Message",
    "Piece",
    "Place",
    "arguments_text",
    "context_of",
    "in_scope",
    "message_of",
    "messages_of",
    "out_of_scope",
    "places_of",
    "redacted",
    "restore",
    "speaks",
    "with_system_prompt",
]

CONTEXT = 8_000
"""Characters of the turns before a text that are read with it."""
MOST_TURNS = 64
"""Turns of them: of short ones 8,000 characters are thousands, for each message of a conversation."""
_TEXT_PARTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
_NO_TEXT = frozenset(
    {"audio", "data", "encrypted_content", "format", "id", "index", "name", "role", "signature", "tool_call_id", "type"}
)
"""Fields of messages that a model does not read as text, or that only name something."""
_CALLS = (("function", "arguments"), ("custom", "input"))
_SYSTEM = ("system", "developer")


class Piece(NamedTuple):
    """One string of a message, and how to put another in its place."""

    text: str
    put: Callable[[str], None]


class Place(NamedTuple):
    """One string of a stream's chunk, the lane that it continues, and how to put another in its place."""

    lane: str
    text: str
    put: Callable[[str], None]


class Message(NamedTuple):
    """One message: its pieces, the parts of it that cannot be looked at (JSONPath and kind), and whether it calls
    tools."""

    role: str
    pieces: tuple[Piece, ...]
    uninspected: tuple[str, ...]
    calls: bool

    @property
    def text(self) -> str:
        """All that it says."""
        return "\n".join(piece.text for piece in self.pieces)


def messages_of(body: dict[str, Any]) -> list[Message]:
    """The messages of a request's body, whose pieces write into it.

    Raises:
        InvalidContent: there are none, or one is not in OpenAI's form.
    """
    listed = body.get("messages")
    if not isinstance(listed, list) or not listed:
        raise InvalidContent("expected a list with at least one message", path="$.messages")
    return [message_of(message, f"$.messages[{number}]") for number, message in enumerate(listed)]


def in_scope(messages: Sequence[Message], chat: Chat) -> list[tuple[Message, Content]]:
    """The messages that the input rail checks, each with those before it as its context.

    The last turn is everything since the assistant last answered: what the user says, what tools returned, and the
    calls of them.
    """
    first = _begins(messages, chat)
    return [
        (message, _content_of(messages, number))
        for number, message in enumerate(messages)
        if number >= first and (message.text or message.uninspected)
    ]


def out_of_scope(messages: Sequence[Message], chat: Chat) -> Iterator[tuple[Message, Content]]:
    """The messages before those, as they would have been checked; one after another, for there may be thousands."""
    for number in range(_begins(messages, chat)):
        if messages[number].text:
            yield messages[number], _content_of(messages, number)


def context_of(messages: Sequence[Message], end: int | None = None) -> tuple[Turn, ...]:
    """The last turns of a conversation, or of what stands before its message `end`, as far as they are read together
    with what comes next."""
    turns: list[Turn] = []
    left = CONTEXT
    last = len(messages) if end is None else end
    for number in range(last - 1, max(last - 1 - MOST_TURNS, -1), -1):
        message = messages[number]
        text = message.text[-left:]
        turns.append(Turn(message.role, text))
        left -= len(text)
        if left <= 0:
            break
    return tuple(reversed(turns))


def with_system_prompt(body: dict[str, Any], prompt: str, role: SystemRole) -> dict[str, Any]:
    """The body with the policy's own words first.

    A system message of the client is joined to them, after an empty line: many models' templates know one system
    message only, and the first. A model without such a role reads them before the user's first words.
    """
    prompt = prompt.strip()
    if not prompt:
        return body
    messages = list(body["messages"])
    if role == "none":
        place = next((n for n, message in enumerate(messages) if message.get("role") == "user"), None)
        if place is None:
            messages.insert(0, {"role": "user", "content": prompt})
        else:
            messages[place] = _prefixed(messages[place], prompt)
    elif messages[0].get("role") in _SYSTEM:
        messages[0] = _prefixed(messages[0], prompt) | {"role": role}
    else:
        messages.insert(0, {"role": role, "content": prompt})
    return body | {"messages": messages}


def redacted(message: Message, cuts: Sequence[Cut], redactor: Redactor) -> None:
    """Replaces `cuts` of the message's text in the pieces that they lie in."""
    start = 0
    for piece in message.pieces:
        end = start + len(piece.text)
        own = [
            Cut(max(cut.start, start) - start, min(cut.end, end) - start, cut.label)
            for cut in cuts
            if cut.start < end and cut.end > start
        ]
        if own:
            piece.put(redactor.apply(piece.text, own))
        start = end + 1


def restore(message: Message, redactor: Redactor) -> None:
    """Puts the originals back in the place of a redactor's placeholders."""
    for piece in message.pieces:
        put_back = redactor.restored(piece.text)
        if put_back != piece.text:
            piece.put(put_back)


def arguments_text(arguments: str) -> str:
    """The strings inside a tool call's arguments, one a line; the arguments as they are where they are no JSON."""
    return "\n".join(piece.text for piece in _arguments({"arguments": arguments}, "arguments"))


def message_of(message: Any, path: str) -> Message:
    """One message, whose pieces write into it.

    Raises:
        InvalidContent: it is not in OpenAI's form.
    """
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InvalidContent("expected a message with a role", path=path)
    pieces: list[Piece] = []
    uninspected: list[str] = []
    for name, value in message.items():
        if name == "content":
            _content(message, f"{path}.content", pieces, uninspected)
        elif name == "audio":
            uninspected += [f"{path}.audio: audio"] if value is not None else []
        elif name == "tool_calls":
            if value is not None and not isinstance(value, list):
                raise InvalidContent("expected a list", path=f"{path}.tool_calls")
            for call in value or ():
                pieces += _call(call)
        elif name == "function_call":
            pieces += _call({"function": value})
        elif name not in _NO_TEXT:
            # Fields of other vendors, such as `reasoning_content`.
            pieces += _strings(value, partial(message.__setitem__, name))
    calls = bool(message.get("tool_calls") or message.get("function_call"))
    return Message(message["role"], tuple(pieces), tuple(uninspected), calls)


def places_of(delta: Any) -> list[Place]:
    """The strings of a chunk's delta. A part of a tool call has a place even where it says nothing yet.

    Each field is a lane; each tool call is one, named `tool` and its number.
    """
    places: list[Place] = []
    for name, value in delta.items() if isinstance(delta, dict) else ():
        if name == "tool_calls" and isinstance(value, list):
            for number, call in enumerate(value):
                places += _call_places(call, number)
        elif name == "function_call":
            places += _call_places({"function": value}, 0)
        elif name not in _NO_TEXT:
            places += [Place(name, *piece) for piece in _strings(value, partial(delta.__setitem__, name))]
    return places


def speaks(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk of a stream has words of an answer, and not only a role, an end or usage."""
    choices = chunk.get("choices")
    return isinstance(choices, list) and any(
        place.text for choice in choices if isinstance(choice, dict) for place in places_of(choice.get("delta"))
    )


def _call_places(call: Any, number: int) -> list[Place]:
    given = call.get("index") if isinstance(call, dict) else None
    lane = f"tool {given if given is not None else number}"
    found = [
        Place(lane, call[kind][key], partial(call[kind].__setitem__, key))
        for kind, key in _CALLS
        if isinstance(call, dict) and isinstance(call.get(kind), dict) and isinstance(call[kind].get(key), str)
    ]
    return found or [Place(lane, "", lambda _: None)]


def _begins(messages: Sequence[Message], chat: Chat) -> int:
    """The first message of the scope."""
    match chat.scope:
        case "all":
            return 0
        case "last_k":
            return max(0, len(messages) - chat.last_k)
        case "last_turn":
            return _last_turn(messages)


def _content_of(messages: Sequence[Message], number: int) -> Content:
    message = messages[number]
    return Content(message.text, message.role, Rail.INPUT, context_of(messages, number), message.uninspected)


def _last_turn(messages: Sequence[Message]) -> int:
    for number in range(len(messages) - 2, -1, -1):
        message = messages[number]
        if message.role == "assistant" and message.text and not message.calls:
            return number + 1
    return 0


def _content(message: dict[str, Any], path: str, pieces: list[Piece], uninspected: list[str]) -> None:
    content = message["content"]
    if isinstance(content, str):
        pieces.append(Piece(content, partial(message.__setitem__, "content")))
    elif isinstance(content, list):
        for number, part in enumerate(content):
            kind = part.get("type") if isinstance(part, dict) else None
            if not isinstance(kind, str):
                raise InvalidContent("expected a part with a type", path=f"{path}[{number}]")
            key = _TEXT_PARTS.get(kind)
            found = list(_strings(part.get(key), partial(part.__setitem__, key))) if key is not None else []
            pieces += found
            if not found:
                uninspected.append(f"{path}[{number}]: {kind[:40]}")
    elif content is not None:
        raise InvalidContent("expected a text, a list of parts, or null", path=path)


class _Argument:
    """Puts a string back into a tool call's arguments, which are JSON in a string."""

    def __init__(self, call: dict[str, Any], key: str, whole: list[Any], put: Callable[[str], None]) -> None:
        self._call, self._key, self._whole, self._put = call, key, whole, put

    def __call__(self, text: str) -> None:
        self._put(text)
        self._call[self._key] = msgspec.json.encode(self._whole[0]).decode()


def _call(call: Any) -> Iterator[Piece]:
    for kind, key in _CALLS:
        found = call.get(kind) if isinstance(call, dict) else None
        if isinstance(found, dict) and isinstance(found.get(key), str):
            yield from _arguments(found, key)


def _arguments(call: dict[str, Any], key: str) -> Iterator[Piece]:
    raw = call[key]
    try:
        whole = [msgspec.json.decode(raw)]
        found = list(_strings(whole[0], partial(whole.__setitem__, 0), names=True))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        yield Piece(raw, partial(call.__setitem__, key))
        return
    for text, put in found:
        yield Piece(text, _Argument(call, key, whole, put))


def _strings(value: Any, put: Callable[[Any], None], *, names: bool = False) -> Iterator[Piece]:
    """The strings inside a JSON value. With `names` all of them, those of its fields too (which cannot be replaced);
    without, those that a model writes or reads as text."""
    if isinstance(value, str):
        yield Piece(value, put)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, partial(value.__setitem__, number), names=names)
    elif isinstance(value, dict):
        for name, item in value.items():
            if names:
                yield Piece(name, lambda _: None)
            if names or name not in _NO_TEXT:
                yield from _strings(item, partial(value.__setitem__, name), names=names)


def _prefixed(message: dict[str, Any], prompt: str) -> dict[str, Any]:
    message = copy.copy(message)
    content = message.get("content")
    if isinstance(content, list):
        message["content"] = [{"type": "text", "text": f"{prompt}\n"}, *content]
    else:
        message["content"] = f"{prompt}\n\n{content}" if content else prompt
    return message
