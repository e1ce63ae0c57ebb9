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
    (tmp_path / "etc/cron.d/self").symlink_to("self")
    write(tmp_path, "etc/systemd/system/rotate.timer", "[Timer]\n")
    assert jobs_that_name(KEYS, root=tmp_path) == []


def test_bytes_that_are_no_text_hide_nothing(tmp_path: Path) -> None:
    """A table is whatever somebody left there."""
    file = tmp_path / "etc/crontab"
    file.parent.mkdir()
    file.write_bytes(b"\xff\xfe\n* * * * * root x " + bytes(KEYS) + b"\n")
    assert jobs_that_name(KEYS, root=tmp_path) == [f"{file}:2"]


@pytest.mark.parametrize(
    ("timer", "service", "text"),
    [
        ("etc:a.timer:Unit=b.service", "etc:b.service", "ExecStart=/bin/r {keys}"),
        ("usr/lib:a.timer:", "etc:a.service", "ExecStart=/bin/r {keys}"),
        ("etc:a@x.timer:", "usr/lib:a@.service", "ExecStart=/bin/r {keys}"),
        ("run:a.timer:", "run:a.service.d/more.conf", "ExecStart=/bin/r {keys}"),
        ("etc:a.timer:", "etc:a.service", "Environment=KEYS={keys}"),
        ("etc:a.timer:", "etc:a.service", "ExecStart=/bin/r \\\n  --file \\\n  {keys}"),
    ],
)
def test_what_a_timer_starts_is_found_wherever_it_is_said(
    tmp_path: Path, timer: str, service: str, text: str
) -> None:
    """Other names, other folders, templates, drop-ins, lines that go on."""
    folder, name, more = timer.split(":")
    write(tmp_path, f"{folder}/systemd/system/{name}", f"[Timer]\nOnCalendar=weekly\n{more}\n")
    folder, name = service.split(":")
    said = "[Service]\n" + text.format(keys=KEYS) + "\n"
    file = write(tmp_path, f"{folder}/systemd/system/{name}", said)
    assert jobs_that_name(KEYS, root=tmp_path) == [f"{file}:2"]


def test_folders_that_are_one_are_looked_at_once(tmp_path: Path) -> None:
    """/lib is /usr/lib on most machines."""
    (tmp_path / "lib").symlink_to("usr/lib")
    write(tmp_path, "usr/lib/systemd/system/a.timer", "[Timer]\n")
    write(tmp_path, "usr/lib/systemd/system/a.service", f"ExecStart=/bin/r {KEYS}\n")
    assert len(jobs_that_name(KEYS, root=tmp_path)) == 1


@pytest.mark.parametrize("other", [f"{KEYS}.bak", f"/srv{KEYS}", f"{KEYS}/x", f"{KEYS}2"])
def test_a_path_that_goes_on_is_another(tmp_path: Path, other: str) -> None:
    """A copy of the file, or the same below another folder."""
    write(tmp_path, "etc/crontab", f"0 3 * * 0 root rotate {other}\n")
    assert jobs_that_name(KEYS, root=tmp_path) == []
    file = write(tmp_path, "etc/crontab", f"0 3 * * 0 root rotate '{KEYS}'.\n")
    assert jobs_that_name(KEYS, root=tmp_path) == [f"{file}:1"]


def test_odd_separators_do_not_shift_the_numbers(tmp_path: Path) -> None:
    """A vertical tab ends no line."""
    file = write(tmp_path, "etc/crontab", f"a\x0bb\x1cc\u2028d\n* * * * * root r {KEYS}\n")
    assert jobs_that_name(KEYS, root=tmp_path) == [f"{file}:2"]
