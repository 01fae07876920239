"""Part 4: what the judge's engine does in a second, and how long somebody waits for it.

A policy, texts of one length, a question each; a length is of text and question together. In the same run and on the
same weights: transformers, whole prompts in batches, by `forward` and by `generate`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from benchmarks.gpu_suite.bench import Bench
from benchmarks.gpu_suite.graphs import RequestGraph
from benchmarks.gpu_suite.weights import in_transformers, shape_of, some_tokens, some_weights
from guard.engine.checkpoint import Weights, in_fp8
from guard.engine.jobs import Scoring
from guard.engine.kv import NOTHING
from guard.engine.model import Mistral, Part
from guard.engine.scheduler import Scheduler, Sizes

__all__ = ["run"]

_LABELS = (7, 8)
_BATCH = 32
"""Prompts in a padded batch."""
_QUESTIONS = 12
_OTHERS = 64
"""Texts of a round for transformers, which is slower."""


class _Prompts(NamedTuple):
    """Tokens of a policy, of texts and of a question."""

    policy: tuple[int, ...]
    texts: list[list[int]]
    question: list[int]

    @property
    def whole(self) -> list[list[int]]:
        return [[*self.policy, *text, *self.question] for text in self.texts]


def run(bench: Bench) -> None:
    """The figures that targets are set for, then the rest."""
    sizes, network = bench.sizes, bench.sizes.network
    kept: list[Weights] = []
    rounded: list[Weights] = []

    def weights() -> Weights:
        if not kept:
            kept.append(some_weights(shape_of(network), bench.device, bench.dtype))
        return kept[0]

    def engine(window: bool = True) -> Mistral:
        made = weights()
        return Mistral(Weights(shape_of(network, window=window), made.words, made.layers, made.norm, made.head))

    def in_8_bits() -> Mistral:
        if not rounded:
            rounded.append(in_fp8(weights()))
        return Mistral(rounded[0])

    def verdicts(length: int) -> None:
        bench.case(f"verdicts at {length}", _verdicts, bench, engine, length, True, **_about(bench, length))

    def anew(length: int) -> None:
        name = f"verdicts at {length} without the policy kept"
        bench.case(name, _verdicts, bench, engine, length, False, **_about(bench, length))

    def theirs(length: int) -> None:
        bench.case(f"transformers at {length}", _padded, bench, weights, length, **_about(bench, length))

    def prefill(tokens: int) -> None:
        bench.case(f"prefill {tokens}", _prefill, bench, engine, tokens, tokens=tokens, text=sizes.texts[0])

    first, *more = sizes.texts
    alone = _about(bench, first) | {"texts": 1}
    prefill(sizes.step[0])
    verdicts(first)
    bench.case(f"one request at {first}", _alone, bench, engine, first, **alone)
    bench.case(f"one request at {first} in a graph", _graphed, bench, engine, first, **alone)
    bench.case(
        f"prefill {sizes.step[0]} fp8", _prefill, bench, in_8_bits, sizes.step[0], tokens=sizes.step[0], text=first
    )
    bench.case(f"verdicts at {first} fp8", _verdicts, bench, in_8_bits, first, True, **_about(bench, first))
    bench.case(f"one request at {first} fp8 in a graph", _graphed, bench, in_8_bits, first, **alone)
    rounded.clear()
    anew(first)
    bench.case("branches", _branches, bench, engine, first, questions=_QUESTIONS, **alone)
    for length in more:
        verdicts(length)
    theirs(first)
    bench.case(f"transformers' generate at {first}", _generated, bench, weights, first, **_about(bench, first))
    for length in sizes.long:
        bench.case(f"window {length}", _windowed, bench, engine, length, text=length, window=network.window)
    for length in more:
        anew(length)
        theirs(length)
    for tokens in sizes.step[1:]:
        prefill(tokens)


def _about(bench: Bench, length: int) -> dict[str, int]:
    return {
        "policy": bench.sizes.policy,
        "question": bench.sizes.question,
        "text": length,
        "texts": _count(bench, length),
    }


def _count(bench: Bench, length: int) -> int:
    """Texts of a round: of longer ones fewer, so that a round takes about as long."""
    return max(4, bench.sizes.round * bench.sizes.texts[0] // max(length, bench.sizes.texts[0]))


def _prompts(bench: Bench, length: int, count: int) -> _Prompts:
    network = bench.sizes.network
    return _Prompts(
        tuple(some_tokens(bench.sizes.policy, network, 1)),
        [some_tokens(length - bench.sizes.question, network, 100 + n) for n in range(count)],
        some_tokens(bench.sizes.question, network, 2),
    )


def _prefill(bench: Bench, engine: Callable[[], Mistral], tokens: int) -> dict[str, Any]:
    """Steps of packed texts, one after the other, without anything before them and without questions."""
    length = bench.sizes.texts[0]
    texts = [some_tokens(length, bench.sizes.network, n) for n in range(max(1, tokens // length))]
    parts = [Part(NOTHING, text) for text in texts]
    network = engine()
    timed = bench.clock.flow_time(lambda: network.run(parts))
    count = sum(map(len, texts))
    return timed.figures() | {
        "tokens_per_s": count / timed.seconds,
        "linear_flop_per_s": count * bench.sizes.network.linear_flop / timed.seconds,
    }


def _verdicts(bench: Bench, engine: Callable[[], Mistral], length: int, kept: bool) -> dict[str, Any]:
    """By the scheduler, which has read the policy before; or with the policy in front of each text."""
    prompts = _prompts(bench, length, _count(bench, length) if kept else max(4, _count(bench, length) // 4))
    scheduler = Scheduler(engine(), Sizes(waiting=100_000))
    policy = prompts.policy if kept else ()
    texts = prompts.texts if kept else [[*prompts.policy, *text] for text in prompts.texts]

    def answered() -> None:
        _answered(scheduler, [Scoring(policy, text, [prompts.question], [_LABELS]) for text in texts])

    timed = bench.clock.wall_time(answered, warm_up=1)
    return timed.figures() | {
        "verdicts_per_s": len(texts) / timed.seconds,
        "tokens_per_s": (sum(map(len, texts)) + len(texts) * len(prompts.question)) / timed.seconds,
    }


def _answered(scheduler: Scheduler, jobs: Sequence[Scoring]) -> list[list[list[float]]]:
    scheduler.submit(*jobs)
    while scheduler.step():
        pass
    return [job.found.result(0).logprobs for job in jobs]


def _alone(bench: Bench, engine: Callable[[], Mistral], length: int) -> dict[str, Any]:
    """One text and its question at a time, through the scheduler."""
    prompts = _prompts(bench, length, 1)
    scheduler = Scheduler(engine())
    timed = bench.clock.wall_time(
        lambda: _answered(scheduler, [Scoring(prompts.policy, prompts.texts[0], [prompts.question], [_LABELS])])
    )
    return timed.figures() | {"ms": timed.seconds * 1e3}


def _graphed(bench: Bench, engine: Callable[[], Mistral], length: int) -> dict[str, Any]:
    """The same, its whole pass kept in a CUDA graph, with copying the tokens and reading the answer."""
    prompts = _prompts(bench, length, 2)
    network = engine()
    before = network.extend(NOTHING, prompts.policy)
    graph = RequestGraph(network, Part(before, prompts.texts[0], [prompts.question]), [_LABELS])
    timed = bench.clock.wall_time(lambda: graph(prompts.texts[1], [prompts.question]))
    return timed.figures() | {"ms": timed.seconds * 1e3, "graph": bench.device.type == "cuda"}


def _branches(bench: Bench, engine: Callable[[], Mistral], length: int) -> dict[str, Any]:
    """Questions about one text of `length` tokens: as branches of it, and as a request each."""
    prompts = _prompts(bench, length + bench.sizes.question, 1)
    scheduler = Scheduler(engine())
    text, policy = prompts.texts[0], prompts.policy
    branches = [[*prompts.question[:-1], 10 + n] for n in range(_QUESTIONS)]
    together = bench.clock.wall_time(
        lambda: _answered(scheduler, [Scoring(policy, text, branches, [_LABELS] * len(branches))])
    )
    apart = bench.clock.wall_time(
        lambda: _answered(scheduler, [Scoring(policy, text, [branch], [_LABELS]) for branch in branches])
    )
    return {
        "ms_as_branches": together.seconds * 1e3,
        "ms_as_requests": apart.seconds * 1e3,
        "ratio": apart.seconds / together.seconds,
    }


def _windowed(bench: Bench, engine: Callable[[bool], Mistral], length: int) -> dict[str, Any]:
    """One text in one pass: with the window, and with full attention on the same weights."""
    text = some_tokens(length, bench.sizes.network, 9)
    seconds = {}
    for name, window in (("windowed", True), ("full", False)):
        seconds[name] = bench.clock.wall_time(partial(engine(window).run, [Part(NOTHING, text)]), warm_up=1).seconds
    return {
        "seconds_windowed": seconds["windowed"],
        "seconds_full": seconds["full"],
        "saved": 1 - seconds["windowed"] / seconds["full"],
    }


@torch.inference_mode()
def _padded(bench: Bench, weights: Callable[[], Weights], length: int) -> dict[str, Any]:
    """transformers' forward over padded batches of whole prompts, the last token's logits only."""
    model = in_transformers(weights())

    def answered(ids: torch.Tensor) -> list[list[float]]:
        logits = model(ids, logits_to_keep=1, use_cache=False).logits[:, -1].float()
        found: list[list[float]] = logits.log_softmax(-1)[:, list(_LABELS)].tolist()
        return found

    return _by_transformers(bench, weights(), length, answered)


@torch.inference_mode()
def _generated(bench: Bench, weights: Callable[[], Weights], length: int) -> dict[str, Any]:
    """transformers' `generate`, one token."""
    model = in_transformers(weights())

    def answered(ids: torch.Tensor) -> list[list[float]]:
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=1,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=0,
        )
        found: list[list[float]] = made.logits[0].float().log_softmax(-1)[:, list(_LABELS)].tolist()
        return found

    return _by_transformers(bench, weights(), length, answered)


def _by_transformers(
    bench: Bench, weights: Weights, length: int, answered: Callable[[torch.Tensor], list[list[float]]]
) -> dict[str, Any]:
    """The texts are of one length, so that no row is filled up: this is transformers at its best."""
    prompts = _prompts(bench, length, min(_OTHERS, _count(bench, length)))
    whole = torch.tensor(prompts.whole, device=bench.device)

    def all_of_them() -> list[list[float]]:
        return [row for batch in torch.split(whole, _BATCH) for row in answered(batch)]

    theirs = all_of_them()
    jobs = [Scoring(prompts.policy, text, [prompts.question], [_LABELS]) for text in prompts.texts]
    ours = _answered(Scheduler(Mistral(weights), Sizes(waiting=100_000)), jobs)
    apart = max(abs(a - b) for x, (y,) in zip(theirs, ours, strict=True) for a, b in zip(x, y, strict=True))
    timed = bench.clock.wall_time(all_of_them, warm_up=0)
    return timed.figures() | {
        "verdicts_per_s": len(prompts.texts) / timed.seconds,
        "largest_difference_to_ours": apart,
    }
