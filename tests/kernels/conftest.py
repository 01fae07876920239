"""Where the kernels run: on this machine's GPU, or else in Triton's interpreter."""

import importlib
import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


class Worker:
    """A process that imports Triton, so that the tests' own does not."""

    def __init__(self, environment):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def __call__(self, path, *arguments, **options):
        """The answer of `guard_kernels.<path>`, which is `module.function`."""
        module, _, name = path.rpartition(".")
        pickle.dump((f"guard_kernels.{module}", name, arguments, options), self._process.stdin)
        self._process.stdin.flush()
        answer, failure = pickle.load(self._process.stdout)
        if failure is not None:
            raise RuntimeError(failure)
        return answer

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


def on_gpu(path, *arguments, **options):
    """The same on this machine's GPU, with tensors taken there in the layout that they have here."""
    module, _, name = path.rpartition(".")
    function = getattr(importlib.import_module(f"guard_kernels.{module}"), name)
    return moved(function(*(moved(x, "cuda") for x in arguments), **options), "cpu")


def moved(value, device):
    if isinstance(value, torch.Tensor):
        whole = value.as_strided((value.untyped_storage().nbytes() // value.element_size(),), (1,), 0)
        return whole.to(device).as_strided(value.shape, value.stride(), value.storage_offset())
    if isinstance(value, tuple) and any(isinstance(x, torch.Tensor) for x in value):
        made = [moved(x, device) for x in value]
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    return value


@pytest.fixture(scope="session")
def run_kernel():
    """Calls a kernel's wrapper by name, `attention.packed_attention` say, with tensors of the CPU."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not there")
    if torch.cuda.is_available():
        yield on_gpu
        return
    # Its products are small: threads would cost more than they bring.
    worker = Worker({"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def run_compiler(tmp_path_factory):
    """Calls a function of a process that compiles for GPUs that are not there."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not there")
    worker = Worker({"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))})
    yield worker
    worker.close()
