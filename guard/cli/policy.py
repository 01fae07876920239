"""`guard policy`: look at policies, check them and compare them."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from guard.cli import policies_option
from guard.cli.changelog import command as changelog
from guard.cli.dialects import command as dialects
from guard.cli.diff import command as diff
from guard.content import Content, Rail
from guard.errors import ConfigError, InvalidPolicy, ModelError, Problem
from guard.judge import asking
from guard.judge.pieces import prose_tokens
from guard.judge.rendering import FORMATS, WRAPPINGS, Format, Prompt, Wrapping, prompts
from guard.policy import Policy

if TYPE_CHECKING:
    from guard.engine.tokens import ModelTokens

__all__ = ["command"]


@click.group("policy")
def command() -> None:
    """Look at policies, check them and compare them."""


command.add_command(changelog)
command.add_command(dialects)
command.add_command(diff)


@command.command("list")
@policies_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_policies(policies: Path | None, as_json: bool) -> None:
    """List the policies of a folder."""
    loaded = _load(policies)
    if as_json:
        rows = [
            {
                "name": p.name,
                "fingerprint": p.fingerprint,
                "categories": list(p.categories),
                "extends": p.spec.extends,
            }
            for p in loaded.values()
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("policy", "fingerprint", "extends", "categories", "description", box=None, header_style="bold")
    for policy in loaded.values():
        spec = policy.spec
        summary = " ".join(spec.description.split())
        table.add_row(policy.name, policy.fingerprint[:12], spec.extends or "", str(len(policy.categories)), summary)
    Console().print(table)


@command.command("lint")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@policies_option
def lint(folder: Path | None, policies: Path | None) -> None:
    """Check the policies of FOLDER, their cases and gates, and rollout.yaml: every mistake with file, line and path.

    Exit codes: 0 all is well, 1 there are mistakes.
    """
    from guard.config import settings_from
    from guard.policy import load_folder
    from guard.regress.suite import load_suites
    from guard.service import pattern_names

    place, patterns = settings_from(policies=folder or policies).policies, pattern_names()
    problems: set[Problem] = set()
    try:
        loaded, rollouts = load_folder(place, patterns)
        _check_calibrations(loaded)
    except InvalidPolicy as exc:
        problems.update(exc.problems)
    try:
        suites = load_suites([place], patterns)
    except InvalidPolicy as exc:
        problems.update(exc.problems)
    if problems:
        for problem in sorted(problems):
            click.echo(str(problem))
        click.echo(f"{len(problems)} problem{'s' * (len(problems) != 1)}", err=True)
        sys.exit(1)
    cases = sum(len(suite.cases) for suite in suites)
    click.echo(f"{len(loaded)} policies are valid: {', '.join(loaded)}; {cases} cases", err=True)
    if rollouts:
        click.echo(f"rollout.yaml is valid, for: {', '.join(rollouts)}", err=True)


@command.command("show")
@click.argument("name")
@policies_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of YAML.")
def show(name: str, policies: Path | None, as_json: bool) -> None:
    """Show policy NAME in full, with all that it inherits."""
    loaded = _load(policies)
    if name not in loaded:
        raise click.UsageError(f"no policy `{name}`; there is: {', '.join(loaded)}")
    spec = msgspec.to_builtins(loaded[name].spec)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(spec), indent=2).decode())
        return
    import yaml

    click.echo(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=100).rstrip())


@command.command("show-prompt")
@click.argument("name")
@policies_option
@click.option("--text", default="The text to judge stands here.", help="The text to put in.")
@click.option("--rail", type=click.Choice([rail.value for rail in Rail]), default="input", show_default=True)
@click.option("--category", help="The category that is asked about [the first].")
@click.option("--format", "form", type=click.Choice(FORMATS), default="instruct", show_default=True)
@click.option("--template", type=click.Choice(list(WRAPPINGS)), help="Chat template [the tokenizer's, or mistral].")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path, exists=True),
    help="A model's folder or its tokenizer file: shows the token ids too, and the labels'.",
)
def show_prompt(
    name: str,
    policies: Path | None,
    text: str,
    rail: str,
    category: str | None,
    form: Format,
    template: str | None,
    tokenizer: Path | None,
) -> None:
    """Show what a judge reads under policy NAME: the prompt to the letter, and the labels of its answer."""
    from guard.text import normalise

    loaded = _load(policies)
    if name not in loaded:
        raise click.UsageError(f"no policy `{name}`; there is: {', '.join(loaded)}")
    policy = loaded[name]
    active = [found.name for found in policy.active(Rail(rail))]
    asked = category or active[0]
    if asked not in active:
        raise click.UsageError(
            f"--category: `{name}` does not check `{asked}` on this rail; it has: {', '.join(active)}"
        )
    content = Content.of(normalise(text).text, rail=Rail(rail))
    inquiry = asking(policy, content, (asked,))
    from guard.config import settings_from

    context = settings_from().judge.context_tokens
    tokens = _tokens(tokenizer) if tokenizer is not None else None
    own = tokens.template() if tokens is not None and template is None else None
    wrapping = Wrapping(own.before, own.after, own.lead) if own is not None else WRAPPINGS[template or "mistral"]
    prose = prose_tokens if tokens is None else lambda words: len(tokens.start(words))
    for prompt in prompts(inquiry, form, wrapping, context=context, prose=prose):
        click.echo(prompt.shared + prompt.text + prompt.ask)
        click.echo(f"\nlabels: {', '.join(map(repr, prompt.labels))}", err=True)
        if tokens is not None:
            _show_tokens(tokens, prompt)


def _tokens(path: Path) -> "ModelTokens":
    from guard.engine.tokens import ModelTokens

    if not path.is_dir() and path.name not in ("tokenizer.json", "tokenizer.model"):
        raise ConfigError(f"--tokenizer: {path} is no model's folder, tokenizer.json or tokenizer.model")
    return ModelTokens(path if path.is_dir() else path.parent)


def _show_tokens(tokens: "ModelTokens", prompt: Prompt) -> None:
    """The ids of the prompt, as the local judge reads it, and of each label."""
    whole = [*tokens.start(prompt.shared), *tokens.plain(prompt.text), *tokens.control(prompt.ask)]
    click.echo(f"{len(whole)} tokens: {' '.join(map(str, whole))}")
    for label in prompt.labels:
        try:
            click.echo(f"label {label!r}: {tokens.labels(prompt.ask[-32:], (label,))[0]}")
        except ModelError:
            click.echo(f"label {label!r}: not one token after this template")


def _check_calibrations(loaded: Mapping[str, Policy]) -> None:
    """Raises InvalidPolicy where one was fitted on another screen than this one; the service would refuse it."""
    from guard.policy.calibration import misfits
    from guard.service import shipped_model

    if any(policy.calibration is not None for policy in loaded.values()):
        here = shipped_model()
        found = {one for policy in loaded.values() for one in misfits(policy.calibration, screen=here, judge=None)}
        if found:
            raise InvalidPolicy(sorted(found))


def _load(folder: Path | None) -> dict[str, Policy]:
    from guard.config import settings_from
    from guard.policy import load_policies
    from guard.service import pattern_names

    return load_policies(settings_from(policies=folder).policies, pattern_names())
