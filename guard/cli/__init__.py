"""The command line: `guard serve | check | scan | test | perturb | evaluate | calibrate | …`.

Commands import what they need when they run: `guard --help` loads no model.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich_click.rich_command import RichGroup

from guard import __version__
from guard.errors import GuardError

if TYPE_CHECKING:
    from guard.policy import Policy
    from guard.service import Service

__all__ = ["main", "policies_option", "quiet_service"]


class _Lazy(RichGroup):
    """A group whose commands live in modules that are imported when a command is asked for."""

    modules = (
        "calibrate",
        "check",
        "completion",
        "evaluate",
        "keys",
        "perturb",
        "policy",
        "records",
        "scan",
        "serve",
        "test",
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.modules:
            return None
        module = __import__(f"guard.cli.{name}", fromlist=["command"])
        command: click.Command = module.command
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="guard")
def cli() -> None:
    """Self-hosted content moderation: policies as YAML, verdicts with scores."""


def main() -> None:
    """The entry point: Guard's own errors become one clear message and exit code 2."""
    try:
        cli(standalone_mode=True)
    except GuardError as exc:
        click.echo(f"guard: {exc}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output (head, less) has left: that is no error of ours.
        sys.stderr.close()
        sys.exit(0)


def quiet_service(policies: Path | None, name: str | None) -> tuple["Service", "Policy"]:
    """A service whose log holds only errors, and the policy `name` (the default where none is given)."""
    from guard.config import settings_from
    from guard.service import build
    from guard.telemetry import configure_logging

    settings = settings_from(policies=policies)
    configure_logging(level="error", form="text")
    service = build(settings, serving=False)
    return service, service.book[name or settings.default_policy]


def policies_option(function: click.decorators.FC) -> click.decorators.FC:
    """`--policies DIR`, shared by every command that reads policies."""
    return click.option(
        "--policies",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the policies [GUARD_POLICIES; ./policies, else those of the package].",
    )(function)
