"""What the YAML parser complains of, in words: the line to mend, and what may be right there."""

from __future__ import annotations

import re

from yaml import YAMLError
from yaml.error import MarkedYAMLError
from yaml.reader import ReaderError

from certrotd.config.base import shown
from certrotd.errors import Failure

_HINTS = (
    (
        "mapping values are not allowed",
        "put a space after the key's ':', quote a text that holds ': ', or check the indentation",
    ),
    ("did not find expected key", "check the indentation and the quotes above"),
    ("did not find expected '-' indicator", "check the indentation"),
    ("did not find expected node content", "quote the text, or check the brackets"),
    ("while scanning an alias", "quote a text that begins with '*'"),
    ("cannot start any token", "quote the text"),
)
_GLUED = re.compile(r"\s*(?:- +)?([A-Za-z_][A-Za-z0-9_-]{0,63}):[^\s:/]")
_SETTING = re.compile(r";|\[\[?[\w .\"'-]+\]\]?\s*$|[\w.\"-]+\s*=")
_PLACEHOLDER = re.compile(r"\$\{?\w+\}?|\{\{")
NOT_FILLED_IN = "variables and templates are not expanded: write the value, or {env: NAME}"
_LINES_BEFORE = 2


class BadYaml(Failure):
    """The text is not YAML this program reads; ``line`` is 1-based."""

    def __init__(self, line: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.line = line


def in_words(error: YAMLError, text: str) -> BadYaml:
    """The parser's complaint, with its line and what may be right."""
    if isinstance(error, ReaderError):
        line = text.encode()[: error.position].count(b"\n") + 1
        return BadYaml(line, "holds a control character", hint="remove it, or escape it in quotes")
    if (other := other_format(text)) is not None:
        return other
    if not isinstance(error, MarkedYAMLError):
        return BadYaml(0, f"is not YAML: {error}")
    return _marked(error, text)


def other_format(text: str) -> BadYaml | None:
    """That the text is of another format, as its first line with content tells; None if not."""
    for number, line in enumerate(text.splitlines(), 1):
        first = line.strip()
        if not first or first.startswith(("#", "---")):
            continue
        if first.startswith("<"):
            return BadYaml(number, "is XML or HTML: the configuration is YAML")
        if _SETTING.match(first):
            how = 'write "key: value", and a section as its name with a colon, its keys indented'
            return BadYaml(number, "is INI or TOML: the configuration is YAML", hint=how)
        break
    return None


def _marked(error: MarkedYAMLError, text: str) -> BadYaml:
    begun, mark = error.context_mark, error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    first = begun.line + 1 if begun else line
    at = text[mark.index : mark.index + 1] if mark else ""
    if at == "\t":
        return BadYaml(line, "is not YAML: a tab begins the line", hint="indent with spaces")
    problem, context = error.problem or "", error.context or ""
    if found := _glued(text, first if "expected ':'" in problem else line):
        number, key = found
        why = f"is not YAML: there is no space after {shown(f'{key}:')}"
        return BadYaml(number, why, hint=f'write "{key}: …"')
    if "could not find expected ':'" in problem:
        how = 'write "key: value", or quote a text that goes over several lines'
        return BadYaml(first, "is not YAML: a key without its ':'", hint=how)
    if "unexpected end of stream" in problem and "quoted" in context:
        why = "is not YAML: the quote that begins here is not closed"
        return BadYaml(first, why, hint="close the quote")
    if "did not find expected ',' or" in problem:
        return _in_brackets(text, line, first, at)
    since = f" begun in line {first}" if begun and begun is not mark else ""
    said = ", ".join(part for part in (f"{context}{since}" if context else "", problem) if part)
    hint = next((hint for words, hint in _HINTS if words in said), "")
    return BadYaml(line, f"is not YAML: {said}", hint=hint)


def _in_brackets(text: str, line: int, first: int, at: str) -> BadYaml:
    """What is wrong within brackets that begin in the line ``first``."""
    if _PLACEHOLDER.search(_line(text, line)):
        return BadYaml(line, "is not YAML: a '{' within brackets", hint=NOT_FILLED_IN)
    if at == ":":
        how = "put a ',' between the entries, or quote the text that holds ': '"
        return BadYaml(line, "is not YAML: a second ': ' within brackets", hint=how)
    seen = f", or a ',' is missing before line {line}" if line != first else ""
    why = f"is not YAML: the bracket that begins here is not closed{seen}"
    return BadYaml(first, why, hint="close the bracket")


def _glued(text: str, line: int) -> tuple[int, str] | None:
    """The last line, up to ``line``, with a key that its value sticks to, and that key."""
    lines = text.split("\n")
    for number in range(line, max(line - 1 - _LINES_BEFORE, 0), -1):
        if number <= len(lines) and (match := _GLUED.match(lines[number - 1])):
            return number, match[1]
    return None


def _line(text: str, number: int) -> str:
    return next(iter(text.split("\n")[number - 1 :]), "")
