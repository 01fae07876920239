"""Memory that is free goes back to the machine.

What policies are made of is taken in one piece after another and let go at once when others replace them. The C library
keeps that for itself: 7 to 20 MB after a reload that changed a comment.
"""

import ctypes

__all__ = ["give_back"]


def give_back() -> None:
    """Has the C library return what it does not use, where it can (glibc); it takes a few milliseconds, in which other
    threads run on."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        # musl and macOS have no such function.
        return
    trim(0)
