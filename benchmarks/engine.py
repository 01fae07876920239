"""The judge's engine against transformers, on random weights: a long policy, texts of one length or of many, one
question each.

    ours        the scheduler: the policy computed once, texts packed, label rows only
    padded      transformers' forward over padded batches of whole prompts, the last token's logits only
    generate    transformers' `generate`, one token

On a CPU the network has a hundred million parameters, on a GPU Mistral-7B's shape. All three run in turns, and their
label log-probabilities are compared.

And a stream whose growing text is asked about again and again, with a session and without.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import MistralConfig, MistralForCausalLM

from benchmarks.record import write
from guard.engine.checkpoint import Shape, assembled, shape_of
from guard.engine.jobs import Scoring
from guard.engine.model import Mistral
from guard.engine.scheduler import Scheduler, Sizes

__all__ = ["engine", "sessions"]

POLICY = 600
LENGTHS: dict[str, tuple[int, ...]] = {"32": (32,), "64": (64,), "128": (128,), "512": (512,), "mixed": ()}
"""Tokens of the texts; `mixed`: lognormal around 150, as texts are."""
QUESTION = 24
LABELS = (7, 8)
CONTEXT, ANSWER, STEP = 1_500, 600, 12
"""Tokens of the turns before an answer that streams, of the answer, and between two checks of it."""
CLOSING = 6
"""Tokens behind the text in its prompt: they are others at each check."""
SMALL: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 2_048,
    "num_hidden_layers": 8,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
}
"""A hundred million parameters, half of them in the vocabulary."""
BATCH = 32


def engine(rounds: int = 2) -> None:
    """Verdicts a second by the length of the texts; several questions about one text; one text alone."""
    on_gpu = torch.cuda.is_available()
    network, reference, device = networks(on_gpu)
    texts = 256 if on_gpu else BATCH
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "parameters": network.shape.parameters,
        "torch": torch.__version__,
        "policy_tokens": POLICY,
        "question_tokens": QUESTION,
        "texts": texts,
    }
    for name, length in LENGTHS.items():
        prompts = _Prompts(length, texts)
        ways: dict[str, Callable[[], list[list[float]]]] = {
            "ours": lambda p=prompts: _ours(network, p),  # type: ignore[misc]
            "padded": lambda p=prompts: _padded(reference, p, device),  # type: ignore[misc]
            "generate": lambda p=prompts: _generated(reference, p, device),  # type: ignore[misc]
        }
        seconds = _in_turns(ways, rounds, figures, f"at_{name}")
        for way, taken in seconds.items():
            figures[f"{way}_verdicts_per_s_at_{name}"] = texts / taken
            figures[f"{way}_tokens_per_s_at_{name}"] = prompts.tokens / taken
            if way != "ours":
                figures[f"ratio_to_{way}_at_{name}"] = taken / seconds["ours"]
    figures |= _questions(network, rounds)
    write("engine_gpu" if on_gpu else "engine", "python -m benchmarks engine", figures)


def sessions() -> None:
    """One stream, all its checks one after the other: tokens computed and seconds, with a session and without."""
    on_gpu = torch.cuda.is_available()
    network, _, _ = networks(on_gpu)
    prompts = _Prompts((CONTEXT + ANSWER,), 1)
    (text,) = prompts.texts
    checks = [[*text[: CONTEXT + end], *range(100, 100 + CLOSING)] for end in range(STEP, ANSWER + 1, STEP)]
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "parameters": network.shape.parameters,
        "torch": torch.__version__,
        "policy_tokens": POLICY,
        "context_tokens": CONTEXT,
        "answer_tokens": ANSWER,
        "question_tokens": QUESTION,
        "checks": len(checks),
    }
    answers: dict[str, list[list[float]]] = {}
    for name, session in (("with", "stream"), ("without", None)):
        scheduler = Scheduler(network)
        first = Scoring(prompts.policy, text[:16], [prompts.question], [LABELS])
        scheduler.submit(first)
        while scheduler.step():
            pass
        computed, taken, answers[name] = 0, [], []
        for check in checks:
            begun = time.perf_counter()
            job = Scoring(prompts.policy, check, [prompts.question], [LABELS], session=session)
            scheduler.submit(job)
            while scheduler.step():
                pass
            found = job.found.result(0)
            taken.append(time.perf_counter() - begun)
            computed += len(prompts.policy) + len(check) + QUESTION - found.cached
            answers[name] += found.logprobs
        figures |= {
            f"tokens_computed_{name}": computed,
            f"seconds_{name}": sum(taken),
            f"ms_a_check_{name}": statistics.median(taken) * 1e3,
        }
    figures["ratio_of_tokens"] = figures["tokens_computed_without"] / figures["tokens_computed_with"]
    figures["ratio_of_seconds"] = figures["seconds_without"] / figures["seconds_with"]
    figures["largest_difference"] = max(
        abs(a - b) for x, y in zip(answers["with"], answers["without"], strict=True) for a, b in zip(x, y, strict=True)
    )
    write("sessions_gpu" if on_gpu else "sessions", "python -m benchmarks sessions", figures)


def networks(on_gpu: bool) -> tuple[Mistral, Any, torch.device]:
    """The same random weights in our engine and in transformers. Normal, never zeros: zeros multiply faster."""
    device = torch.device("cuda" if on_gpu else "cpu")
    dtype = torch.bfloat16 if on_gpu else torch.float32
    config = MistralConfig(sliding_window=4_096, **({} if on_gpu else SMALL))
    torch.manual_seed(0)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            build: Any = MistralForCausalLM
            reference = build(config).eval()
        finally:
            torch.set_default_dtype(before)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.normal_(0.0, 0.02) if parameter.dim() > 1 else parameter.fill_(1.0)
    folder = Path(__file__).parent
    return Mistral(assembled(_shape(config), reference.state_dict(), folder)), reference, device


def _shape(config: MistralConfig) -> Shape:
    with tempfile.TemporaryDirectory() as folder:
        config.architectures = ["MistralForCausalLM"]
        config.save_pretrained(folder)
        return shape_of(Path(folder))


class _Prompts:
    """A policy's tokens, texts and a question, all at random. `tokens` are those of the texts with their question."""

    def __init__(self, lengths: tuple[int, ...], count: int) -> None:
        luck = random.Random(str(lengths))
        sizes = [
            lengths[n % len(lengths)] if lengths else min(2_000, int(luck.lognormvariate(5.0, 0.8)) + 1)
            for n in range(count)
        ]
        self.policy = tuple(luck.randrange(10, 30_000) for _ in range(POLICY))
        self.texts = [[luck.randrange(10, 30_000) for _ in range(size)] for size in sizes]
        self.question = [luck.randrange(10, 30_000) for _ in range(QUESTION)]
        self.tokens = sum(map(len, self.texts)) + count * QUESTION

    @property
    def whole(self) -> list[list[int]]:
        return [[*self.policy, *text, *self.question] for text in self.texts]


