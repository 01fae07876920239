"""`guard policy dialects`: what a policy's categories are called in other vendors' answers."""

from pathlib import Path

import rich_click as click

from guard.cli import policies_option

__all__ = ["command"]


@click.command("dialects")
@click.argument("name")
@policies_option
def command(name: str, policies: Path | None) -> None:
    """Show how the categories of other vendors' dialects are computed from those of policy NAME, as Markdown."""
    from guard.config import settings_from
    from guard.dialects.tables import tables
    from guard.policy import load_policies
    from guard.service import pattern_names

    loaded = load_policies(settings_from(policies=policies).policies, pattern_names())
    if name not in loaded:
        raise click.UsageError(f"no policy `{name}`; there is: {', '.join(loaded)}")
    click.echo(tables(loaded[name]), nl=False)
