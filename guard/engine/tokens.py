"""A model's own tokenizer and chat template.

Text that is judged is cut into tokens with every special token switched off: whatever it says, it stays text.

A prompt is cut part by part, and the parts together are the tokens of the whole. A tokenizer from SentencePiece puts a
space before the first word that it is given; only the prompt's own first word may get one (`start`).
"""

import json
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from guard.engine.sentencepiece import converted
from guard.engine.words import Words
from guard.errors import ModelError

__all__ = ["ModelTokens", "Template"]

_MARK = "GUARDMARK"
_ASKED = "[/INST]"
_FILES = ("tokenizer.json", "tokenizer.model")
_OVERLAP = 10
"""A piece of a long text has one token in so many of the piece before it."""
_SPACE = "▁"
_FOLLOWING = ("", "\n", "\n\nx", "\n\n\n", "\n  x", "\n.", "\n\n1", "\n\ng")
"""What may come after a text that ends with a line, or with the message: enough to see which of its tokens change."""


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

    def __init__(self, *folders: Path) -> None:
        """Of the first folder that has a tokenizer: an adapter's own, or its base's."""
        folder = next((one for one in folders if any((one / name).exists() for name in _FILES)), folders[0])
        self._folder = folder
        config = _config(folder)
        described = _described(folder, config)
        try:
            self._control = Tokenizer.from_str(json.dumps(described))
            # Where special tokens are not looked for, a token that was added is not found unless it counts as one.
            described["added_tokens"] = [token | {"special": True} for token in described.get("added_tokens") or ()]
            self._plain = Tokenizer.from_str(json.dumps(described))
        except Exception as exc:
            raise ModelError(f"{folder}: its tokenizer cannot be read: {exc}") from exc
        self._plain.encode_special_tokens = True
        self._line: list[int] = self._control.encode("\n", add_special_tokens=False).ids
        self.begin = self._special(_named(config, "bos_token"))
        self._end = _named(config, "eos_token")
        self.ends = frozenset(self._special(self._end))
        self._template = _default(config.get("chat_template"))

    def _special(self, token: str) -> tuple[int, ...]:
        found = self._control.token_to_id(token) if token else None
        return (found,) if found is not None else ()

    def template(self) -> Template | None:
        """The model's chat template around one message; None where it has none.

        Raises:
            ModelError: the template cannot be taken apart.
        """
        if not isinstance(self._template, str):
            return None
        messages = [{"role": "user", "content": _MARK}, {"role": "assistant", "content": f"{_MARK}2"}]
        try:
            asked = self._rendered(messages[:1], add_generation_prompt=True)
            answered = self._rendered(messages)
        except Exception as exc:
            raise ModelError(f"{self._folder}: its chat template cannot be used ({exc})") from exc
        before, mark, after = asked.partition(_MARK)
        if not mark or not answered.startswith(asked):
            raise ModelError(f"{self._folder}: its chat template changes a message or what stands before an answer")
        lead = answered[len(asked) :].partition(f"{_MARK}2")[0]
        if not lead and after.endswith(_ASKED) and self._spaced():
            # Mistral-7B-Instruct v0.1 and v0.2 learnt answers that begin with a space: their tokenizer put one before
            # each part of a conversation, of which their first templates say nothing.
            lead = " "
        return Template(before, after, lead)

    def conversation(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """A whole conversation (role, text) up to where the assistant answers; nothing in a text is special.

        Raises:
            ModelError: the model has no chat template, or it does not take these roles in this order.
        """
        if not isinstance(self._template, str):
            raise ModelError(f"{self._folder} has no chat template")
        marks = [f"{_MARK}{number}X" for number in range(len(messages))]
        marked = [{"role": role, "content": mark} for (role, _), mark in zip(messages, marks, strict=True)]
        try:
            rest = self._rendered(marked, add_generation_prompt=True, eos_token=self._end)
        except Exception as exc:
            raise ModelError(f"the model's chat template refuses the conversation: {exc}") from exc
        spelt = self._control.token_to_id(_ASKED) is None
        if self._end and self._spaced() and spelt:
            # Each part of a conversation began with a space, see `template`.
            rest = rest.replace(f"{self._end}[INST]", f"{self._end} [INST]")
        ids: list[int] = []
        for number, ((role, text), mark) in enumerate(zip(messages, marks, strict=True)):
            before, found, rest = rest.partition(mark)
            if not found:
                raise ModelError("the model's chat template leaves out a message, or changes their order")
            # A space belongs to the word after it, in the tokens that the model was taught.
            bare = before.removesuffix(" ")
            spaced = before != bare or (role == "assistant" and bare.endswith(_ASKED) and self._spaced())
            ids += self.control(bare) if number else self.start(bare)
            if spelt:
                # A model whose control words are letters would read them in anybody's text.
                text = text.replace("[INST]", "[ INST]").replace(_ASKED, "[ /INST]")  # noqa: PLW2901
            ids += self.plain(f" {text}" if spaced else text)
        return ids + self.control(rest)

    def beginning(self, role: str, text: str) -> list[int]:
        """The tokens that conversations begin with where the first message begins with `text` and a line's end.

        They are the text's own and the template's before it, as far as they are the same whatever follows; none where
        the template begins with something else. Whoever shares them must see that a conversation begins with them: a
        tokenizer is free to cut even the first word by the last one.
        """
        last = [] if role == "user" else [("user", "x")]
        try:
            ways = [self.conversation([(role, text + more), *last]) for more in _FOLLOWING]
            bare = self.conversation([(role, ""), *last])
        except ModelError:
            return []
        common = [alike[0] for alike in takewhile(lambda alike: len(set(alike)) == 1, zip(*ways, strict=False))]
        return common if common != bare[: len(common)] else []

    def words(self, stop: Sequence[str] = ()) -> Words:
        """The text of one answer, as its tokens come."""
        return Words(self._control, stop)

    def _rendered(self, messages: Sequence[dict[str, str]], **more: object) -> str:
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 (only models with a template)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        given = {"bos_token": "", "eos_token": "", "tools": None, "documents": None} | more
        return environment.from_string(str(self._template)).render(messages=list(messages), **given)

    def start(self, text: str) -> list[int]:
        """The tokens of our own words where a prompt begins, after the model's beginning-of-text token."""
        return [*self.begin, *self._control.encode(text, add_special_tokens=False).ids]

    def control(self, text: str) -> list[int]:
        """The tokens of our own words on a new line, in which the template's control words are special tokens."""
        return self._next(self._control, text)

    def plain(self, text: str) -> list[int]:
        """The tokens of somebody else's words on a new line, in which nothing is special."""
        return self._next(self._plain, text)

    def pieces(self, text: str, most: int) -> list[str]:
        """The text, or overlapping pieces of at most `most` tokens, cut between tokens.

        Every character is in a piece; a tenth of each piece stands in the one before it.
        """
        offsets = self._plain.encode(text, add_special_tokens=False).offsets
        # Cut out of its text, a piece's first word may be one token more.
        size = most - 2
        if len(offsets) <= size:
            return [text]
        step = max(1, size - size // _OVERLAP)
        starts = range(0, max(1, len(offsets) - size + step), step)
        made = []
        for first in starts:
            begin = offsets[first][0] if first else 0
            past = first + size
            end = offsets[past][0] if past < len(offsets) else len(text)
            made.append(text[begin:end])
        return made

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

    def _next(self, tokenizer: Tokenizer, text: str) -> list[int]:
        """As it is after a line's end, where no word gets a space of its own."""
        ids: list[int] = tokenizer.encode(f"\n{text}", add_special_tokens=False).ids
        count = len(self._line)
        if ids[:count] == self._line:
            return ids[count:]
        # The line's end and the text's beginning are one token.
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _spaced(self) -> bool:
        """Whether the tokenizer puts a space before a first word."""
        first: list[str] = self._control.encode("x", add_special_tokens=False).tokens
        return first[:1] != ["x"]


def _named(config: dict[str, object], name: str) -> str:
    """A special token's text, which stands in the configuration as itself or with its properties."""
    token = config.get(name)
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else ""


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


def _default(template: object) -> object:
    """The template for conversations where a folder names several."""
    if not isinstance(template, list):
        return template
    named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
    return named.get("default")


def _described(folder: Path, config: dict[str, object]) -> dict[str, Any]:
    """The tokenizer as `tokenizer.json` describes one."""
    path, model = folder / "tokenizer.json", folder / "tokenizer.model"
    try:
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_bytes())
            return _once_spaced(found)
        if model.exists():
            return converted(model.read_bytes(), _added(folder, config))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
        raise ModelError(f"{path if path.exists() else model} cannot be read: {exc}") from exc
    raise ModelError(f"{folder} has neither tokenizer.json nor tokenizer.model")


def _once_spaced(described: dict[str, Any]) -> dict[str, Any]:
    """Without a second space where the template has one: an older conversion puts one before every part, even so."""
    normalizer = described.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    kinds = [step.get("type") for step in steps]
    if kinds != ["Prepend", "Replace"] or steps[0].get("prepend") != _SPACE or described.get("pre_tokenizer"):
        return described
    spaces = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": False}
    return described | {"normalizer": None, "pre_tokenizer": spaces}


def _added(folder: Path, config: dict[str, object]) -> dict[str, int]:
    """Tokens that a fine-tuned model has beside its `tokenizer.model`."""
    path = folder / "added_tokens.json"
    found: dict[str, int] = json.loads(path.read_bytes()) if path.exists() else {}
    listed = config.get("added_tokens_decoder")
    for number, token in listed.items() if isinstance(listed, dict) else ():
        found[token["content"]] = int(number)
    return found
