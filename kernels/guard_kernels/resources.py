"""What each kernel takes of a GPU, found by compiling it for one that is not there.

    python -m guard_kernels.resources

prints a line for each kernel at Mistral-7B's shape. The figures come from the machine code, with the tools that Triton
brings.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from guard_kernels import attention, decode, norm, rope, swiglu
from guard_kernels.launch import Launch
from guard_kernels.pieces import Piece, pack

__all__ = ["Resources", "measure", "measured", "production"]

_POINTERS = {
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
}


class Resources(NamedTuple):
    """Figures of one kernel's machine code."""

    registers: int
    """Per thread."""
    spilled: int
    """Bytes of a thread's stack."""
    shared: int
    """Bytes of shared memory per program."""
    matrix: int
    """Matrix instructions: HGMMA of Hopper's warp groups, HMMA of Ampere's warps."""
    asynchronous: int
    """Copies that run beside the arithmetic: LDGSTS, or UTMALDG of the tensor memory engine."""
    warp_groups: bool
    """Whether the matrix instructions are HGMMA."""


def measure(launch: Launch, arch: int) -> Resources:
    """Compiles one call for compute capability `arch` (80, 90, …) and reads its machine code."""
    signature, constants, aligned = {}, {}, {}
    for index, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        kind = _kind(value, constant=parameter.is_constexpr)
        signature[parameter.name] = kind
        if kind == "constexpr":
            constants[(index,)] = value
        elif isinstance(value, Tensor) or (isinstance(value, int) and value % 16 == 0):
            aligned[(index,)] = [["tt.divisibility", 16]]
    made = triton.compile(
        ASTSource(launch.kernel, signature, constants, aligned),
        target=GPUTarget("cuda", arch, 32),
        options=launch.options,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(made.asm["cubin"])
        usage, code = _disassembled("-res-usage", path), _disassembled("-sass", path)
    return Resources(
        registers=int(_found(r"REG:(\d+)", usage)),
        spilled=int(_found(r"STACK:(\d+)", usage)) + int(_found(r"LOCAL:(\d+)", usage)),
        shared=made.metadata.shared,
        matrix=len(re.findall(r"\b(?:HGMMA|HMMA)\b", code)),
        asynchronous=len(re.findall(r"\b(?:LDGSTS|UTMALDG)\b", code)),
        warp_groups="HGMMA" in code,
    )


def production(arch: int) -> dict[str, Launch]:
    """Every kernel's call at Mistral-7B's shape: 32 and 8 heads of 128, bfloat16, a window of 4,096 keys."""
    rows, heads, kv_heads, d, width, inner = 1_024, 32, 8, 128, 4_096, 14_336

    def bf16(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.bfloat16, device="meta")

    def fp32(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device="meta")

    q, k, v = torch.split(bf16(rows, heads + 2 * kv_heads, d), [heads, kv_heads, kv_heads], dim=1)
    pool = bf16(rows, kv_heads, d)
    pieces = pack(
        [Piece(0, rows, rows, 0, rows)],
        heads=heads,
        kv_heads=kv_heads,
        head_dim=d,
        dtype=torch.bfloat16,
        device="meta",
    )
    x = bf16(rows, width)
    ring, each = bf16(16, 4_096, kv_heads, d), torch.empty(16, dtype=torch.int32, device="meta")
    split, merge, _ = decode.plan(bf16(16, heads, d), ring, ring, each, each)
    return {
        "attention": attention.plan(
            q,
            k,
            v,
            pool,
            pool,
            pieces,
            bf16(rows, heads, d),
            fp32(rows, heads),
            window=4_096,
            scale=None,
            capability=divmod(arch, 10),
        ),
        "decode split": split,
        "decode merge": merge,
        "rms_norm": norm.plan(x, None, bf16(width), 1e-5, x, None),
        "add_rms_norm": norm.plan(x, x, bf16(width), 1e-5, x, x),
        "rotate": rope.plan(q, k, fp32(rows, d // 2), fp32(rows, d // 2)),
        "swiglu": swiglu.plan(bf16(rows, 2 * inner), bf16(rows, inner)),
    }


def measured(arch: int) -> dict[str, Resources]:
    """The figures of every kernel at that shape."""
    return {name: measure(launch, arch) for name, launch in production(arch).items()}


def main() -> None:
    """Prints the table."""
    print(
        f"{'kernel':<13} {'arch':>5} {'registers':>9} {'spilled':>8} {'shared':>8} {'matrix':>10} {'asynchronous':>12}"
    )
    for arch in (90, 80):
        for name, found in measured(arch).items():
            kind = "HGMMA" if found.warp_groups else "HMMA"
            matrix = f"{found.matrix} {kind}" if found.matrix else "0"
            print(
                f"{name:<13} sm_{arch} {found.registers:>9} {found.spilled:>8} {found.shared:>8} "
                f"{matrix:>10} {found.asynchronous:>12}"
            )


def _kind(value: Any, *, constant: bool) -> str:
    """A parameter's type as Triton would find it at a real call."""
    if constant or (isinstance(value, int) and value == 1):
        return "constexpr"
    if isinstance(value, Tensor):
        return _POINTERS[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def _disassembled(what: str, path: Path) -> str:
    tool = triton.knobs.nvidia.cuobjdump.path
    return subprocess.run([tool, what, str(path)], check=True, capture_output=True, text=True).stdout


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"no {pattern} in the disassembly: {text[:200]}")
    return match[1]


if __name__ == "__main__":
    main()
