"""The engine's GPU kernels in Triton, each with a twin of the same signature in plain PyTorch.

They know nothing of moderation.

pieces      how the rows of a packed step hang together
attention   windowed attention of packed texts and branches over shared prefixes
decode      attention of one new token per sequence over rolling keys
norm        RMSNorm, alone and with the residual sum
rope        rotary positions, in place
swiglu      the gated activation
twins       all of these on any device, without Triton
launch      a kernel with its arguments, ready to run or to cross-compile
resources   registers, spills and instructions of each kernel, found without a GPU

`pieces` and `twins` import torch alone; the kernels' modules import Triton.
"""
