"""A model by its folder, or by its name on Hugging Face's hub at a fixed revision."""

import re
from collections.abc import Mapping
from pathlib import Path

from guard.errors import ModelError

__all__ = ["PINNED", "folder_of"]

PINNED: Mapping[str, str] = {
    "mistralai/Mistral-7B-Instruct-v0.1": "9ab9e76e2b09f9f29ea2d56aa5bd139e4445c59e",
    "mistralai/Mistral-7B-Instruct-v0.2": "41b61a33a2483885c981aa79e0df6b32407ed873",
    "mistralai/Mistral-7B-Instruct-v0.3": "c170c708c41dac9275d15a8fff4eca08d52bab71",
}
"""Revisions that are taken where none is given: what is loaded never changes by itself."""
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_REVISION = re.compile(r"[0-9a-f]{40}")
_FILES = ["*.json", "*.safetensors", "tokenizer.model*", "*.jinja"]
_TWICE = ["consolidated*"]
"""The same weights once more, in the form of Mistral's own code."""


def folder_of(given: str) -> Path:
    """The folder that `given` names: a path, or `OWNER/NAME` or `OWNER/NAME@REVISION` on the hub.

    Raises:
        ModelError: there is no such folder or model, or its revision is not fixed.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        return path
    name, _, revision = given.partition("@")
    if path.is_absolute() or given.startswith(".") or not _NAME.fullmatch(name):
        raise ModelError(f"{given}: there is no such folder (a model of the hub is given as OWNER/NAME@REVISION)")
    revision = revision or PINNED.get(name, "")
    if not _REVISION.fullmatch(revision):
        raise ModelError(
            f"{name}: say which revision, as {name}@<40 hexadecimal digits>; its page on huggingface.co lists them "
            "under Files, History"
        )
    from huggingface_hub import snapshot_download  # noqa: PLC0415 (only for models that are not here yet)
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES, ignore_patterns=_TWICE))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as exc:
        raise ModelError(
            f"{name}@{revision[:8]} cannot be downloaded ({type(exc).__name__}); for a gated model set HF_TOKEN after "
            "accepting its terms, or give a folder"
        ) from exc
