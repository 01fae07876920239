"""What libraries warn of, in the log: a line of ours, in bounds, without what they filled in."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from guard.telemetry.log import LibraryLines
from guard.testing import SteppingClock

SECRET = "the words of a client"


@pytest.fixture
def clock() -> SteppingClock:
    """Time that only the test moves."""
    return SteppingClock()


@pytest.fixture
def lines(clock: SteppingClock) -> Iterator[list[Any]]:
    """What the log gets while a logger `library.part` and asyncio's write to it."""
    handler = LibraryLines(clock)
    loggers = [logging.getLogger(name) for name in ("library.part", "asyncio", "uvicorn.error")]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.propagate = False
        logger.addHandler(handler)
    structlog.reset_defaults()
    with capture_logs() as told:
        handler._log = structlog.get_logger("guard")
        yield told
    for logger, propagate in zip(loggers, before, strict=True):
        logger.removeHandler(handler)
        logger.propagate = propagate


def test_what_was_filled_in_is_left_out(lines: list[Any]):
    """Neither arguments, nor an exception's message, nor what asyncio writes of a task."""
    library = logging.getLogger("library.part")
    library.warning("could not read %s", SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError as exc:
        library.exception(exc)
        logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: {exc}", exc_info=exc)
        logging.getLogger("asyncio").error(f"Exception in callback part.of('{SECRET}')\nhandle: <{SECRET}>")
    assert SECRET not in repr(lines)
    assert [line["message"] for line in lines] == [
        "could not read %s",
        "ValueError",
        "Task exception was never retrieved",
        "Exception in callback part.of",
    ]
    assert [line["log_level"] for line in lines] == ["warning", "error", "error", "error"]
    assert lines[1]["error"] == "ValueError"
    assert "test_library_lines.py" in lines[1]["where"][-1]


def test_uvicorn_knows_no_texts_and_is_written_whole(lines: list[Any]):
    """Why it cannot listen must be seen."""
    logging.getLogger("uvicorn.error").error(OSError(98, "address already in use"))
    logging.getLogger("uvicorn.error").error("Cancel %s running task(s)", 3)
    assert [line["message"] for line in lines] == ["[Errno 98] address already in use", "Cancel 3 running task(s)"]


def test_a_kind_of_line_is_written_once_a_second(lines: list[Any], clock: SteppingClock):
    """However often, and with whatever filled in; other kinds are not kept back by it."""
    library = logging.getLogger("library.part")
    for number in range(1_000):
        library.warning("bad request from %s", number)
    library.warning("another")
    clock.step(1.0)
    library.warning("bad request from %s", "somebody")
    clock.step(1.0)
    library.warning("bad request from %s", "somebody")
    assert [(line["message"], line.get("unwritten")) for line in lines] == [
        ("bad request from %s", None),
        ("another", None),
        ("bad request from %s", 999),
        ("bad request from %s", None),
    ]


def test_kinds_are_not_remembered_without_end(lines: list[Any]):
    """A library may fill in what it says by itself."""
    library = logging.getLogger("library.part")
    handler = next(found for found in library.handlers if isinstance(found, LibraryLines))
    for number in range(1_000):
        library.warning(f"words {number}")
    assert len(lines) == 1_000
    assert len(handler._due) <= 256


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_process_has_one_log(form: str):
    """Also when it is set up twice: one line for each thing, on standard error."""
    code = (
        "import logging; from guard.telemetry import configure_logging\n"
        f"for _ in range(2): configure_logging(level='info', form='{form}')\n"
        "logging.getLogger('library').warning('careful'); logging.getLogger('library').info('all is well')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == ""
    (line,) = told.stderr.splitlines()
    assert "library_warned" in line
    assert "careful" in line
    if form == "json":
        assert json.loads(line)["logger"] == "library"
