"""`python -m benchmarks [NAME…]`: runs the benchmarks, all by default, and keeps their figures."""

import sys

from benchmarks import engine, screen, service

BENCHMARKS = {
    "imports": service.imports,
    "startup": service.startup,
    "encoder": screen.encoder,
    "static": screen.static,
    "uncached": service.uncached,
    "cached": service.cached,
    "scan": screen.scan,
    "memory": service.memory,
    "engine": engine.engine,
    "sessions": engine.sessions,
}


def main(names: list[str]) -> None:
    """Runs the named benchmarks in their order."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(sorted(unknown))}; there is: {', '.join(BENCHMARKS)}")
    for name, run in BENCHMARKS.items():
        if not names or name in names:
            run()


if __name__ == "__main__":
    main(sys.argv[1:])
