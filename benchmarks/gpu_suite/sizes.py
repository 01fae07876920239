"""How large everything is: Mistral-7B on a GPU, and a toy that a CPU runs in seconds, through the same code."""

from typing import NamedTuple

__all__ = ["FULL", "SMOKE", "Network", "Sizes"]


class Network(NamedTuple):
    """A Mistral's sizes, as in `guard.engine.checkpoint.Shape`."""

    layers: int = 32
    width: int = 4_096
    heads: int = 32
    kv_heads: int = 8
    head_width: int = 128
    inner: int = 14_336
    vocabulary: int = 32_000
    positions: int = 33_792
    window: int = 4_096

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """A layer's four products: numbers in, numbers out."""
        queries = self.heads * self.head_width
        return {
            "qkv": (self.width, queries + 2 * self.kv_heads * self.head_width),
            "out": (queries, self.width),
            "gate_up": (self.width, 2 * self.inner),
            "down": (self.inner, self.width),
        }

    @property
    def linear_flop(self) -> int:
        """Operations of all layers' products for one token."""
        return self.layers * sum(2 * a * b for a, b in self.matrices.values())

    @property
    def kv_bytes(self) -> int:
        """Of one token's keys and values in bfloat16."""
        return 4 * self.layers * self.kv_heads * self.head_width


class Sizes(NamedTuple):
    """What the parts measure. Lengths are tokens; lists are in the order of what they tell."""

    network: Network
    policy: int
    question: int
    texts: tuple[int, ...]
    """Of which verdicts are counted: text and question together, all that follows the policy. The first length is the
    one that targets are set for."""
    round: int
    """Texts of a round; of longer texts fewer."""
    step: tuple[int, ...]
    """Tokens of a packed step."""
    long: tuple[int, ...]
    """Texts in one pass, with the window and without."""
    copied: int
    """Bytes of the buffer that is copied."""
    square: int
    """Rows and columns of the matrix product that is the ceiling."""
    rows: tuple[int, ...]
    """Rows of the layer's products."""
    prefill: tuple[int, ...]
    suffixes: tuple[int, ...]
    packed: int
    """Tokens of a packed step of suffixes."""
    batches: tuple[int, ...]
    decoded: tuple[int, ...]
    """Batches that the whole network decodes."""
    context: int
    """Tokens that a sequence has when it is decoded."""
    far: int
    """Tokens of a sequence that is far longer than the window, and how many of them are decoded at once."""
    far_batch: int
    turns: int
    """Tokens of the turns before an answer."""
    answer: int
    """Tokens of an answer that streams, and of the pieces in which it comes."""
    piece: int


FULL = Sizes(
    network=Network(),
    policy=600,
    question=24,
    texts=(128, 512, 32, 2_048),
    round=512,
    step=(4_096, 2_048, 8_192),
    long=(32_768, 8_192, 16_384),
    copied=8 << 30,
    square=8_192,
    rows=(4_096, 2_048, 8_192, 256, 16),
    prefill=(4_096, 32_768, 512, 1_024, 2_048, 8_192, 16_384),
    suffixes=(128, 32, 512, 16),
    packed=4_096,
    batches=(64, 1, 256, 8, 16, 32, 128),
    decoded=(1, 64, 256, 8),
    context=1_024,
    far=32_768,
    far_batch=16,
    turns=200,
    answer=1_000,
    piece=32,
)
SMOKE = Sizes(
    network=Network(
        layers=2,
        width=64,
        heads=4,
        kv_heads=2,
        head_width=16,
        inner=96,
        vocabulary=512,
        positions=512,
        window=96,
    ),
    policy=40,
    question=5,
    texts=(16, 48),
    round=8,
    step=(64,),
    long=(256,),
    copied=1 << 20,
    square=128,
    rows=(16,),
    prefill=(128,),
    suffixes=(16,),
    packed=64,
    batches=(2, 4),
    decoded=(1, 2),
    context=32,
    far=200,
    far_batch=2,
    turns=12,
    answer=40,
    piece=10,
)
