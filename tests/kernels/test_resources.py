"""What the compiler makes of each kernel for GPUs that are not there."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

REGISTERS = {
    "attention": 240,
    "decode split": 128,
    "decode merge": 64,
    "rms_norm": 64,
    "add_rms_norm": 64,
    "rotate": 64,
    "swiglu": 64,
}
"""Per thread. Attention runs one program of 256 threads on a multiprocessor of 65,536; the others run several."""


@pytest.mark.parametrize("arch", [90, 80])
def test_kernels_fit_and_use_the_units_that_make_them_fast(run_compiler, arch):
    """No spills; matrix units; copies beside the arithmetic; two rounds of shared memory at most."""
    found = run_compiler("resources.measured", arch)
    assert found.keys() == REGISTERS.keys()
    for name, figures in found.items():
        assert figures.spilled == 0, name
        assert figures.registers <= REGISTERS[name], name
        assert figures.shared <= (227 if arch == 90 else 99) * 1024, name
    for name in ("attention", "decode split"):
        assert found[name].matrix > 0, name
        assert found[name].asynchronous > 0, name
    assert found["attention"].warp_groups == (arch == 90)


def test_the_twins_load_no_triton():
    """They are what runs where it is missing."""
    code = "import guard_kernels.twins, guard_kernels.pieces, sys; sys.exit('triton' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
