"""Folders as Hugging Face keeps them: whole ones, sharded ones, adapters, and broken ones."""

import json
import shutil

import pytest

torch = pytest.importorskip("torch")

from huggingface_hub.utils import filter_repo_objects  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import MistralForCausalLM  # noqa: E402

from guard.engine.checkpoint import load, shape_of  # noqa: E402
from guard.engine.hub import PINNED, folder_of  # noqa: E402
from guard.engine.kv import NOTHING  # noqa: E402
from guard.engine.model import Mistral, Part  # noqa: E402
from guard.errors import ModelError  # noqa: E402
from tests.engine.conftest import write_tiny  # noqa: E402

CPU = torch.device("cpu")
IDS = [5, 9, 17, 200, 3]


def logits(folder):
    model = Mistral(load(folder, device=CPU, dtype=torch.float32))
    return model.logits(model.run([Part(NOTHING, IDS)])[0].hidden)[0]


def test_shards_give_the_same_as_one_file(tiny, tmp_path):
    """As transformers writes them."""
    MistralForCausalLM.from_pretrained(str(tiny)).save_pretrained(str(tmp_path), max_shard_size="30KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert torch.allclose(logits(tmp_path), logits(tiny), atol=1e-5)


def test_the_count_of_parameters_is_right(tiny):
    """It is what the memory is checked against."""
    reference = MistralForCausalLM.from_pretrained(str(tiny))
    assert shape_of(tiny).parameters == sum(parameter.numel() for parameter in reference.parameters())


@pytest.mark.parametrize("theta", [10_000.0, 1_000_000.0])
def test_any_base_of_rope_and_tied_words(tmp_path, theta):
    """v0.1 and v0.2 differ in the base; small models share their word vectors."""
    folder = write_tiny(
        tmp_path, rope_parameters={"rope_type": "default", "rope_theta": theta}, tie_word_embeddings=True
    )
    shape = shape_of(folder)
    assert (shape.theta, shape.tied) == (theta, True)
    reference = MistralForCausalLM.from_pretrained(str(folder), attn_implementation="eager").eval()
    with torch.inference_mode():
        expected = reference(torch.tensor([IDS])).logits[0, -1]
    assert (logits(folder) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_an_adapter_is_added_to_its_base(tiny, tmp_path):
    """W + B A alpha / r, on every matrix that it names."""
    base = tmp_path / "base"
    shutil.copytree(tiny, base)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny / name, adapter)
    torch.manual_seed(3)
    made, merged = {}, load_file(base / "model.safetensors")
    for name in ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"):
        at = f"model.layers.1.{name}"
        rows, columns = merged[f"{at}.weight"].shape
        down, up = torch.randn(4, columns), torch.randn(rows, 4)
        made |= {f"base_model.model.{at}.lora_A.weight": down, f"base_model.model.{at}.lora_B.weight": up}
        merged[f"{at}.weight"] = merged[f"{at}.weight"] + up @ down * 8 / 4
    save_file(made, adapter / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "../base"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    whole = tmp_path / "whole"
    shutil.copytree(tiny, whole)
    save_file(merged, whole / "model.safetensors")
    assert torch.allclose(logits(adapter), logits(whole), atol=1e-4)
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "nosuch/model"}))
    with pytest.raises(ModelError, match="base_model_name_or_path"):
        logits(adapter)
    for odd in ({"rank_pattern": {"q_proj": 4}}, {"alpha_pattern": {"q_proj": 4}}):
        (adapter / "adapter_config.json").write_text(json.dumps(config | odd))
        with pytest.raises(ModelError, match="merge_and_unload"):
            logits(adapter)
    for broken in ("{", "{}", '{"r": "x", "lora_alpha": 1}'):
        (adapter / "adapter_config.json").write_text(broken)
        with pytest.raises(ModelError, match="no configuration of a LoRA adapter"):
            logits(adapter)
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    with pytest.raises(ModelError, match="DoRA"):
        logits(adapter)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "GUARD_JUDGE_URL"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(tiny, tmp_path, change, says):
    """Before any weight is read."""
    config = json.loads((tiny / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=says):
        shape_of(tmp_path)


def test_too_little_memory_is_told_with_the_figure(tiny, monkeypatch):
    """Before anything is loaded."""
    monkeypatch.setattr("guard.engine.checkpoint._available", lambda: 1_000)
    with pytest.raises(ModelError, match=r"needs 0\.\d+ GB on cpu, of which 0\.0 GB are free"):
        load(tiny, device=CPU, dtype=torch.float32)


def test_missing_and_damaged_files_are_named(tiny, tmp_path):
    """Each with what to do about it."""
    with pytest.raises(ModelError, match="give the folder of a Mistral model"):
        shape_of(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        shape_of(tmp_path)
    shutil.copy(tiny / "config.json", tmp_path)
    with pytest.raises(ModelError, match=r"missing: .*model\.safetensors"):
        logits(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="convert them to safetensors"):
        logits(tmp_path)
    whole = (tiny / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="damaged or incomplete"):
        logits(tmp_path)
    weights = load_file(tiny / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"have no model\.norm\.weight"):
        logits(tmp_path)
    weights["model.norm.weight"] = torch.zeros(7)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"is \(7,\), config\.json means \(32,\)"):
        logits(tmp_path)


def test_names_of_the_hub_need_a_fixed_revision(tmp_path):
    """What is loaded never changes by itself; a folder is taken as it is."""
    assert folder_of(str(tmp_path)) == tmp_path
    with pytest.raises(ModelError, match="which revision"):
        folder_of("somebody/some-model")
    with pytest.raises(ModelError, match="which revision"):
        folder_of("somebody/some-model@main")
    for given in ("/no/such/folder", "./nosuch", "nosuch"):
        with pytest.raises(ModelError, match="no such folder"):
            folder_of(given)


def test_the_hub_is_asked_for_each_weight_once(tmp_path, monkeypatch):
    """Mistral's repositories hold the weights a second time, in the form of their own code."""
    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    wanted = {*shards, "model.safetensors.index.json", "config.json", "tokenizer.model.v3", "chat_template.jinja"}
    there = [*wanted, "consolidated.safetensors", "consolidated-00001-of-00002.safetensors", "README.md"]
    asked = []

    def download(name, *, revision, **patterns):
        asked.append((name, revision, set(filter_repo_objects(there, **patterns))))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    name = "mistralai/Mistral-7B-Instruct-v0.3"
    assert folder_of(name) == tmp_path
    assert asked == [(name, PINNED[name], wanted)]
