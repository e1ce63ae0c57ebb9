"""Why keys cannot be written in an application's form, or read from it; none shows a key."""

from __future__ import annotations

from certrotd.errors import NeedsOperator


class OutputError(NeedsOperator):
    """An output cannot do what is asked; nothing was written."""


class NotExpressible(OutputError):
    """What stands in the application's files is not what the output reads and rewrites."""


class NotDeliverable(OutputError):
    """The output has no form for these keys: an algorithm, an id, a secondary key."""


class NoFreeSlot(NotDeliverable):
    """The application has fewer places for keys than there are keys."""


class TemplateFailed(OutputError):
    """The operator's template raises, or goes beyond its bounds."""
