"""`guard keys`: the file of API keys."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import rich_click as click

__all__ = ["command"]


@click.group("keys")
def command() -> None:
    """Make, list and revoke API keys.

    A running service reads the file again when it changes. Without GUARD_KEYS nobody is asked for a key.
    """


def _file_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="GUARD_KEYS",
        default=Path("keys.yaml"),
        show_default=True,
        help="File of the keys [GUARD_KEYS].",
    )(function)


@command.command("create")
@click.argument("name")
@_file_option
@click.option("--role", type=click.Choice(["client", "reviewer", "admin"]), default="client", show_default=True)
@click.option("--tenant", default="", help="Whose key it is; keys of one tenant share cached verdicts [its own name].")
@click.option("--policy", "policies", multiple=True, help="A policy that it may use; several times [all].")
@click.option("--default-policy", help="Policy of its requests that name none [GUARD_DEFAULT_POLICY].")
@click.option(
    "--block-style",
    type=click.Choice(["openai", "openai_error", "mistral", "azure"]),
    help="How a blocked chat looks to it [the policy's].",
)
@click.option("--requests-per-minute", type=click.IntRange(min=1), help="[no bound]")
@click.option("--characters-per-minute", type=click.IntRange(min=1), help="[no bound]")
@click.option("--days", type=click.IntRange(min=1), help="How long it is valid [for ever].")
def create(
    name: str,
    file: Path,
    role: str,
    tenant: str,
    policies: tuple[str, ...],
    default_policy: str | None,
    block_style: str | None,
    requests_per_minute: int | None,
    characters_per_minute: int | None,
    days: int | None,
) -> None:
    """Make a key called NAME and print it: it is shown this once and kept nowhere."""
    from guard.access.keys import Rates, changing, make, read, written

    now = datetime.now(UTC).replace(microsecond=0)
    key, shown = make(
        name,
        now=now,
        role=role,
        tenant=tenant,
        policies=policies,
        default_policy=default_policy,
        block_style=block_style,
        rates=Rates(requests_per_minute, characters_per_minute),
        expires=now + timedelta(days=days) if days is not None else None,
    )
    with changing(file):
        written(file, [*(read(file) if file.exists() else ()), key])
    click.echo(shown)
    click.echo(f"{key.name} ({key.id}) is in {file}; keep the line above, it is shown this once.", err=True)


@command.command("list")
@_file_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a key.")
def list_keys(file: Path, *, as_json: bool) -> None:
    """List the keys with their rights; nobody can use what is shown."""
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from guard.access.keys import read

    now = datetime.now(UTC)
    keys = read(file)
    if as_json:
        for key in keys:
            told = {name: value for name, value in msgspec.to_builtins(key).items() if name != "sha256"}
            click.echo(msgspec.json.encode(told | {"valid": not key.over(now)}))
        return
    table = Table("id", "name", "role", "tenant", "policies", "a minute", "created", "state")
    for key in keys:
        bounds = ((key.rates.requests_per_minute, "requests"), (key.rates.characters_per_minute, "characters"))
        rates = ", ".join(f"{bound:,} {unit}" for bound, unit in bounds if bound is not None)
        state = "revoked" if key.revoked else "expired" if key.over(now) else "valid"
        if state == "valid" and key.expires is not None:
            state = f"until {key.expires:%Y-%m-%d}"
        policies = ", ".join(key.policies) or "all"
        table.add_row(
            key.id, key.name, key.role, key.tenant or key.name, policies, rates, f"{key.created:%Y-%m-%d}", state
        )
    Console().print(table)


@command.command("revoke")
@click.argument("which")
@_file_option
def revoke(which: str, file: Path) -> None:
    """Revoke the keys whose id or name is WHICH."""
    from guard.access.keys import read, revoked, written

    after, ended = revoked(read(file), which, datetime.now(UTC).replace(microsecond=0))
    if not ended:
        raise click.ClickException(
            f"{file} has no valid key with the id or name `{which}`; `guard keys list` shows them"
        )
    written(file, after)
    click.echo(f"revoked: {', '.join(f'{key.name} ({key.id})' for key in ended)}")
