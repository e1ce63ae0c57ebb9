"""What starts another client is found, and named with what ends it."""

from pathlib import Path

from certrotd.importing.schedules import schedules
from tests.unit.importing.trees import put


def test_timers_and_cron_lines_of_a_client_are_found(tmp_path: Path) -> None:
    """Wherever a package or a person has put them; comments and variables are no lines."""
    units = tmp_path / "lib" / "systemd" / "system"
    put(units / "certbot.timer", "[Timer]\nOnCalendar=*-*-* 00,12:00:00\n")
    put(units / "certbot.service", "[Service]\nExecStart=/usr/bin/certbot -q renew\n")
    put(tmp_path / "etc" / "systemd" / "system" / "other.timer", "[Timer]\n")
    put(units / "other.service", "[Service]\nExecStart=/usr/bin/certbotical\n")
    cron = "SHELL=/opt/certbot/sh\n# certbot renew\n0 */12 * * * root certbot -q renew\n"
    put(tmp_path / "etc" / "cron.d" / "certbot", cron)
    put(tmp_path / "etc" / "cron.daily" / "renew", "#!/bin/sh\n# certbot\ncertbot renew\n")
    spool = tmp_path / "var" / "spool" / "cron" / "crontabs"
    lines = ["A=b", '3 1 * * * "/root/.acme.sh"/acme.sh --cron']
    lines += ["0 3 * * * X_TOKEN=hush lego --hmac hush renew"]
    put(spool / "root", "\n".join(lines))

    assert [each.stop for each in schedules("certbot", tmp_path)] == [
        "systemctl disable --now certbot.timer",
        "remove this line from /etc/cron.d/certbot: 0 */12 * * * root certbot -q renew",
        "remove /etc/cron.daily/renew",
    ]
    [acme_sh] = schedules("acme.sh", tmp_path)
    assert "/var/spool/cron/crontabs/root (crontab -e -u root)" in acme_sh.stop
    [lego] = schedules("lego", tmp_path)
    assert lego.line == "0 3 * * * X_TOKEN=… lego --hmac … renew"
    assert schedules("lego", tmp_path / "nothing") == []
