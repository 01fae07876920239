"""Connections to Redis: one way to make them, for whoever keeps something there."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from guard.errors import ConfigError

__all__ = ["connecting"]

_CONNECT_SECONDS = 0.5


def connecting(url: str, *, timeout: float, connections: int) -> Redis:
    """A client that connects when first used; it never tries twice, for a breaker decides on that.

    `timeout` bounds each operation, in seconds; there are at most so many `connections`.

    Raises:
        ConfigError: `url` is not a Redis address.
    """
    try:
        return Redis.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=_CONNECT_SECONDS,
            max_connections=connections,
        )
    except ValueError as exc:
        raise ConfigError(
            "GUARD_REDIS_URL is not the address of a Redis; write redis://host:6379/0, rediss:// or unix://"
        ) from exc
