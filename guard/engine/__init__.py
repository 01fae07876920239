"""The engine: a Mistral on this machine's GPU or CPU. Imports torch; only `guard.judge.local` imports it.

hub            a model's folder by its name
checkpoint     Hugging Face folders, LoRA adapters
sentencepiece  `tokenizer.model` read as `tokenizer.json` describes it
tokens         the model's own tokenizer and chat template
words          tokens as they come, as text
ops            the one door to attention and the small kernels: Triton on CUDA, plain PyTorch on a CPU
fp8            linear layers in fp8
kv             keys and values that stay: prefixes, rolling buffers
model          the forward pass: packed texts with branches, one more token of many sequences
sampling       the next token
jobs           what is asked for: label probabilities, or a text that goes on
scheduler      who is read next, and how much at once
engine         a loaded model with all that runs it
"""
