"""The image without a Docker engine: what is copied makes a whole wheel, and the GPU service has what it needs."""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STAGES = re.split(r"^FROM ", (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " "), flags=re.MULTILINE)[1:]
BUILD, IMAGE = STAGES


class DockerIgnore:
    """`.dockerignore` as Docker reads it: the last pattern that fits a path, or a folder above it, decides."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self._rules = [(_pattern(line.lstrip("!").strip("/")), not line.startswith("!")) for line in lines]

    def leaves_out(self, path: PurePosixPath) -> bool:
        """Whether the build does not see the file at `path`."""
        out = False
        for pattern, excludes in self._rules:
            if any(pattern.fullmatch(str(part)) for part in (path, *path.parents[:-1])):
                out = excludes
        return out


def _pattern(line: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*|\?)", line)))


def copies(stage: str) -> Iterator[tuple[list[str], str]]:
    """Sources and target of each COPY out of the build's context."""
    for line in re.findall(r"^COPY (.*)$", stage, flags=re.MULTILINE):
        words = line.split()
        if not words[0].startswith("--from="):
            assert not words[0].startswith("--"), f"this test does not know what {words[0]} means"
            yield words[:-1], words[-1]


def copy(context: Path, stage: str, to: Path) -> None:
    """What `stage` has in its working folder after its COPY lines."""
    ignore = DockerIgnore((context / ".dockerignore").read_text())
    for sources, target in copies(stage):
        for source in sources:
            path = context / source
            found = (
                [path] if path.is_file() else [file for file in path.rglob("*") if file.is_symlink() or file.is_file()]
            )
            seen = [
                file for file in found if not ignore.leaves_out(PurePosixPath(file.relative_to(context).as_posix()))
            ]
            assert seen, f"COPY {source}: .dockerignore leaves nothing of it"
            for file in seen:
                inside = file.relative_to(path) if path.is_dir() else Path(file.name if target.endswith("/") else "")
                made = to / target / inside
                made.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, made, follow_symlinks=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that the Dockerfile's first stage installs, unpacked."""
    source, made, unpacked = [tmp_path_factory.mktemp(name) for name in ("source", "made", "unpacked")]
    copy(ROOT, BUILD, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(made), str(source)]
    built = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = made.iterdir()
    with zipfile.ZipFile(file) as archive:
        archive.extractall(unpacked)
    return unpacked


def test_the_wheel_of_the_image_is_whole(wheel):
    """Both packages, the policies, the model and the language files."""
    wanted = {path.relative_to(ROOT) for path in (ROOT / "guard").rglob("*.py")}
    wanted |= {path.relative_to(ROOT / "kernels") for path in (ROOT / "kernels").rglob("*.py")}
    wanted |= {
        path.relative_to(ROOT)
        for folder in ("model", "language")
        for path in (ROOT / "guard" / "screen" / folder).iterdir()
        if path.is_file()
    }
    wanted |= {
        "guard" / Path("default_policies") / path.relative_to(ROOT / "policies")
        for path in (ROOT / "policies").rglob("*")
        if path.is_file()
    }
    wanted |= {Path("guard/py.typed"), Path("guard/screen/ordinary.txt")}
    reports = ROOT / "guard" / "regress" / "reports"
    wanted |= {path.relative_to(ROOT) for path in reports.iterdir() if path.suffix in (".html", ".css", ".js")}
    assert len(wanted) > 100
    assert {str(path) for path in wanted if not (wheel / path).is_file()} == set()


def test_the_wheel_of_the_image_has_what_a_judge_imports(wheel):
    """Nothing of the checkout helps it."""
    pytest.importorskip("torch")
    code = (
        "import guard_kernels.twins, guard.judge.local, sys; "
        "print(*[m.__file__ for n, m in sys.modules.items() if n.partition('.')[0] in ('guard', 'guard_kernels')])"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=wheel, timeout=100)
    files = [Path(file) for file in ran.stdout.split()]
    assert len(files) > 20
    assert [file for file in files if not file.is_relative_to(wheel)] == []


def test_the_folders_of_the_gpu_service_are_its_own():
    """All else is read-only. What Triton compiles is loaded from its folder: in a volume it may be, in a tmpfs not."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    gpu = services["guard-gpu"]
    # What it extends has the one for records, which Compose joins to these.
    volumes = [
        volume.partition(":")[2]
        for service in ("guard", "guard-gpu")
        for volume in services[service]["volumes"]
        if not volume.startswith(".")
    ]
    assert services["guard"]["read_only"]
    assert sorted(volumes) == sorted(
        ["/records", gpu["environment"]["HF_HOME"], gpu["environment"]["TRITON_CACHE_DIR"]]
    )
    made = re.search(r"install -d -o guard (.*)", IMAGE)
    assert made is not None
    assert set(made[1].split()) == set(volumes)


@pytest.mark.skipif(sys.platform == "win32", reason="it runs a line of the image's shell")
def test_a_compiler_comes_with_the_judge_alone():
    """Triton's launcher is compiled where it runs, with the headers of libc."""
    build = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["guard-gpu"]["build"]
    (run,) = [line for line in IMAGE.splitlines() if line.startswith("RUN") and "gcc" in line]
    assert "libc6-dev" in run
    assert 'ARG EXTRAS=""' in IMAGE
    case = re.sub(r"apt-get update.*/lists/\*", "echo compiler", run.removeprefix("RUN "))
    for extras, said in (("", ""), (build["args"]["EXTRAS"], "compiler")):
        ran = subprocess.run(["sh", "-c", case], check=True, capture_output=True, text=True, env={"EXTRAS": extras})
        assert ran.stdout.strip() == said
