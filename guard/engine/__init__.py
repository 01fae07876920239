"""The engine: a Mistral on this machine's GPU or CPU. Imports torch; only `guard.judge.local` imports it.

checkpoint   Hugging Face folders, LoRA adapters
attention    the one door to attention
model        the forward pass: prefix, text, branches, last rows only
tokens       the model's own tokenizer and chat template
scorer       label log-probabilities, with the prefixes that were computed before
"""
