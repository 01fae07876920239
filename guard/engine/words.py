"""Tokens as they come, as text: never half a character, never a stop text or the beginning of one."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

__all__ = ["Words"]


class Words:
    """The text of one sequence that grows. What `push` and `end` return, joined, is the whole text up to a stop."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stream: DecodeStream | None = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._decoded = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that is sure now; empty while a character or the beginning of a stop text is open."""
        if self.stopped:
            return ""
        self._ids.append(token)
        came = self._came(token)
        self._decoded += len(came)
        self._held += came
        # The stop that is complete first counts, as if the characters had come one by one.
        places = [(place + len(stop), place) for stop in self._stop if (place := self._held.find(stop)) >= 0]
        if places:
            self.stopped = True
            return self._release(min(places)[1], drop=True)
        return self._release(len(self._held) - self._open())

    def end(self) -> str:
        """What was held back, where the sequence ends by itself."""
        if self.stopped:
            return ""
        # The stream keeps bytes that are no character yet; a decoder shows them as they are.
        whole: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        self._held += whole[self._decoded :]
        return self._release(len(self._held), drop=True)

    def _came(self, token: int) -> str:
        if self._stream is not None:
            try:
                return self._stream.step(self._tokenizer, token) or ""
            except Exception:  # noqa: BLE001 (it gives up on bytes that are no text; its message quotes them)
                self._stream = None
        whole: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        # What is no character at the end may become one.
        return whole.rstrip("\ufffd")[self._decoded :]

    def _open(self) -> int:
        """Length of the longest end of what is held that begins a stop text."""
        longest = max(map(len, self._stop), default=0) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0

    def _release(self, count: int, *, drop: bool = False) -> str:
        sure, self._held = self._held[:count], "" if drop else self._held[count:]
        return sure