def _ours(network: Mistral, prompts: _Prompts) -> list[list[float]]:
    # A new scheduler: the policy is computed in the measured time, once.
    scheduler = Scheduler(network, Sizes(waiting=100_000))
    jobs = [Scoring(prompts.policy, text, [prompts.question], [LABELS]) for text in prompts.texts]
    scheduler.submit(*jobs)
    while scheduler.step():
        pass
    return [job.found.result(0).logprobs[0] for job in jobs]


@torch.inference_mode()
def _padded(model: Any, prompts: _Prompts, device: torch.device) -> list[list[float]]:
    found: list[list[float]] = []
    for batch in _batches(prompts.whole, device):
        logits = model(**batch, logits_to_keep=1).logits[:, -1].float()
        found += logits.log_softmax(-1)[:, list(LABELS)].tolist()
    return found


@torch.inference_mode()
def _generated(model: Any, prompts: _Prompts, device: torch.device) -> list[list[float]]:
    found: list[list[float]] = []
    for batch in _batches(prompts.whole, device):
        made = model.generate(
            **batch,
            max_new_tokens=1,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=0,
        )
        found += made.logits[0].float().log_softmax(-1)[:, list(LABELS)].tolist()
    return found


def _batches(prompts: Sequence[list[int]], device: torch.device) -> list[dict[str, Tensor]]:
    """Of `BATCH` prompts, padded on the left to the longest."""
    made = []
    for start in range(0, len(prompts), BATCH):
        group = prompts[start : start + BATCH]
        longest = max(map(len, group))
        ids = torch.tensor([[0] * (longest - len(p)) + p for p in group], device=device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in group], device=device)
        made.append({"input_ids": ids, "attention_mask": mask})
    return made


def _in_turns(
    ways: dict[str, Callable[[], list[list[float]]]], rounds: int, figures: dict[str, Any], place: str
) -> dict[str, float]:
    """Each way's median seconds; how far their answers are apart goes into `figures`."""
    answers = {name: way() for name, way in ways.items()} if torch.cuda.is_available() else {}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            answers[name] = way()
            times[name].append(time.perf_counter() - begun)
    for name, found in answers.items():
        if name != "ours":
            apart = [abs(a - b) for x, y in zip(found, answers["ours"], strict=True) for a, b in zip(x, y, strict=True)]
            figures[f"largest_difference_to_{name}_{place}"] = max(apart)
    return {name: statistics.median(taken) for name, taken in times.items()}


def _questions(network: Mistral, rounds: int) -> dict[str, float]:
    """Twelve questions about a 128-token text: as branches, and as twelve requests; then one text alone."""
    prompts = _Prompts((128,), 1)
    text, policy, question = prompts.texts[0], prompts.policy, prompts.question
    branches = [[*question[:-1], n] for n in range(10, 22)]
    scheduler = Scheduler(network)

    def run(*jobs: Scoring) -> float:
        begun = time.perf_counter()
        scheduler.submit(*jobs)
        while scheduler.step():
            pass
        return time.perf_counter() - begun

    run(Scoring(policy, text, [question], [LABELS]))
    together, apart, alone = [], [], []
    for _ in range(max(rounds, 5)):
        together.append(run(Scoring(policy, text, branches, [LABELS] * 12)))
        apart.append(run(*[Scoring(policy, text, [branch], [LABELS]) for branch in branches]))
        alone.append(run(Scoring(policy, text, [question], [LABELS])))
    return {
        "ms_one_text_alone_128": statistics.median(alone) * 1e3,
        "ms_12_questions_as_branches": statistics.median(together) * 1e3,
        "ratio_12_requests_to_branches": statistics.median(apart) / statistics.median(together),
    }
