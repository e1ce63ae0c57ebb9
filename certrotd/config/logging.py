"""How ``certrotd run`` writes its log."""

from typing import Literal

from pydantic import Field

from certrotd.config.base import Entry


class LogEntry(Entry):
    """The log of the daemon, on standard error."""

    format: Literal["console", "json"] = Field(
        default="console", description="Text lines, or one JSON object per line."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level to log."
    )
