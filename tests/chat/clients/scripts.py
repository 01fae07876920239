"""What the clients of these tests say, and what the upstream tells them."""

from collections.abc import Sequence
from typing import Any

from tests.chat.doubles import a_chunk, chunks_of

HI: list[Any] = [{"role": "user", "content": "Hi"}]
HARM: list[Any] = [{"role": "user", "content": "You grumpf"}]
HARMFUL = ("You ", "gru", "mpf", "!")
"""An answer of which nothing may arrive."""
CALL = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": '{"for": "x"}'}}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"for": {"type": "string"}}, "required": ["for"]},
    },
}
SLOW_DOWN = (429, b'{"error": {"message": "slow down", "type": "requests", "param": null, "code": null}}', {})
"""An upstream's own error."""


def told_with_usage(tokens: Sequence[str]) -> list[dict[str, Any]]:
    """A stream that ends with its usage, as OpenAI's server sends it where it is asked to."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    return [*chunks_of(tokens), a_chunk() | {"choices": [], "usage": usage}]


def calling(*parts: str) -> list[dict[str, Any]]:
    """A stream of one tool call, as OpenAI's server sends it: the name first, then the arguments in parts."""
    begun = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "look", "arguments": ""}}
    calls = [begun, *[{"index": 0, "function": {"arguments": part}} for part in parts]]
    return [*[a_chunk(role="assistant", tool_calls=[call]) for call in calls], a_chunk(finish="tool_calls")]
