"""What must stand beside figures to mean anything."""

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["clocks", "commit", "machine"]

_PACKAGES = ("torch", "triton", "transformers", "numpy", "flash-attn", "vllm")
_CLOCKS = ("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu")


def machine(device: torch.device) -> dict[str, Any]:
    """Device, driver, versions, commit and date. `commit` is what GUARD_COMMIT says where there is no git."""
    found: dict[str, Any] = {"device": "cpu", "cpu": _cpu(), "cores": os.cpu_count()}
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        found |= {
            "device": about.name,
            "capability": f"{about.major}.{about.minor}",
            "memory_bytes": about.total_memory,
            "multiprocessors": about.multi_processor_count,
            "l2_bytes": getattr(about, "L2_cache_size", None),
            "driver": _asked("driver_version"),
            "cuda": torch.version.cuda,
        }
    return found | {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": commit(),
        "date": date.today().isoformat(),
    }


def clocks(device: torch.device) -> dict[str, str | None]:
    """MHz, watts and degrees, as the driver tells them; nothing on a CPU."""
    return {name: _asked(name) for name in _CLOCKS} if device.type == "cuda" else {}


def commit() -> str:
    """The tree's commit, with `+` behind it where files other than results differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    said = _output([*git, "rev-parse", "--short", "HEAD"])
    if said is None:
        return os.environ.get("GUARD_COMMIT", "unknown")
    tracked = ["--untracked-files=no", "--", ":(top)", ":(top,exclude)benchmarks/results"]
    return f"{said}+" if _output([*git, "status", "--porcelain", *tracked]) else said


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _asked(field: str) -> str | None:
    return _output(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader", "--id=0"])


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
