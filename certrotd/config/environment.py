"""Variables for the programs that certrotd starts, with their secrets read."""

from __future__ import annotations

from certrotd.config.secrets import Environment
from certrotd.errors import NeedsOperator


def reveal(environment: Environment) -> dict[str, str]:
    """The variables as text; a reference that cannot be read raises as its resolve() does."""
    revealed = {}
    for name, value in environment.items():
        if isinstance(value, str):
            revealed[name] = value
            continue
        try:
            revealed[name] = value.resolve().reveal().decode()
        except UnicodeDecodeError:
            raise NeedsOperator(f"the secret for {name} is not UTF-8 text") from None
    return revealed
