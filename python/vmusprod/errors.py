"""The errors that a user can mend; everything else is a bug and keeps its traceback."""

import os

__all__ = ["InputError", "MissingDependencyError", "OutputError", "VmusError"]


class VmusError(Exception):
    """What the user can mend; `str()` of it is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


class _FileError(VmusError):
    """A file and what is wrong with it: `path: cause`."""

    def __init__(self, path: str | os.PathLike[str], cause: str | BaseException) -> None:
        self.path = os.fspath(path)
        self.cause = _cause(cause)
        super().__init__(f"{self.path}: {self.cause}")

    def __reduce__(self) -> tuple[type["_FileError"], tuple[str, str]]:
        # Exceptions pickle by their `args`, which hold the joined message: worker
        # processes need the two parts back.
        return type(self), (self.path, self.cause)


class InputError(_FileError):
    """A file that was given cannot be used.

    Parameters
    ----------
    path : str or os.PathLike
        The file as the user named it.
    cause : str or BaseException
        What is wrong; of an `OSError` its `strerror` is kept.
    """


class OutputError(_FileError):
    """A file that was asked for cannot be written; parameters as in `InputError`."""


class MissingDependencyError(VmusError):
    """A library of Python or of the system is missing; the message says how to install it."""


def _cause(cause: str | BaseException) -> str:
    """Return the words of `cause`: an `OSError` without its number and path."""
    if isinstance(cause, OSError) and cause.strerror:
        return _one_line(cause.strerror)
    return _one_line(str(cause)) or type(cause).__name__


def _one_line(text: str) -> str:
    """Return `text` with every run of white space, line breaks included, as one space."""
    return " ".join(text.split())
