"""Runs kernels in a process of its own: a pickled call on standard input, its pickled answer on standard output.

Triton decides when it is imported whether it interprets, and for the whole process; the tests' own process stays
without it. Run by the fixtures in `conftest.py`.
"""

import importlib
import os
import pickle
import sys
import traceback

import torch


def mend_bfloat16():
    """The interpreter keeps bfloat16 as 16-bit integers: its `tl.dot` multiplies those, its casts cut the rest off."""
    import numpy as np
    import triton.language as tl
    from triton.runtime import interpreter

    dot, convert = interpreter.InterpreterBuilder.create_dot, interpreter._convert_float

    def widened(x):
        if x.dtype.scalar != tl.bfloat16:
            return x
        return interpreter.TensorHandle((x.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def create_dot(self, a, b, *rest):
        return dot(self, widened(a), widened(b), *rest)

    def convert_float(data, before, after, rounding):
        if (before, after) != (tl.float32, tl.bfloat16):
            return convert(data, before, after, rounding)
        return torch.from_numpy(np.ascontiguousarray(data, np.float32)).bfloat16().view(torch.uint16).numpy()

    interpreter.InterpreterBuilder.create_dot = create_dot
    interpreter._convert_float = convert_float


def main():
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints goes to standard error, so that the answers stay whole.
    os.dup2(2, 1)
    # Memory that a kernel was to fill holds NaN until it does.
    torch.use_deterministic_algorithms(True)
    if os.environ.get("TRITON_INTERPRET") == "1":
        mend_bfloat16()
    while True:
        try:
            module, name, arguments, options = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (getattr(importlib.import_module(module), name)(*arguments, **options), None)
        except Exception:  # noqa: BLE001 (all are told to the test)
            answer = (None, traceback.format_exc())
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
