"""For whoever runs the service: is it alive, is it ready, what does it do."""

from typing import Any

from litestar import Request, Response, Router, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from guard import __version__
from guard.api.body import answer
from guard.api.openapi import described
from guard.api.schemas import Health, Readiness, models_of
from guard.service import Service

__all__ = ["router"]


def router(service: Service) -> Router:
    """The routes of operations, bound to their service."""

    @get(
        "/healthz",
        operation_class=described(Health, text="The process is alive"),
        summary="Is the process alive?",
        tags=["operations"],
    )
    async def healthz() -> Response[bytes]:
        """Answers as long as the process can."""
        return answer(Health("ok", __version__))

    @get(
        "/readyz",
        operation_class=described(Readiness, text="Send requests here"),
        summary="Should requests be sent here?",
        tags=["operations"],
    )
    async def readyz(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Ready. A policy folder that is kept out is shown: the policies before it stay in use."""
        readiness = Readiness(
            status="ready",
            policies={policy.name: policy.fingerprint for policy in service.book},
            policies_loaded_at=service.book.status.loaded_at,
            policies_rejected=tuple([str(problem) for problem in service.book.status.problems]),
            models=models_of(service.moderator),
            rollouts=dict(service.book.rollouts),
            keys_rejected=(service.gate.keys.status.problem or None) if service.gate.keys is not None else None,
            store_problem=(service.recorder.store.problem or None) if service.recorder is not None else None,
        )
        return answer(readiness)

    @get("/metrics", media_type="text/plain", summary="Prometheus metrics", tags=["operations"])
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Counters and latencies in Prometheus's text format."""
        return Response(generate_latest(service.registry), media_type=CONTENT_TYPE_LATEST)

    return Router("", route_handlers=[healthz, readyz, metrics])
