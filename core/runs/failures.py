"""What an exception means to the person who started the run: one line, and what to do.

Recognised by the class's name where the class belongs to a library that the web process
must not import (torch)."""

import errno

from core.errors import PrefloopError

_MEMORY_HINT = "Choose a smaller model, batch size or length, or free memory; then resume."
_SEE_LOG = "The log below has the details. Resume goes on from the last checkpoint."


def explain(error: BaseException) -> tuple[str, str]:
    """(message, hint) for a person; the traceback belongs in the log."""
    said = _line(error)
    if isinstance(error, PrefloopError):
        return error.message, error.hint
    if _is_memory(error):
        where = "the GPU's memory" if "cuda" in said.lower() else "memory"
        return f"There was not enough {where}.", _MEMORY_HINT
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full.", "Free some space where the data folder lies; then resume."
    if "no space left on device" in said.lower():
        return "The disk is full.", "Free some space where the data folder lies; then resume."
    if isinstance(error, FileNotFoundError):
        what = error.filename or said
        return (
            f"A file or folder is missing: {what}.",
            "Check that the model and its path exist; then resume.",
        )
    if isinstance(error, PermissionError):
        return f"Access was denied: {error.filename or said}.", "Check the permissions; then resume."
    if isinstance(error, ModuleNotFoundError):
        return (
            f"The package “{error.name}” is not installed here.",
            "Install the requirements into this environment; then resume.",
        )
    if isinstance(error, OSError) and "huggingface.co" in said:
        return (
            f"The model could not be loaded: {said}",
            "Check its name. Without a network, name a local folder or “embedded”.",
        )
    if isinstance(error, ConnectionError | TimeoutError):
        return f"A connection failed: {said}", "Check that the host is up and can be reached; then resume."
    return f"The work stopped with an error: {type(error).__name__}: {said}", _SEE_LOG


def _is_memory(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    said = str(error).lower()
    return (
        bool(names & {"MemoryError", "OutOfMemoryError"})
        or (isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )


def _line(error: BaseException, at_most: int = 300) -> str:
    """The first line that says something, shortened."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return first if len(first) <= at_most else first[: at_most - 1] + "…"
