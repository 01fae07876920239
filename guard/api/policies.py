"""The loaded policies, and whether a policy text is right."""

import asyncio
from typing import Any

import msgspec
from litestar import Request, Response, Router, get, post

from guard.api.access import admitted, caller_of
from guard.api.body import answer, decoded, read
from guard.api.openapi import described
from guard.api.schemas import PolicyPage, PolicySummary, PolicyValidation, ValidationProblem
from guard.errors import InvalidPolicy, LimitExceeded
from guard.policy import Policy, PolicySpec
from guard.policy.calibration import CategoryFits
from guard.service import Service

__all__ = ["router"]


class PolicyText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy as it would stand in `policy.yaml`."""

    yaml: str


class PolicyView(msgspec.Struct, frozen=True):
    """A policy in full, as it is after `extends`; `calibration` has the curves of its categories, if any."""

    name: str
    fingerprint: str
    policy: PolicySpec
    calibration: dict[str, CategoryFits] | None = None


MAX_POLICY = 131_072
"""Characters of a policy text that is checked."""

_DECODER = msgspec.json.Decoder(PolicyText)


def router(service: Service) -> Router:
    """The routes that show policies, bound to their service."""
    one_at_a_time = asyncio.Lock()
    most = service.settings.limits.max_body_bytes

    @get(
        "/policies",
        operation_class=described(PolicyPage, text="The loaded policies", errors=(401,)),
        summary="List the loaded policies",
        tags=["policies"],
    )
    async def list_policies(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The loaded policies with their fingerprints."""
        caller = caller_of(request.scope, service.gate)
        mine = [policy for policy in service.book if not caller.policies or policy.name in caller.policies]
        default = caller.policy(None, service.settings.default_policy)
        page = PolicyPage(tuple([_summary(policy) for policy in mine]), default)
        return answer(page)

    @get(
        "/policies/{name:str}",
        operation_class=described(PolicyView, text="The policy, `extends` resolved", errors=(401, 403, 404)),
        summary="Show one policy in full",
        tags=["policies"],
    )
    async def show_policy(request: Request[Any, Any, Any]) -> Response[bytes]:
        """One policy, with everything that it inherits."""
        caller = caller_of(request.scope, service.gate)
        policy = service.book[service.gate.policy(caller, request.path_params["name"], "")]
        fits = policy.calibration.categories if policy.calibration is not None else None
        return answer(PolicyView(policy.name, policy.fingerprint, policy.spec, fits))

    @post(
        "/policies/validate",
        status_code=200,
        operation_class=described(
            PolicyValidation, body=PolicyText, text="Every mistake, or none", errors=(400, 401, 408, 413, 415, 422, 429)
        ),
        summary="Check a policy text without loading it",
        tags=["policies"],
    )
    async def validate_policy(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Checks a policy text as the loader would; it may extend a loaded policy."""
        caller = caller_of(request.scope, service.gate)
        text = decoded(await read(request.scope, request.receive, most), _DECODER)
        if len(text.yaml) > MAX_POLICY:
            message = f"{len(text.yaml)} characters; a policy may have {MAX_POLICY} (max_policy)"
            raise LimitExceeded(message, limit="max_policy", allowed=MAX_POLICY, path="$.yaml")
        await admitted(service.gate, caller, len(text.yaml))
        try:
            # One at a time and beside the loop: a policy with thousands of expressions takes a second.
            async with one_at_a_time:
                policy = await asyncio.to_thread(service.book.validate, text.yaml)
        except InvalidPolicy as exc:
            problems = tuple([ValidationProblem(p.line, p.path, p.message) for p in exc.problems])
            return answer(PolicyValidation(False, None, None, problems))
        return answer(PolicyValidation(True, policy.name, policy.fingerprint, ()))

    return Router("", route_handlers=[list_policies, show_policy, validate_policy])


def _summary(policy: Policy) -> PolicySummary:
    spec = policy.spec
    return PolicySummary(policy.name, policy.fingerprint, spec.description, tuple(policy.categories), spec.extends)
