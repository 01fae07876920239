"""Settings: read once from `GUARD_*`, checked, frozen; an unknown or bad value refuses to start."""

import difflib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guard.errors import ConfigError

__all__ = [
    "AccessSettings",
    "CacheSettings",
    "JudgeSettings",
    "Limits",
    "ServerSettings",
    "Settings",
    "TraceSettings",
    "UpstreamSettings",
    "settings_from",
    "variables",
]

PACKAGED_POLICIES = Path(__file__).parent / "default_policies"


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One concern's settings."""


class ServerSettings(_Settings, frozen=True):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 lets the system choose one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log event that is written."""
    log_format: Literal["json", "text"] = "json"
    """`json`: one object a line; `text`: for reading at a terminal."""
    drain_seconds: Annotated[int, Meta(ge=0, le=3_600)] = 20
    """How long requests in flight may go on after SIGTERM."""
    body_seconds: Annotated[float, Meta(gt=0.0)] = 30.0
    """How long a request's body may take to come whole; after that it is answered with 408."""
    unread_seconds: Annotated[float, Meta(gt=0.0)] = 60.0
    """How long a client may take nothing of an answer that lies ready for it; then its connection ends."""
    max_connections: Annotated[int, Meta(ge=1)] = 10_000
    """Open connections; past that new ones get 503. Fewer where the system allows too few open files."""
    keep_alive_seconds: Annotated[int, Meta(ge=1)] = 5
    """How long a connection may be idle between two requests."""


class Limits(_Settings, frozen=True):
    """What one request may ask for."""

    max_body_bytes: Annotated[int, Meta(ge=1_024)] = 1_048_576
    """Size of a request's body; more is refused with 413."""
    max_texts: Annotated[int, Meta(ge=1)] = 256
    """Texts in one request; more are refused with 422."""
    max_characters: Annotated[int, Meta(ge=1)] = 200_000
    """Characters of one text, its conversation included; more are refused with 422."""
    max_waiting_texts: Annotated[int, Meta(ge=1)] = 2_048
    """Texts of one tenant that may wait for the screen; past that, its requests are refused with 503."""

    def __post_init__(self) -> None:
        if self.max_waiting_texts < self.max_texts:
            raise ValueError(
                f"GUARD_MAX_WAITING_TEXTS: {self.max_waiting_texts} is below GUARD_MAX_TEXTS ({self.max_texts}): "
                "no full request could pass"
            )


class AccessSettings(_Settings, frozen=True):
    """Who is let in."""

    keys: Path | None = None
    """File of the API keys (`guard keys`); nobody is asked for one when absent."""
    without_keys: bool = False
    """Whether to listen on an address that is not the loopback's though nobody is asked for a key."""


class CacheSettings(_Settings, frozen=True):
    """The verdict cache."""

    entries: Annotated[int, Meta(ge=0)] = 20_000
    """Assessments kept in memory; 0 switches the memory cache off."""
    ttl_seconds: Annotated[int, Meta(ge=1)] = 3_600
    """How long an assessment is kept."""
    secret: Annotated[str, Meta(min_length=16)] = ""
    """Secret that cache keys are hashed with; random for each process when absent. Set it for Redis."""
    redis_url: str = ""
    """Redis that replicas share, such as `redis://host:6379/0`; in memory only when absent."""


class JudgeSettings(_Settings, frozen=True):
    """The judge: an instruct model on this machine, or behind an OpenAI-compatible server."""

    local: str = ""
    """Mistral-7B for this machine: a folder, or a name on Hugging Face's hub; no local judge when absent."""
    url: str = ""
    """Server of the judge, such as `http://vllm:8000/v1`; no judge when absent."""
    model: str = ""
    """Model of that server; `/v1/models` there lists them."""
    key: str = ""
    """API key for that server."""
    api: Literal["completions", "chat", "decisions"] = "completions"
    """Route that is asked: `completions` (exact with vLLM), `chat` (the server's own chat template), `decisions`."""
    template: Literal["mistral", "chatml", "llama3", "gemma", "plain"] = "mistral"
    """Chat template that `completions` writes around a prompt."""
    format: Literal["instruct", "wildguard", "llama_guard"] = "instruct"
    """Prompts: of any instruct model, or the own format of WildGuard or of Llama Guard 3; also for a local judge."""
    dtype: Literal["bf16", "fp8"] = "bf16"
    """Numbers of a local model's linear layers: `bf16` (on a CPU float32), or `fp8` on GPUs that have it."""
    context_tokens: Annotated[int, Meta(ge=512)] = 8_192
    """Tokens that the model reads at once; longer texts are read in overlapping windows."""
    timeout_seconds: Annotated[float, Meta(gt=0.0)] = 30.0
    """How long one call may take; a policy's `deadline_ms` holds as well."""
    in_flight: Annotated[int, Meta(ge=1)] = 16
    """Calls that may run at the same time."""
    max_waiting: Annotated[int, Meta(ge=1)] = 1_024
    """Texts that may wait for the judge; past that, requests are refused with 503."""

    def __post_init__(self) -> None:
        if self.local and self.url:
            raise ValueError("GUARD_JUDGE and GUARD_JUDGE_URL: there is one judge; give one of the two")
        if self.dtype != "bf16" and not self.local:
            raise ValueError("GUARD_JUDGE_DTYPE is of a local judge: give GUARD_JUDGE as well")


