"""Which jobs of a host name a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from certrotd.observe.jobs import jobs_that_name

KEYS = Path("/etc/shop/keys.json")


def write(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "place",
    ["etc/crontab", "etc/cron.d/shop", "etc/cron.daily/shop", "var/spool/cron/crontabs/shop"],
)
def test_a_line_of_a_table_of_cron_is_found(tmp_path: Path, place: str) -> None:
    """By its file and number."""
    file = write(tmp_path, place, f"# shop\n0 3 * * 0 root rotate-keys {KEYS}\n")
    assert jobs_that_name(KEYS, root=tmp_path) == [f"{file}:2"]


def test_a_comment_is_no_job(tmp_path: Path) -> None:
    """It may be one that was switched off."""
    write(tmp_path, "etc/crontab", f"  # 0 3 * * 0 root rotate-keys {KEYS}\n")
    assert jobs_that_name(KEYS, root=tmp_path) == []


def test_another_file_is_not_meant(tmp_path: Path) -> None:
    """The control."""
    write(tmp_path, "etc/crontab", "0 3 * * 0 root rotate-keys /etc/shop/other.json\n")
    assert jobs_that_name(KEYS, root=tmp_path) == []


def test_a_service_with_a_timer_is_found_by_what_it_runs(tmp_path: Path) -> None:
    """Not by what it may write, and not the application itself, which no timer starts."""
    unit = f"[Service]\nReadWritePaths={KEYS}\nExecStart=/usr/bin/rotate {KEYS}\n"
    service = write(tmp_path, "etc/systemd/system/rotate.service", unit)
    write(tmp_path, "etc/systemd/system/shop.service", unit)
    assert jobs_that_name(KEYS, root=tmp_path) == []
    write(tmp_path, "etc/systemd/system/rotate.timer", "[Timer]\nOnCalendar=weekly\n")
    assert jobs_that_name(KEYS, root=tmp_path) == [f"{service}:3"]


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    """A folder, a link to nothing, a huge file, and a timer without its service."""
    (tmp_path / "etc/cron.d/folder").mkdir(parents=True)
    (tmp_path / "etc/cron.d/link").symlink_to(tmp_path / "nothing")
    write(tmp_path, "etc/cron.d/huge", f"{KEYS} " * 100_000)
    write(tmp_path, "etc/systemd/system/rotate.timer", "[Timer]\n")
    assert jobs_that_name(KEYS, root=tmp_path) == []


def test_bytes_that_are_no_text_hide_nothing(tmp_path: Path) -> None:
    """A table is whatever somebody left there."""
    file = tmp_path / "etc/crontab"
    file.parent.mkdir()
    file.write_bytes(b"\xff\xfe\n* * * * * root x " + bytes(KEYS) + b"\n")
    assert jobs_that_name(KEYS, root=tmp_path) == [f"{file}:2"]
