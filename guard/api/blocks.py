"""How a blocked chat looks to its client: as an answer that was filtered, or as an error, in a vendor's words."""

import time
from collections.abc import Sequence
from typing import Any

from guard.api.ids import fresh_id
from guard.chat.options import Options
from guard.chat.rails import Begun, Refused, prompt_filter_results
from guard.chat.report import azure_results, mistral_results, moderated, shown
from guard.policy import Policy
from guard.verdict import Verdict

__all__ = ["blocked_answer", "refused_answer", "refused_chunks"]

_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def refused_answer(refused: Refused, policy: Policy, model: str, options: Options) -> tuple[int, dict[str, Any]]:
    """Status and body instead of an answer to a blocked prompt."""
    style, found = options.style_under(policy), shown(policy, refused.report, None)
    if style == "azure":
        return 400, _azure(refused.says, policy, refused.verdicts) | {"guard": found}
    if style != "openai":
        return _error(refused.says, policy, options, refused.verdicts, found)
    choice = {"index": 0, "message": _refusal(refused), "logprobs": None, "finish_reason": "content_filter"}
    body = _common(model, "chat.completion") | {"choices": [choice], "usage": _USAGE, "guard": found}
    if options.moderation is not None:
        body["moderation"] = moderated(policy, options.moderation, refused.verdicts, None)
    return 200, body


def refused_chunks(
    refused: Refused, policy: Policy, model: str, options: Options, *, usage: bool
) -> list[dict[str, Any]]:
    """The stream instead of an answer to a blocked prompt, in OpenAI's style. `usage`: whether its chunk is wanted."""
    common = _common(model, "chat.completion.chunk")
    said = {"index": 0, "delta": _refusal(refused), "logprobs": None, "finish_reason": None}
    ended = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "content_filter"}
    chunks = [common | {"choices": [said]}, common | {"choices": [ended], "guard": shown(policy, refused.report, None)}]
    if options.moderation is not None:
        told = moderated(policy, options.moderation, refused.verdicts, None)
        chunks.append(common | {"choices": [], "moderation": told})
    if usage:
        chunks = [*[chunk | {"usage": None} for chunk in chunks], common | {"choices": [], "usage": _USAGE}]
    return chunks


def blocked_answer(
    told: dict[str, Any], verdicts: Sequence[Verdict], begun: Begun, policy: Policy
) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer of which something was blocked; `told` has the refusal in its place."""
    if begun.options.style_under(policy) in ("openai", "azure"):
        return 200, told
    return _error(policy.spec.chat.refusals.output, policy, begun.options, verdicts, told["guard"])


def _common(model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{fresh_id()}", "object": kind, "created": int(time.time()), "model": model}


def _refusal(refused: Refused) -> dict[str, Any]:
    # In the content too, which all clients show.
    return {"role": "assistant", "content": refused.says, "refusal": refused.says}


def _error(
    says: str, policy: Policy, options: Options, verdicts: Sequence[Verdict], found: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    if options.style_under(policy) == "openai_error":
        error = {"message": says, "type": "invalid_request_error", "param": "messages", "code": "content_filter"}
        return 400, {"error": error, "guard": found}
    results = mistral_results(policy, verdicts, options.guardrails)
    refused: dict[str, Any] = {"message": "Content blocked by guardrail", "status": 403}
    if not any(result["decisions"] for result in results.values()):
        # Mistral's code for a check that failed.
        refused["code"] = 3201
    return 403, {"error": refused, "guardrails": {"results": results}, "guard": found}


def _azure(says: str, policy: Policy, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    results = azure_results(policy, verdicts)
    # Azure's own answers have the one name, its documentation the other.
    inner = {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": results,
        "content_filter_results": results,
    }
    error = {"message": says, "type": None, "param": "prompt", "code": "content_filter", "status": 400}
    return {"error": error | {"innererror": inner}, "prompt_filter_results": prompt_filter_results(policy, verdicts)}
