"""`python -m benchmarks [NAME…]`: runs the benchmarks, all by default, and keeps their figures.

`chat` stands for all of a guarded chat. `--quick` is for trying out the chat's and the soak: a short form that keeps no
figures. `--peers` measures other products beside ours (`make bench-peers` installs them).
"""

import argparse
from collections.abc import Callable
from functools import partial

from benchmarks import chat, engine, fairness, leaks, peers, production, screen, service, shadow, soak


def benchmarks(*, quick: bool, with_peers: bool) -> dict[str, Callable[[], None]]:
    """All of them, in their order."""
    return {
        "imports": service.imports,
        "startup": service.startup,
        "encoder": screen.encoder,
        "static": screen.static,
        "uncached": service.uncached,
        "cached": service.cached,
        "tracing": service.tracing,
        "scan": screen.scan,
        "memory": service.memory,
        "production": production.production,
        "workers": production.workers,
        "steady": production.steady,
        "fairness": fairness.fairness,
        "shadow": shadow.shadow,
        "engine": engine.engine,
        "sessions": engine.sessions,
        "chat_first_token": partial(chat.first_token, quick=quick),
        "chat_cpu": partial(chat.cpu, quick=quick),
        "chat_rate": partial(peers.rate, quick=quick, with_peers=with_peers),
        "chat_streams": partial(chat.streams, quick=quick),
        "leaks": partial(leaks.leaks, quick=quick),
        "soak": partial(soak.benchmark, quick=quick),
    }


def main() -> None:
    """Runs the named benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures what the README claims.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all by default; `chat` is everything that begins so")
    parser.add_argument("--quick", action="store_true", help="chats and soak in a short form, which keeps no figures")
    parser.add_argument("--peers", action="store_true", help="chat_rate: measure other products beside ours")
    asked = parser.parse_args()
    known = benchmarks(quick=asked.quick, with_peers=asked.peers)
    unknown = set(asked.names) - set(known) - {"chat"}
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there is: {', '.join(known)}, chat")
    for name, run in known.items():
        if not asked.names or name in asked.names or ("chat" in asked.names and name.startswith("chat_")):
            run()


if __name__ == "__main__":
    main()
