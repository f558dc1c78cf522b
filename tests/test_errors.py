"""Errors are one line, name file and cause, and survive a trip between processes."""

import errno
import os
import pickle

import pytest

from vmusprod.errors import InputError, MissingDependencyError, OutputError, VmusError


@pytest.mark.parametrize("kind", [InputError, OutputError])
def test_file_errors_name_file_and_cause(kind: type[InputError | OutputError]) -> None:
    assert str(kind("a.mp4", "not a video")) == "a.mp4: not a video"
    assert str(kind(os.path.join("b", "c"), "two\n lines")) == "b/c: two lines"  # noqa: PTH118
    error = kind("a", OSError(errno.ENOSPC, "No space left on device", "/tmp/x"))
    assert str(error) == "a: No space left on device"
    assert str(kind("a", ValueError())) == "a: ValueError"


@pytest.mark.parametrize("error", [InputError("a", "b"), OutputError("a", "b"), VmusError("c")])
def test_errors_pickle(error: VmusError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_missing_dependency_is_mendable() -> None:
    assert issubclass(MissingDependencyError, VmusError)
    assert str(MissingDependencyError("no fluidsynth:\n apt install")) == (
        "no fluidsynth: apt install"
    )
