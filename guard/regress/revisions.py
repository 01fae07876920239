"""Policies as git remembers them.

    Repository.around(folder)         the repository that a folder of policies lies in
    .commit("main~3")                 a revision's full hash
    .listed(commit)                   its files of policies, by their paths, with the hash of each
    .policies(files)                  these files as a folder, for as long as it is needed

Objects are read as they are stored: `git archive` would leave out what `.gitattributes` marks with `export-ignore`.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from guard.errors import DatasetError, InvalidPolicy, Problem

__all__ = ["Commit", "Repository", "renamed"]

_FIELD, _RECORD = "\x1f", "\x1e"


class Commit(NamedTuple):
    """One commit. `parent` is its first one; empty where there is none. `date` is the author's, as ISO 8601."""

    id: str
    parent: str
    date: str
    author: str
    subject: str


class Repository(NamedTuple):
    """The repository around a folder of policies; `path` is the folder within it, with `/`."""

    root: Path
    path: str

    @classmethod
    def around(cls, folder: Path) -> "Repository":
        """Finds it; the folder itself may be gone by now.

        Raises:
            DatasetError: there is none, or no git.
        """
        folder = folder.resolve()
        there = next(place for place in (folder, *folder.parents) if place.is_dir())
        root = Path(os.fsdecode(_git(there, "rev-parse", "--show-toplevel")).rstrip("\n")).resolve()
        if not folder.is_relative_to(root):
            raise DatasetError(f"{folder}: is not in the working tree of {root}")
        return cls(root, folder.relative_to(root).as_posix())

    def commit(self, revision: str) -> str:
        """A revision's full hash.

        Raises:
            DatasetError: there is no such revision.
        """
        try:
            asked = f"{revision}^{{commit}}"
            return _git(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", asked).decode().strip()
        except DatasetError as exc:
            raise DatasetError(
                f"`{revision}` is no revision of {self.root}: give a commit, a branch or a tag "
                "(in a shallow clone, fetch it first)"
            ) from exc

    def log(self, *, since: str | None = None) -> list[Commit]:
        """The commits that touched the folder, newest first; merges are left out. `since` itself is not among them.

        Raises:
            DatasetError: `since` is no revision, or there is no commit yet.
        """
        wanted = self.commit("HEAD") if since is None else f"{self.commit(since)}..{self.commit('HEAD')}"
        form = f"--format=%H{_FIELD}%P{_FIELD}%aI{_FIELD}%an{_FIELD}%s{_RECORD}"
        told = _git(self.root, "log", "--no-merges", "--topo-order", form, wanted, "--", self.path)
        commits = []
        for record in told.decode(errors="replace").split(_RECORD)[:-1]:
            id, parents, date, author, subject = record.lstrip("\n").split(_FIELD)
            commits.append(Commit(id, parents.split(" ")[0], date, author, subject))
        return commits

    def first_parents(self, commit: str) -> list[str]:
        """The commit and those before it that touched the folder, newest first, each the first parent of the next."""
        return _git(self.root, "rev-list", "--first-parent", commit, "--", self.path).decode().split()

    def listed(self, commit: str, names: Sequence[str]) -> dict[str, str]:
        """The hashes of the files `<policy>/<name>` of a commit, by that path; a name may be a folder's."""
        told = _git(self.root, "ls-tree", "-r", "-z", "--full-tree", commit, "--", self.path)
        found = {}
        start = "" if self.path == "." else f"{self.path}/"
        for entry in filter(None, os.fsdecode(told).split("\0")):
            about, path = entry.split("\t", 1)
            mode, _, blob = about.split(" ")
            parts = path.removeprefix(start).split("/")
            # Neither links nor submodules.
            if mode.startswith("100") and len(parts) > 1 and parts[1] in names and ".." not in parts:
                found["/".join(parts)] = blob
        return found

    @contextmanager
    def policies(self, files: Mapping[str, str]) -> Iterator[Path]:
        """A folder with these files, named as the policies' folder is; it is gone afterwards.

        Raises:
            DatasetError: an object is missing.
        """
        with TemporaryDirectory(prefix="guard-") as place:
            folder = Path(place).resolve() / "policies"
            folder.mkdir()
            for path, content in zip(files, self._contents(list(files.values())), strict=True):
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            yield folder

    def _contents(self, blobs: Sequence[str]) -> Iterator[bytes]:
        told = _git(self.root, "cat-file", "--batch", given="".join(f"{blob}\n" for blob in blobs).encode())
        at = 0
        for blob in blobs:
            end = told.index(b"\n", at)
            about = told[at:end].decode().split(" ")
            if len(about) != 3:
                raise DatasetError(f"{self.root}: git has no object {blob}: the clone is not complete; fetch it")
            size = int(about[2])
            yield told[end + 1 : end + 1 + size]
            at = end + 1 + size + 1


@contextmanager
def renamed(folder: Path, shown_as: str) -> Iterator[None]:
    """Problems in files below `folder` name them as `shown_as` does."""
    try:
        yield
    except InvalidPolicy as exc:
        raise InvalidPolicy(
            [Problem(problem.file.replace(str(folder), shown_as, 1), *problem[1:]) for problem in exc.problems]
        ) from exc


def _git(folder: Path, *arguments: str, given: bytes | None = None) -> bytes:
    """What git answers.

    Raises:
        DatasetError: with what it complains of.
    """
    try:
        done = subprocess.run(
            ["git", "--literal-pathspecs", "-C", str(folder), *arguments],
            input=given,
            capture_output=True,
            check=False,
            env=os.environ | {"LC_ALL": "C"},
        )
    except OSError as exc:
        raise DatasetError(
            f"git cannot be run ({exc.strerror}): install it, or give policies without `@REVISION`"
        ) from exc
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        if "not a git repository" in said:
            raise DatasetError(f"{folder} is in no git repository: what has been is known only where there is one")
        raise DatasetError(f"git {arguments[0]} in {folder}: {said or f'exit code {done.returncode}'}")
    return done.stdout
