"""The encoder: a fine-tuned MiniLM that gives every category a calibrated probability, on a CPU.

The graph is quantised to int8 with activation scales taken from the whole input tensor, so padding
or a neighbour in a batch would change a text's score. Therefore each call holds exactly one window
of one text, unpadded, on one thread; throughput comes from several caller threads. The same text
gives the same bits, alone or among ten thousand.
"""

import hashlib
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from tokenizers import Tokenizer

from guard.errors import ModelError, ScreenFailed
from guard.screen.static import StaticSettings, StaticTier
from guard.text import Spoken, sentences, spoken, windows
from guard.verdict import Span

__all__ = ["Encoder", "Reading"]

SHIPPED = Path(__file__).parent / "model"
OVERLAP = 32
"""Tokens that neighbouring windows of a long text share."""
STATIC = "static.npz"
FORMAT = 2
"""Of `model.json`."""
SPAN_FLOOR = 0.3
"""Scores from here on are traced to the sentences that carry them."""

MAX_TRACED = 64
"""Different sentences of one text that are scored by themselves; past that, windows are the spans."""

Floats = npt.NDArray[np.float64]
_ORT_ERRORS = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.RuntimeException, RuntimeError)


class _Calibration(msgspec.Struct, frozen=True):
    scale: float
    offset: float


class _Manifest(msgspec.Struct, frozen=True):
    """`model.json`: what the graph's outputs mean, and which files belong together."""

    format: int
    name: str
    heads: tuple[str, ...]
    calibration: dict[str, dict[str, _Calibration]]
    languages: tuple[str, ...]
    max_tokens: int
    context_tokens: int
    role_tokens: dict[str, int]
    cls: int
    sep: int
    files: dict[str, str]
    static: StaticSettings | None = None


class Reading(NamedTuple):
    """One text's scores: `scores[i]` is the probability of head i; `spans` only for scores that count.

    `unread` is the share of tokens that the vocabulary does not know; `embeddings` has a row for each window, which
    says where it lies among texts.
    """

    scores: Floats
    spans: dict[str, tuple[Span, ...]]
    windows: int
    unread: float
    embeddings: npt.NDArray[np.float32]


class _Run(NamedTuple):
    """What one call of the graph gives."""

    scores: Floats
    embedding: npt.NDArray[np.float32]


class _Piece(NamedTuple):
    """A window: its token ids, and its characters in the text."""

    ids: list[int]
    start: int
    end: int


