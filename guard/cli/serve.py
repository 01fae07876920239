"""`guard serve`: the HTTP service."""

import asyncio
import contextlib
import functools
import gc
import ipaddress
import signal
import sys
import time
from pathlib import Path

import rich_click as click

from guard.cli import policies_option
from guard.config import Settings
from guard.errors import ConfigError

__all__ = ["command"]


SWITCH_SECONDS = 0.0005
"""After so long a thread that waits for the interpreter gets it. At 5 ms, Python's own, the screen's threads wait that
long for a busy event loop, many times for each text (docs/decisions/0010)."""


def check_open(settings: Settings) -> None:
    """Raises ConfigError where strangers could use the service without a key and nobody has said that they may."""
    host, access = settings.server.host, settings.access
    if access.keys is not None or access.without_keys or _is_loopback(host):
        return
    raise ConfigError(
        f"on {host} everybody who reaches this machine could use Guard, for nobody is asked for a key.\n"
        "Make keys (`guard keys create NAME`, then GUARD_KEYS=keys.yaml), listen on 127.0.0.1, or, where something "
        "else keeps strangers out, set GUARD_WITHOUT_KEYS=true"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@click.command("serve")
@click.option("--host", help="Address to listen on [GUARD_HOST; 127.0.0.1].")
@click.option("--port", type=int, help="Port to listen on [GUARD_PORT; 8000].")
@policies_option
@click.option("--judge", help="Mistral-7B for this machine: a folder, or a name on the hub [GUARD_JUDGE].")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Form of the log [GUARD_LOG_FORMAT; json].")
@click.option("--log-level", help="Least severe event in the log [GUARD_LOG_LEVEL; info].")
def command(
    host: str | None,
    port: int | None,
    policies: Path | None,
    judge: str | None,
    log_format: str | None,
    log_level: str | None,
) -> None:
    """Serve POST /moderate and its companions over HTTP.

    Every setting can also be given as an environment variable: docs/settings.md.
    """
    started = time.perf_counter()
    import structlog
    import uvicorn

    from guard.api.app import create_app
    from guard.api.wire import BoundedProtocol, room
    from guard.config import settings_from
    from guard.service import build
    from guard.telemetry import configure_logging

    settings = settings_from(
        host=host, port=port, policies=policies, judge=judge, log_format=log_format, log_level=log_level
    )
    server_settings = settings.server
    check_open(settings)
    configure_logging(level=server_settings.log_level, form=server_settings.log_format)
    service = build(settings)
    most = server_settings.max_connections
    service.connections.room = room(most)
    if service.connections.room < most:
        log = structlog.get_logger("guard")
        # A little less than the default is how most systems are set up, and nothing to act on.
        (log.warning if service.connections.room < most // 2 else log.info)(
            "connections_bounded",
            wanted=most,
            room=service.connections.room,
            remedy="let the process open more files (ulimit -n), or lower GUARD_MAX_CONNECTIONS",
        )
    sys.setswitchinterval(SWITCH_SECONDS)
    config = uvicorn.Config(
        create_app(service),
        host=server_settings.host,
        port=server_settings.port,
        loop="uvloop",
        http=functools.partial(  # type: ignore[arg-type]
            BoundedProtocol,
            connections=service.connections,
            body_seconds=server_settings.body_seconds,
            unread_seconds=server_settings.unread_seconds,
        ),
        # A connection that became a WebSocket would leave the bounds of this protocol, and no route speaks it.
        ws="none",
        timeout_keep_alive=server_settings.keep_alive_seconds,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=server_settings.drain_seconds,
    )

    class Server(uvicorn.Server):
        """Says where it listens once it does: with port 0 nobody else could know."""

        async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
            await super().startup()
            if not self.should_exit:
                bound = self.servers[0].sockets[0].getsockname()
                structlog.get_logger("guard").info(
                    "service_started",
                    url=f"http://{bound[0]}:{bound[1]}",
                    policies=[policy.name for policy in service.book],
                    screen=service.moderator.screen.name,
                    judge=service.moderator.judge.name if service.moderator.judge is not None else None,
                    connections=service.connections.room,
                    seconds=round(time.perf_counter() - started, 2),
                )
                # What was loaded stays for good: it need not be walked by every collection.
                gc.collect()
                gc.freeze()

    server = Server(config)
    config.load()
    # uvicorn raises SIGTERM again once it has drained: having stopped as asked is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with (
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
    ):
        runner.run(server.serve())
    if not server.started:
        raise click.ClickException(f"could not listen on {server_settings.host}:{server_settings.port}")
