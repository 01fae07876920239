"""Feeds a target with inputs that reach ever more of its code: `python -m tests.fuzz normalise --seconds 60`.

Starts from the target's seeds. What breaks a promise is written to `--finds`, by default to the seeds, where every run
of the tests tries it again; the process then ends with an error that names the file.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("the fuzzer, atheris, is not installed: it comes with the extra `dev`, for Linux on x86-64 alone")

from tests.fuzz.targets import LOOKED_AT

HERE = Path(__file__).parent


def main() -> None:
    """Runs one target until its time is over or something breaks."""
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz")
    asked.add_argument("target", help=f"one of {', '.join(LOOKED_AT)}")
    asked.add_argument("--seconds", type=int, default=60)
    asked.add_argument("--runs", type=int, default=-1, help="most inputs; -1: as many as the time allows")
    asked.add_argument("--finds", type=Path, help="folder for inputs that break something")
    asked.add_argument("--seconds-each", type=int, default=10, help="seconds that one input may take")
    asked.add_argument("--largest", type=int, default=4_096, help="bytes of an input")
    given = asked.parse_args()
    seeds, words = HERE / "seeds" / given.target, HERE / f"{given.target}.dict"
    finds: Path = given.finds if given.finds is not None else seeds
    with atheris.instrument_imports(include=LOOKED_AT.get(given.target, [given.target])):
        name = f"tests.fuzz.{given.target}" if given.target in LOOKED_AT else given.target
        target = importlib.import_module(name)
    with tempfile.TemporaryDirectory() as reached:
        options = [
            f"-max_total_time={given.seconds}",
            f"-runs={given.runs}",
            f"-max_len={given.largest}",
            f"-timeout={given.seconds_each}",
            f"-artifact_prefix={finds}/",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            *([f"-dict={words}"] if words.is_file() else []),
            # Found inputs go to the first folder; the others are read alone.
            reached,
            *([str(seeds)] if seeds.is_dir() else []),
        ]
        atheris.Setup([sys.argv[0], *options], target.check, enable_python_coverage=True)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