class UpstreamSettings(_Settings, frozen=True):
    """Who answers guarded chats."""

    url: str = ""
    """OpenAI-compatible server that answers chats, such as `http://vllm:8000/v1`; no guarded chat when absent."""
    key: str = ""
    """API key for that server; when absent, each client's own `Authorization` goes along."""
    system_role: Literal["system", "developer", "none"] = "system"
    """Role under which its models read the policy's system prompt; `none`: before the user's first words."""
    timeout_seconds: Annotated[float, Meta(gt=0.0)] = 600.0
    """How long it may be silent."""
    file: Path | None = None
    """YAML file with several servers instead (docs/chat.md)."""

    def __post_init__(self) -> None:
        if self.file is not None and self.url:
            raise ValueError("GUARD_UPSTREAMS and GUARD_UPSTREAM_URL: give one of the two")


class TraceSettings(_Settings, frozen=True):
    """OpenTelemetry traces."""

    endpoint: str = ""
    """OTLP collector that traces are sent to over HTTP, such as `http://collector:4318`; no traces when absent."""
    share: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.01
    """Share of the requests that are traced, from 0 to 1; of those that come without a trace of their client's."""
    asked_per_second: Annotated[float, Meta(ge=0.0)] = 10.0
    """Traces a second that clients may ask for by a sampled `traceparent`; past that the share decides."""


class Settings(_Settings, frozen=True):
    """Everything that a deployment can set."""

    server: ServerSettings = ServerSettings()
    limits: Limits = Limits()
    access: AccessSettings = AccessSettings()
    cache: CacheSettings = CacheSettings()
    judge: JudgeSettings = JudgeSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    traces: TraceSettings = TraceSettings()
    policies: Path = Path("policies")
    """Folder of the policies; `./policies` where there is one, else those that come with the package."""
    default_policy: str = "default"
    """Policy of requests that name none."""
    store: str = ""
    """File of the records of verdicts, a path or `sqlite:///PATH`; nothing is stored anywhere when absent."""
    reload_seconds: Annotated[float, Meta(ge=0.05)] = 1.0
    """How often the policy folder, and the file of keys, are looked at for changes."""
    encoder_threads: Annotated[int, Meta(ge=0)] = 0
    """Texts that are scored at the same time, twice as many where several tenants are there; 0: one per CPU."""
    static_tier: bool = False
    """Whether a static tier may settle the plainest texts before the encoder, all with the same low scores."""

    @property
    def cache_secret(self) -> bytes:
        """The secret for cache keys, made up where none is set."""
        return self.cache.secret.encode() or secrets.token_bytes(32)


class _Variable(msgspec.Struct, frozen=True):
    """One environment variable: the group and field it sets."""

    group: str
    field: str
    kind: Any


_GROUPS: dict[str, type[_Settings]] = {
    "server": ServerSettings,
    "limits": Limits,
    "access": AccessSettings,
    "cache": CacheSettings,
    "judge": JudgeSettings,
    "upstream": UpstreamSettings,
    "traces": TraceSettings,
    "": Settings,
}
_NAMES = {
    ("cache", "redis_url"): "GUARD_REDIS_URL",
    ("judge", "local"): "GUARD_JUDGE",
    ("upstream", "file"): "GUARD_UPSTREAMS",
    ("traces", "endpoint"): "GUARD_OTLP_ENDPOINT",
}
_PREFIXES = {
    "server": "",
    "limits": "",
    "access": "",
    "cache": "CACHE_",
    "judge": "JUDGE_",
    "upstream": "UPSTREAM_",
    "traces": "TRACE_",
    "": "",
}


def variables() -> dict[str, _Variable]:
    """Every environment variable that Guard knows, by name."""
    known = {}
    for group, kind in _GROUPS.items():
        for field in msgspec.structs.fields(kind):
            if field.name in _GROUPS:
                continue
            name = _NAMES.get((group, field.name), f"GUARD_{_PREFIXES[group]}{field.name.upper()}")
            known[name] = _Variable(group, field.name, field.type)
    return known


def settings_from(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings of an environment (the process's own by default). An empty variable counts as absent.

    `overrides` are values of variables given otherwise (command-line options), by the variable's
    name in lower case without `GUARD_`; None means not given.

    Raises:
        ConfigError: naming every unknown variable and every bad value at once.
    """
    given = os.environ if environment is None else environment
    values = {name: value for name, value in given.items() if name.startswith("GUARD_") and value}
    values |= {f"GUARD_{name.upper()}": str(value) for name, value in overrides.items() if value is not None}
    known = variables()
    faults: list[str] = []
    groups: dict[str, dict[str, Any]] = {group: {} for group in _GROUPS}
    for name, text in sorted(values.items()):
        variable = known.get(name)
        if variable is None:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
            faults.append(f"{name} is not a setting of this version; {hint}")
            continue
        try:
            groups[variable.group][variable.field] = _value(text, variable.kind)
        except (msgspec.ValidationError, ValueError) as exc:
            faults.append(f"{name}: {str(exc)[:1].lower()}{str(exc)[1:]}")
    top = groups.pop("")
    if "policies" not in top and not Settings().policies.is_dir():
        top["policies"] = PACKAGED_POLICIES
    parts: dict[str, Any] = {}
    for group, fields in groups.items():
        try:
            parts[group] = _GROUPS[group](**fields)
        except ValueError as exc:
            faults.append(str(exc))
    if faults:
        raise ConfigError("\n".join(faults))
    return Settings(**parts, **top)


def _value(text: str, kind: Any) -> Any:
    """A variable's text as its setting's type."""
    if kind is Path or kind == Path | None:
        return Path(text).expanduser()
    return msgspec.convert(text, kind, strict=False)
