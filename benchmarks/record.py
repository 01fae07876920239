"""Where figures go, and what must stand beside them to mean anything."""

import json
import os
import platform
import subprocess
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "machine", "write"]

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("litestar", "msgspec", "aiohttp", "uvicorn", "uvloop", "onnxruntime", "tokenizers", "numpy")


def machine() -> dict[str, Any]:
    """The hardware, the versions, the commit and the date."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "date": date.today().isoformat(),
    }


def _version(package: str) -> str | None:
    """Not everything is there where an engine is measured alone."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write(name: str, command: str, figures: dict[str, Any], *, keep: bool = True) -> None:
    """Prints one benchmark's figures and keeps them in `results/<name>.json`, unless they are of a short form."""
    if keep:
        RESULTS.mkdir(exist_ok=True)
        document = {"benchmark": name, "command": command, "machine": machine(), "figures": figures}
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    width = max(map(len, figures))
    print(f"\n{name}")
    for key, value in figures.items():
        print(f"  {key:<{width}}  {value:,.4g}" if isinstance(value, float) else f"  {key:<{width}}  {value}")


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=RESULTS.parent
    )
    return done.stdout.strip() or "unknown"
