"""The tests that train need the `train` extra; without it they are left out."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torch") else ["test_batches.py", "test_model.py", "test_run.py"]
