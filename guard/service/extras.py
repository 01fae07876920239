"""Parts of Guard that need packages which not every installation has."""

import os

from guard.config import TraceSettings
from guard.errors import ConfigError
from guard.telemetry import Listener, Tracer
from guard.telemetry.sampling import Sampling

__all__ = ["remedy", "tracing"]


def tracing(asked: TraceSettings, listener: Listener) -> Tracer | None:
    """Who records traces; OpenTelemetry is imported only where they are asked for.

    Raises:
        ConfigError: it is not installed, or a setting of its own is wrong.
    """
    # OpenTelemetry's own word for off.
    if not asked.endpoint or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from guard.telemetry.otlp import OtlpTracer  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigError(f"GUARD_OTLP_ENDPOINT {remedy(exc, 'otel')}") from exc
    return OtlpTracer(asked.endpoint, Sampling(asked.share, asked.asked_per_second), listener)


def remedy(exc: ImportError, extra: str) -> str:
    """What a part of Guard lacks, and what brings it."""
    if exc.name and exc.name.partition(".")[0] in ("guard", "guard_kernels"):
        return (
            f"needs {exc.name}, a part of Guard that this installation lacks: install guard-moderation anew, from a "
            "source tree with both guard/ and kernels/"
        )
    if isinstance(exc, ModuleNotFoundError):
        return f"needs a package that is not installed ({exc.name}): pip install 'guard-moderation[{extra}]'"
    return f"needs {exc.name or 'a package'}, which is there but cannot be imported ({exc}): install it anew"
