"""Who may use Guard, and how much: API keys, their rights, their rates.

keys    the file of keys: made, read, revoked; a key in a request as its owner
rates   what a key may use in a minute: token buckets, of one process or shared
shared  the shared ones, in Redis
gate    whose request this is, and whether it may come in now
"""

from guard.access.gate import Gate
from guard.access.keys import Caller, KeyBook

__all__ = ["Caller", "Gate", "KeyBook"]
