"""A report as a file: Markdown for people, CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from certrotd.assessment import json_form, markdown, spreadsheet
from certrotd.assessment.report import Report


class Format(StrEnum):
    """What a report can be written as."""

    MD = "md"
    JSON = "json"
    CSV = "csv"


_FORMS: Mapping[Format, Callable[[Report], str]] = {
    Format.MD: markdown.written,
    Format.JSON: json_form.written,
    Format.CSV: spreadsheet.written,
}


def rendered(report: Report, form: Format) -> bytes:
    """The bytes of the file, which are what is signed: the same for the same report."""
    return _FORMS[form](report).encode()
