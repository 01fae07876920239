"""LiteLLM's generic guardrail: let texts pass, replace them, or block.

It has no word for what lies between: what a policy flags or wants reviewed passes, as in a guarded chat.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from guard.content import Rail
from guard.dialects.taxonomy import unfounded
from guard.errors import ModerationFailed
from guard.policy import Policy
from guard.policy.schema import Streaming
from guard.text import sentences
from guard.verdict import Verdict

__all__ = ["LiteLLMResult", "held_back", "litellm_result"]


class LiteLLMResult(msgspec.Struct, frozen=True):
    """What LiteLLM does next. `texts` are all that it sent, in its order, where at least one is another now;
    `stream_holdback_chars` is how many of each text's last characters a stream that rewrites itself keeps until it
    knows what follows them."""

    action: Literal["NONE", "GUARDRAIL_INTERVENED", "BLOCKED"]
    blocked_reason: str | None = None
    texts: tuple[str, ...] | None = None
    stream_holdback_chars: tuple[int, ...] | None = None


def litellm_result(
    policy: Policy,
    rail: Rail,
    verdicts: Sequence[Verdict],
    *,
    given: Sequence[str],
    redacted: Sequence[str],
    refused: bool = False,
) -> LiteLLMResult:
    """The verdicts on one call as LiteLLM's answer.

    `given` are LiteLLM's texts, `redacted` the same after the policy's redaction. `refused`: something could not be
    inspected that the policy refuses, or is to be redacted where LiteLLM takes nothing else in its place.

    Raises:
        ModerationFailed: a stage failed, and the policy holds the texts back for that without blocking them.
    """
    if refused or any(verdict.action == "block" for verdict in verdicts):
        refusals = policy.spec.chat.refusals
        return LiteLLMResult("BLOCKED", refusals.input if rail is Rail.INPUT else refusals.output)
    if any(unfounded(verdict) for verdict in verdicts):
        raise ModerationFailed
    held = None
    if rail is Rail.OUTPUT and redacted:
        held = tuple([held_back(text, policy.spec.chat.streaming) for text in redacted])
    if tuple(given) == tuple(redacted):
        return LiteLLMResult("NONE", stream_holdback_chars=held)
    return LiteLLMResult("GUARDRAIL_INTERVENED", texts=tuple(redacted), stream_holdback_chars=held)


def held_back(text: str, streaming: Streaming) -> int:
    """Characters at the end of an unfinished text that are kept until more of it is known: its last sentence, of which
    no more than the policy allows; nothing, or everything, where the policy's mode is that.

    ``held_back("Yes. Write to jane", Streaming()) == 13``
    """
    match streaming.mode:
        case "through":
            return 0
        case "buffer":
            return len(text)
        case "hold":
            spans = sentences(text)
            last = len(text) - spans[-1][0] if spans else len(text)
            return min(last, streaming.hold_back_characters)
