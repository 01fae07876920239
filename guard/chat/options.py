"""What one request asks of the guarded chat beyond its policy. It can make the policy stricter, never milder."""

from collections.abc import Iterable, Mapping

import msgspec

from guard.content import Rail
from guard.policy import Policy
from guard.policy.schema import BlockStyle
from guard.verdict import CategoryVerdict, Verdict

__all__ = ["SAFE_PROMPT", "Guardrail", "Options", "block_starts"]

SAFE_PROMPT = (
    "Always assist with care, respect, and truth. Respond with utmost utility yet securely. Avoid harmful, unethical, "
    "prejudiced, or negative content. Ensure replies promote fairness and positivity."
)
"""What Mistral's `safe_prompt` puts before a chat, as its documentation has it."""


class Guardrail(msgspec.Struct, frozen=True):
    """A demand to block: from these scores on, whatever the policy's own action there.

    Attributes:
        name: as the answer that it blocks names it.
        rails: where it holds.
        thresholds: by the policy's categories.
        on_failure: whether a check that failed blocks too.
    """

    name: str
    rails: frozenset[Rail]
    thresholds: Mapping[str, float]
    on_failure: bool = False

    def found(self, verdict: Verdict) -> dict[str, CategoryVerdict]:
        """The categories of a verdict that it blocks."""
        return {
            name: msgspec.structs.replace(known, threshold=start, violated=True, action="block")
            for name, start in self.thresholds.items()
            if (known := verdict.categories.get(name)) is not None and known.score >= start
        }

    def applied(self, verdict: Verdict) -> Verdict:
        """The verdict under this demand too."""
        found = self.found(verdict)
        if not found and not (self.on_failure and verdict.degraded):
            return verdict
        new = {name: category for name, category in found.items() if verdict.categories[name].action != "block"}
        return msgspec.structs.replace(verdict, action="block", flagged=True, categories=verdict.categories | new)


class Options(msgspec.Struct, frozen=True):
    """See above.

    Attributes:
        style: how a block looks; the policy's `block_style` where None.
        vetted: whether chunks say how much of the text has been checked.
        moderation: what OpenAI's `moderation` parameter gave as `model`, where the answer shall have its results.
        guardrails: what blocks besides the policy.
        safe_prompt: whether Mistral's safe prompt is put before the chat.
        tenant: whose request it is.
        findings: whether what is found is to be told with its contents, for a record.
    """

    style: BlockStyle | None = None
    vetted: bool = False
    moderation: str | None = None
    guardrails: tuple[Guardrail, ...] = ()
    safe_prompt: bool = False
    tenant: str = ""
    findings: bool = False

    def applied(self, verdict: Verdict, rail: Rail) -> Verdict:
        """A verdict under all demands."""
        for guardrail in self.guardrails:
            if rail in guardrail.rails:
                verdict = guardrail.applied(verdict)
        return verdict

    def style_under(self, policy: Policy) -> BlockStyle:
        """How a block looks."""
        return self.style or policy.spec.chat.block_style

    def system_prompt(self, policy: Policy) -> str:
        """What the model is told first."""
        said = policy.spec.chat.system_prompt.strip()
        if not self.safe_prompt or SAFE_PROMPT in " ".join(said.split()):
            return said
        return f"{said}\n\n{SAFE_PROMPT}".strip()


def block_starts(policy: Policy, rail: Rail, guardrails: Iterable[Guardrail] = ()) -> dict[str, float]:
    """The score at which each category blocks; those are left out that never do."""
    starts = {
        category.name: start
        for category in policy.active(rail)
        for action, start in category.steps
        if action.word == "block"
    }
    for guardrail in guardrails:
        for name, start in guardrail.thresholds.items() if rail in guardrail.rails else ():
            starts[name] = min(start, starts.get(name, 1.0))
    return starts
