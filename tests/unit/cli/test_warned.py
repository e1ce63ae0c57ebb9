"""Warnings of libraries beside what certrotd itself says."""

import subprocess
import sys


def said(program: str) -> list[str]:
    """What it writes to standard error."""
    program = f"from certrotd.cli.warned import logging_in_lines, warnings_in_lines\n{program}"
    ran = subprocess.run(
        [sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=True
    )
    return ran.stderr.splitlines()


def test_a_warning_is_a_clean_line() -> None:
    """Neither a path within the library nor a line of its source."""
    assert said(
        "import warnings\nwith warnings_in_lines():\n"
        " warnings.warn('old\\nway \\x1b[1m', FutureWarning)"
    ) == ["certrotd: warning: old way \\x1b[1m (FutureWarning)"]


def test_a_record_of_a_library_is_a_clean_line_too() -> None:
    """With the reason, without its traceback; chatter is not shown."""
    assert said(
        "import logging\nlog = logging.getLogger('some.library')\nwith logging_in_lines():\n"
        "  log.info('chatter'); log.warning('the pool is %s', 'full'); log.warning('%d', 'x')\n"
        "  try: open('/none')\n  except OSError: log.exception('it broke')"
    ) == [
        "certrotd: warning: some.library: the pool is full",
        "certrotd: warning: some.library: %d",
        "certrotd: warning: some.library: it broke: [Errno 2] No such file or directory: '/none'",
    ]


def test_warnings_of_libraries_are_raw_without_it() -> None:
    """The control."""
    lines = said("import warnings\nwarnings.warn('old', FutureWarning)")
    assert "certrotd" not in lines[0]