class Encoder:
    """Scores one text at a time; safe to call from several threads at once.

    `static` is the tier that was distilled from it, where the folder has one.

    Raises:
        ModelError: files are missing, damaged, or of another format.
    """

    def __init__(self, folder: Path) -> None:
        self._manifest = _manifest(folder)
        self.name, self.fingerprint = _identity(self._manifest)
        self.heads = self._manifest.heads
        self.languages = self._manifest.languages
        self._scaling = {role: _scaling(self.heads, found) for role, found in self._manifest.calibration.items()}
        self._tokenizer = _tokenizer(folder / "tokenizer.json")
        self._unknown = int(self._tokenizer.token_to_id("[UNK]") or 0)
        self._session = _session(folder / "encoder.onnx")
        self._last = threading.local()
        self.static = _static(folder, self._manifest)

    @classmethod
    def shipped(cls) -> "Encoder":
        """The encoder that comes with the package."""
        return cls(SHIPPED)

    @staticmethod
    def shipped_identity() -> tuple[str, str]:
        """Its name and fingerprint, without loading it.

        Raises:
            ModelError: files are missing, damaged, or of another format.
        """
        return _identity(_manifest(SHIPPED))

    def read(self, text: str, *, role: str = "", context: str = "", deadline: float | None = None) -> Reading:
        """Scores `text`, long ones in overlapping windows pooled by their maximum.

        `role` (`comment`, `user`, `assistant`; anything else is unknown) says who wrote the text;
        `context` is the turn before it, of which the last tokens are read along. `deadline` is a
        reading of `time.monotonic`.

        Raises:
            ScreenFailed: the runtime refused the input, or the deadline has passed.
        """
        said, encoding = self._encoded(text)
        text = said.text
        # Ten characters a token is more than any text needs; the rest cannot be among the last tokens.
        before = self._context_ids(spoken(context[-10 * self._manifest.context_tokens :]).text)
        pieces = self._pieces(encoding, before)
        runs = [self._run(piece.ids, role, before, deadline) for piece in pieces]
        by_window = [run.scores for run in runs]
        scores = np.max(by_window, axis=0) if len(by_window) > 1 else by_window[0]
        spans: dict[str, list[Span]] = {}
        tracer = _Tracer(self, role, deadline)
        for piece, found in zip(pieces, by_window, strict=True):
            self._trace(text, piece, found, tracer, spans)
        unread = encoding.ids.count(self._unknown) / max(1, len(encoding.ids))
        mapped = {
            head: _joined([Span(*said.back(span.start, span.end), span.score) for span in found])
            for head, found in spans.items()
        }
        embeddings = np.stack([run.embedding for run in runs])
        return Reading(scores, mapped, len(pieces), unread, embeddings)

    def plain_ids(self, text: str) -> list[int]:
        """The token ids of a normalised text, without markers; none where it has an emoji or an unknown word."""
        said, encoding = self._encoded(text)
        ids: list[int] = encoding.ids
        return [] if said.text != text or self._unknown in ids else ids

    def _encoded(self, text: str) -> tuple[Spoken, Any]:
        """The text as it is said, and its tokens; those of the thread's last text are still there, so that what the
        static tier does not settle is tokenised once."""
        last = getattr(self._last, "found", None)
        if last is None or last[0] != text:
            said = spoken(text)
            last = (text, said, self._tokenizer.encode(said.text, add_special_tokens=False))
            self._last.found = last
        return last[1], last[2]

    def _pieces(self, encoding: Any, before: list[int]) -> list[_Piece]:
        """The windows of an encoded text; each leaves room for the markers and the context."""
        ids, offsets = encoding.ids, encoding.offsets
        size = self._manifest.max_tokens - 3 - (len(before) + 1 if before else 0)
        return [
            _Piece(ids[start:end], offsets[start][0], offsets[end - 1][1]) if end else _Piece([], 0, 0)
            for start, end in windows(len(ids), size=size, overlap=OVERLAP)
        ]

    def _context_ids(self, context: str) -> list[int]:
        if not context:
            return []
        ids: list[int] = self._tokenizer.encode(context, add_special_tokens=False).ids
        return ids[-self._manifest.context_tokens :]

    def _run(self, ids: list[int], role: str, before: list[int], deadline: float | None) -> "_Run":
        """One call of the graph: `[CLS] role text [SEP]`, then `context [SEP]` where there is one."""
        if deadline is not None and time.monotonic() > deadline:
            raise ScreenFailed("not within the policy's deadline")
        m = self._manifest
        tokens = [m.cls, m.role_tokens.get(role, m.role_tokens["unknown"]), *ids, m.sep]
        types = [0] * len(tokens)
        if before:
            tokens += [*before, m.sep]
            types += [1] * (len(before) + 1)
        try:
            logits, embedding = self._session.run(
                ["logits", "embedding"], {"input_ids": np.array([tokens]), "token_type_ids": np.array([types])}
            )
        except _ORT_ERRORS as exc:
            raise ScreenFailed(f"the encoder's runtime refused {len(tokens)} tokens: {exc}") from exc
        if not np.isfinite(logits).all():
            raise ScreenFailed(f"the encoder gave no number for {len(tokens)} tokens")
        scale, offset = self._scaling.get(role) or self._scaling["unknown"]
        raw = scale * logits[0].astype(np.float64) + offset
        return _Run(np.asarray(1.0 / (1.0 + np.exp(-raw))), embedding[0])

    def _trace(self, text: str, piece: _Piece, found: Floats, tracer: "_Tracer", spans: dict[str, list[Span]]) -> None:
        """Adds, for every head that counts in this window, the sentences that carry its score.

        Where no sentence alone reaches half of the window's score, the window is the span.
        """
        counting = np.flatnonzero(found >= SPAN_FLOOR)
        if not len(counting):
            return
        places = [(piece.start + s, piece.start + e) for s, e in sentences(text[piece.start : piece.end])]
        alone = tracer.scores([text[s:e] for s, e in places])
        for head in counting:
            carriers = [
                Span(s, e, round(float(score[head]), 6))
                for (s, e), score in zip(places, alone, strict=False)
                if score[head] >= found[head] / 2
            ]
            whole = Span(piece.start, piece.end, round(float(found[head]), 6))
            spans.setdefault(self.heads[head], []).extend(carriers or [whole])

    def alone(self, sentence: str, role: str, deadline: float | None) -> Floats:
        """The scores of one sentence by itself, cut to one window."""
        ids = self._tokenizer.encode(sentence, add_special_tokens=False).ids
        return self._run(ids[: self._manifest.max_tokens - 3], role, [], deadline).scores


