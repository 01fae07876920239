"""A model's own tokenizer and chat template.

Text that is judged is cut into tokens with every special token switched off: whatever it says, it stays text.
"""

import json
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from guard.errors import ModelError

__all__ = ["ModelTokens", "Template"]

_MARK = "GUARDMARK"


class Template(msgspec.Struct, frozen=True):
    """What stands before and after a single message, and how an answer's first word begins."""

    before: str
    after: str
    lead: str


class ModelTokens:
    """Tokens of one model. Safe to call from several threads.

    Raises:
        ModelError: the folder has no tokenizer that can be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._control = _tokenizer(folder)
        self._plain = Tokenizer.from_str(self._control.to_str())
        self._plain.encode_special_tokens = True
        config = _config(folder)
        begin = config.get("bos_token")
        begin = begin.get("content") if isinstance(begin, dict) else begin
        found = self._control.token_to_id(begin) if isinstance(begin, str) else None
        self.begin: tuple[int, ...] = (found,) if found is not None else ()
        self._template = config.get("chat_template")

    def template(self) -> Template | None:
        """The model's chat template around one message; None where it has none.

        Raises:
            ModelError: the template cannot be taken apart.
        """
        if not isinstance(self._template, str):
            return None
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 (only models with a template)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        messages = [{"role": "user", "content": _MARK}, {"role": "assistant", "content": f"{_MARK}2"}]
        try:
            compiled = environment.from_string(self._template)
            asked = compiled.render(messages=messages[:1], bos_token="", eos_token="", add_generation_prompt=True)
            answered = compiled.render(messages=messages, bos_token="", eos_token="")
        except Exception as exc:
            raise ModelError(f"{self._folder}: its chat template cannot be used ({exc})") from exc
        before, mark, after = asked.partition(_MARK)
        if not mark or not answered.startswith(asked):
            raise ModelError(f"{self._folder}: its chat template changes a message or what stands before an answer")
        lead = answered[len(asked) :].partition(f"{_MARK}2")[0]
        return Template(before, after, lead)

    def control(self, text: str) -> list[int]:
        """The tokens of our own words, in which the template's control words are special tokens."""
        ids: list[int] = self._control.encode(text, add_special_tokens=False).ids
        return ids

    def plain(self, text: str) -> list[int]:
        """The tokens of somebody else's words, in which nothing is special."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def labels(self, stem: str, labels: tuple[str, ...]) -> tuple[int, ...]:
        """The one token that each label is after `stem`.

        Raises:
            ModelError: a label is more than one token, or two labels are the same one.
        """
        before = self.control(stem)
        found = []
        for label in labels:
            after = self.control(stem + label)
            if len(after) != len(before) + 1 or after[:-1] != before:
                raise ModelError(f"{self._folder}: the label {label!r} is not one token after its chat template")
            found.append(after[-1])
        if len(set(found)) != len(found):
            raise ModelError(f"{self._folder}: two of the labels {', '.join(labels)} are the same token")
        return tuple(found)


def _refuse(message: str) -> str:
    raise ValueError(message)


def _config(folder: Path) -> dict[str, object]:
    path = folder / "tokenizer_config.json"
    try:
        found: dict[str, object] = json.loads(path.read_bytes()) if path.exists() else {}
    except ValueError as exc:
        raise ModelError(f"{path} is not JSON: {exc}") from exc
    template = folder / "chat_template.jinja"
    if template.exists():
        found["chat_template"] = template.read_text(encoding="utf-8")
    return found


def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if path.exists():
        try:
            return Tokenizer.from_file(str(path))
        except Exception as exc:
            raise ModelError(f"{path} cannot be read: {exc}") from exc
    if not (folder / "tokenizer.model").exists():
        raise ModelError(f"{folder} has neither tokenizer.json nor tokenizer.model")
    from transformers import AutoTokenizer  # noqa: PLC0415 (seconds, and only for old folders)

    try:
        found: Tokenizer = AutoTokenizer.from_pretrained(str(folder), use_fast=True).backend_tokenizer
    except Exception as exc:
        raise ModelError(f"{folder / 'tokenizer.model'} cannot be converted: {exc}") from exc
    return found
