"""The seven parts. Nothing here imports torch: a part's module is loaded in the process that runs it."""

from typing import NamedTuple

__all__ = ["NO_GPU", "ORDER", "PARTS", "PartPlan", "file_name"]

NO_GPU = 3
"""The exit status of a part's process where there is no GPU."""


class PartPlan(NamedTuple):
    """A part: `run` in `benchmarks.gpu_suite.<name>`, and its share of the time."""

    name: str
    share: int
    what: str


PARTS = {
    1: PartPlan("correctness", 90, "kernels against their twins, layers at 7B shape against transformers"),
    2: PartPlan("ceilings", 40, "copy, bf16 and fp8 matrix products"),
    3: PartPlan("attention", 100, "attention kernels, ours and others"),
    4: PartPlan("judging", 150, "the engine: prefill, verdicts, one request alone, branches, transformers beside it"),
    5: PartPlan("decoding", 70, "decoding by batch; rolling buffers against full keys and values"),
    6: PartPlan("streaming", 30, "a growing answer that is checked again and again"),
    7: PartPlan("memory", 30, "memory of weights, steps, prefixes and sequences"),
}
ORDER = (1, 2, 4, 5, 3, 6, 7)
"""What tells most comes first: a run that is cut short has lost the least."""


def file_name(number: int) -> str:
    """Of a part's record."""
    return f"{number}-{PARTS[number].name}.json"