class _Tracer:
    """Scores the sentences of one text by themselves: equal ones once, and not more than a bound."""

    def __init__(self, encoder: Encoder, role: str, deadline: float | None) -> None:
        self._encoder = encoder
        self._role = role
        self._deadline = deadline
        self._known: dict[str, Floats] = {}

    def scores(self, sentences_: list[str]) -> list[Floats]:
        """One row per sentence; none at all for a single sentence, or past MAX_TRACED of the text."""
        new = set(sentences_) - self._known.keys()
        if len(sentences_) == 1 or len(self._known) + len(new) > MAX_TRACED:
            return []
        for sentence in new:
            self._known[sentence] = self._encoder.alone(sentence, self._role, self._deadline)
        return [self._known[sentence] for sentence in sentences_]


def _joined(spans: list[Span]) -> tuple[Span, ...]:
    """Spans in order; those of overlapping windows that overlap become one, with the higher score."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        if joined and span.start < joined[-1].end:
            last = joined[-1]
            joined[-1] = Span(last.start, max(last.end, span.end), max(last.score, span.score))
        else:
            joined.append(span)
    return tuple(joined)


def _scaling(heads: tuple[str, ...], found: dict[str, _Calibration]) -> tuple[Floats, Floats]:
    """Scales and offsets in the order of the heads."""
    return np.array([found[head].scale for head in heads]), np.array([found[head].offset for head in heads])


def _manifest(folder: Path) -> _Manifest:
    path = folder / "model.json"
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except OSError as exc:
        raise ModelError(f"{path} cannot be read ({exc.strerror}); reinstall the package") from exc
    except msgspec.MsgspecError as exc:
        raise ModelError(f"{path} is no encoder manifest: {exc}") from exc
    if manifest.format != FORMAT:
        raise ModelError(f"{path} has format {manifest.format}; this version reads format {FORMAT}")
    for name, expected in manifest.files.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as exc:
            raise ModelError(f"{folder / name} cannot be read ({exc.strerror}); reinstall the package") from exc
        if found != expected:
            raise ModelError(f"{folder / name} is damaged or of another version; reinstall the package")
    return manifest


def _identity(manifest: _Manifest) -> tuple[str, str]:
    """Name, fingerprint: the manifest holds the digests of all files, the calibration and the static tier's bound."""
    said = msgspec.json.encode(manifest, order="deterministic")
    return manifest.name, hashlib.blake2b(said, digest_size=8).hexdigest()


def _static(folder: Path, manifest: _Manifest) -> StaticTier | None:
    if manifest.static is None:
        return None
    if STATIC not in manifest.files:
        raise ModelError(
            f"{folder / 'model.json'} has a static tier and does not vouch for its file; reinstall the package"
        )
    return StaticTier(folder / STATIC, manifest.static)


def _tokenizer(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
