"""The application: routes, limits, errors, the policy watcher, and a shutdown that drains."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from litestar import Litestar
from litestar.datastructures import State

from guard.api import chat, decisions, moderate, openapi, operations, policies, records
from guard.api.dialects import azure, litellm, llm_guard, openai, perspective
from guard.api.errors import EXCEPTION_HANDLERS
from guard.api.observe import Observed
from guard.errors import StoreError
from guard.service import Service, tracing
from guard.store import Store

__all__ = ["create_app"]

PURGE_SECONDS = 60.0
"""How often expired records are removed; nobody sees them meanwhile."""


def create_app(service: Service) -> Observed:
    """The ASGI application that serves `service`.

    Raises:
        ConfigError: traces are asked for and cannot be sent.
    """
    tracer = tracing(service.settings.traces, service.listener)
    app = Litestar(
        route_handlers=[
            moderate.router(service),
            decisions.router(service),
            chat.router(service),
            openai.router(service),
            azure.router(service),
            llm_guard.router(service),
            perspective.router(service),
            litellm.router(service),
            policies.router(service),
            records.router(service),
            operations.router(service),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=service.settings.limits.max_body_bytes,
        openapi_config=openapi.config(),
        lifespan=[_watching],
        state=State({"service": service, "tracer": tracer}),
        logging_config=None,
    )
    return Observed(app, service.listener, tracer)


@contextlib.asynccontextmanager
async def _watching(app: Litestar) -> AsyncIterator[None]:
    """Watches the policy folder and the file of keys while the application runs, and removes what has expired."""
    service: Service = app.state.service
    every = service.settings.reload_seconds
    watchers = [asyncio.create_task(service.book.watch(every=every))]
    if service.gate.keys is not None:
        watchers.append(asyncio.create_task(service.gate.keys.watch(every=every)))
    if service.recorder is not None:
        watchers.append(asyncio.create_task(_purging(service.recorder.store)))
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        if service.recorder is not None:
            await service.recorder.close()
        await service.gate.close()
        await service.chat.close()
        await service.moderator.close()
        if app.state.tracer is not None:
            await app.state.tracer.close()


async def _purging(store: Store) -> None:
    """Removes what has expired, at once and then every so often, until cancelled."""
    while True:
        # Listeners were told.
        with contextlib.suppress(StoreError):
            await store.purge()
        await asyncio.sleep(PURGE_SECONDS)
