"""A target's programs: run to their end, their failure told with the end of what they printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from certrotd import process
from certrotd.clock import Deadline
from certrotd.errors import NeedsOperator, Transient

MAX_SHOWN = 500


def require(program: str, environment: Mapping[str, str] | None = None) -> None:
    """Raise NeedsOperator unless run() would find ``program``."""
    path = process.environment(environment or {})["PATH"]
    process.require(program, what="the program", path=path)


def run(
    argv: Sequence[str], *, deadline: Deadline, environment: Mapping[str, str] | None = None
) -> str:
    """Run ``argv`` to its end and give back the end of its output (stdout and stderr together).

    The child sees PATH, LANG, HOME and ``environment`` only. What it leaves in the background when
    it ends, such as the service it restarted, is neither waited for nor killed. Raises
    NeedsOperator when it cannot start or exits non-zero, Transient at the deadline; both show the
    end of its output.
    """
    allowed = deadline.remaining
    variables = process.environment(environment or {})
    ran = process.run(argv, what=argv[0], deadline=deadline, variables=variables)
    output = _shown(ran.output)
    if ran.status is None:
        raise Transient(
            f"{argv[0]} did not end within {allowed:.3g}s and was killed: {output or 'no output'}"
        )
    if ran.status:
        how = f"exit code {ran.status}" if ran.status > 0 else f"signal {-ran.status}"
        raise NeedsOperator(f"{' '.join(argv)} failed ({how}): {output or 'no output'}")
    return output


def _shown(output: bytes) -> str:
    # whoever puts it into a message has its control characters escaped there
    text = " ".join(output.decode("utf-8", "replace").split())
    return text if len(text) <= MAX_SHOWN else f"…{text[-MAX_SHOWN:]}"
