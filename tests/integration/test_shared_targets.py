"""Certificates that share a service: it is never told to read a pair that is half replaced."""

import pytest

from tests.parts import locate
from tests.parts.process import wait_until
from tests.parts.site import Site

READS = """live={live}
chain=$(openssl x509 -in $live/fullchain.pem -noout -pubkey)
touch {begun}
sleep 2
key=$(openssl pkey -in $live/privkey.pem -pubout)
[ "$chain" = "$key" ] || {{ echo "key values mismatch"; exit 1; }}"""


@pytest.mark.parametrize("installs", [False, True])
def test_a_service_told_for_one_certificate_reads_whole_pairs_of_the_others(
    site: Site, installs: bool
) -> None:
    """It reads all of them at every reload, a chain and a key one after the other."""
    locate.require("openssl")
    site.internal()
    copies = site.directory / "copies"
    copies.mkdir()
    for name in ("one", "two"):
        entry = site.certificate(name, f"{name}.example.test", targets=["web"])
        if installs:
            files = {part: str(copies / f"{name}-{part}.pem") for part in ("fullchain", "privkey")}
            entry["install"] = [files]
    site.command("web", "true")
    site.rotate()
    begun = site.directory / "begun"
    live = site.store / "two" / "live"
    if installs:
        for part in ("fullchain", "privkey"):
            (copies / f"{part}.pem").symlink_to(copies / f"two-{part}.pem")
        live = copies
    site.command("web", READS.format(live=live, begun=begun))
    first = site.start("rotate", "one", "--force")
    wait_until(begun.exists)
    site.rotate("two", "--force")
    ended = first.end()
    assert ended.code == 0, ended.stdout
    assert [site.generation(name) for name in ("one", "two")] == [2, 2]
