"""Guarded chat: prompts are checked before a model sees them, answers before the user does, streams included.

conversation   a request's messages as contents to check; the policy's system prompt; redaction
options        what a request asks for beyond its policy: stricter limits, another vendor's words
upstream       who answers: an OpenAI-compatible server
sse            server-sent events, read and written
hold           when a stream's text may leave
stream         a stream on its way through the output rail
report         what the rails found, as an answer tells it
rails          the input check, the whole answer's check, the stream's check
"""
