"""What is moderated: a text or a conversation, on one side of a chat."""

from enum import StrEnum
from typing import Self

import msgspec

__all__ = ["Content", "Rail", "Turn"]


class Rail(StrEnum):
    """The side of a chat that a text stands on: what goes to a model, or what comes from it."""

    INPUT = "input"
    OUTPUT = "output"


class Turn(msgspec.Struct, frozen=True):
    """One message of a conversation: who said it (`user`, `assistant`, `system`, `tool`, …) and its text."""

    role: str
    text: str


class Content(msgspec.Struct, frozen=True):
    """One thing to be moderated.

    `text` is judged; `role` says who wrote it (empty where nobody said); `context` holds the
    turns before it, oldest first; `uninspected` names every part that was sent along but
    cannot be looked at (an image, an audio part), each as a JSONPath with its kind.
    """

    text: str
    role: str = ""
    rail: Rail = Rail.INPUT
    context: tuple[Turn, ...] = ()
    uninspected: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, *, rail: Rail = Rail.INPUT) -> Self:
        """A bare text. What comes from a model was written by an assistant; else nobody said who."""
        return cls(text=text, rail=rail, role="assistant" if rail is Rail.OUTPUT else "")
