"""Tiny random Mistrals, written by transformers itself as a model's folder is; and what the engine's tests share."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
SPECIAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]


def tiny_tokenizer(vocabulary: int = 400):
    """Byte-level BPE learnt from our own policies, with Mistral's control words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    root = Path(__file__).parents[2]
    model = Tokenizer(models.BPE(unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train([str(root / "policies" / "README.md")], trainer)
    words = [" Yes", " No", " yes", " no", *[f" {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]]
    model.add_tokens(words)
    return model


def write_tiny(folder: Path, *, window: int | None = 8, seed: int = 0, **changes) -> Path:
    """A folder with two layers, 4 heads, 2 of them for keys."""
    tokenizer = tiny_tokenizer()
    config = transformers.MistralConfig(
        **{
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 4096,
            "sliding_window": window,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        | changes
    )
    torch.manual_seed(seed)
    model = transformers.MistralForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than a fresh model's, so that positions and windows make a difference.
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": "</s>", "chat_template": TEMPLATE})
    )
    return folder


CPU = torch.device("cpu")


def tokens(count: int, seed: int) -> list[int]:
    """Some tokens that are no control words."""
    return torch.randint(5, 400, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def engine(folder: Path):
    """The model in our engine."""
    from guard.engine.checkpoint import load
    from guard.engine.model import Mistral

    return Mistral(load(folder, device=CPU, dtype=torch.float32))


def last_logits(reference, ids: list[int]):
    """transformers' logits of the next token."""
    with torch.inference_mode():
        return reference(torch.tensor([ids])).logits[0, -1]


def close(ours, theirs) -> None:
    """Relative 1e-4, of the largest."""
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def settle(scheduler) -> None:
    """Steps until nothing is left to do."""
    while scheduler.step():
        pass


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A model whose window is smaller than most texts."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def reference(tiny):
    """The same model in transformers, eager attention, float32."""
    return transformers.MistralForCausalLM.from_pretrained(str(tiny), attn_implementation="eager").eval()
