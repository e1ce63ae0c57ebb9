"""How ``certrotd run`` writes its log."""

from typing import Literal

from pydantic import Field

from certrotd.config.base import Entry


class LogEntry(Entry):
    """The log, on standard error."""

    format: Literal["console", "json"] = Field(
        default="console", description="Text lines, or one JSON object per line."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level to log."
    )
    audit: bool = Field(
        default=False,
        description="Write every record of the audit log to standard error too, as its line of "
        "JSON: for pods whose state_dir ends with them. Of all commands.",
    )
