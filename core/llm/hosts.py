"""Open the host that a spec names. Worker side: a local host imports torch here."""

from pathlib import Path

from core.llm.protocol import Host, HostSpec
from core.runs.context import WorkError


def open_host(spec: HostSpec, models_dir: Path) -> Host:
    """The host, ready to answer. Raises WorkError when it cannot be opened, naming the
    host and what to change. `models_dir` is where the embedded model is converted to."""
    if spec.kind == "local":
        from core.llm.local import LocalHost

        return LocalHost(spec, models_dir)
    if spec.kind == "openai":
        from core.llm.remote import RemoteHost

        return RemoteHost(spec)
    raise WorkError(
        f"The host “{spec.name}” is of the unknown kind “{spec.kind}”.", "Kinds are local and openai."
    )
