"""What certrotd takes over from others, and the copies it puts where they read."""

import os
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import pkcs12

from tests.parts import Parts, locate, pki
from tests.parts.site import Site, exposed_keys, matching, serves, why_failed

HOST = "example.test"


class TestAdopting:
    """``adopt:`` begins with what is there."""

    def test_an_existing_pair_is_served_renewed_and_come_back_to(
        self, parts: Parts, site: Site
    ) -> None:
        """The day certrotd is installed nothing changes, and there is a way back after the next."""
        root = pki.make_root()
        existing = pki.make_leaf(pki.make_intermediate(root), HOST, lifetime=timedelta(days=60))
        chain, key = existing.write(site.directory / "theirs", "web")
        kept = chain.read_bytes(), key.read_bytes()
        site.internal()
        adopt = {"privkey": str(key), "fullchain": str(chain)}
        site.certificate("web", HOST, adopt=adopt)
        nginx = site.serve(parts, {HOST: "web"})
        assert serves(nginx, HOST, existing.certificate)
        assert site.live("web").joinpath("fullchain.pem").read_bytes() == existing.fullchain_pem
        assert site.status("web")["generation"] == 1

        site.rotate()
        assert site.generations("web") == [1]  # not a reason to order anything
        site.rotate("--force")
        assert serves(nginx, HOST, site.leaf("web", 2))
        assert site.leaf("web", 2) != existing.certificate
        assert site.run("rollback", "web").code == 0
        assert serves(nginx, HOST, existing.certificate)
        assert (chain.read_bytes(), key.read_bytes()) == kept  # copied, never moved or changed

    def test_leaf_and_chain_in_files_of_their_own_are_put_together(self, site: Site) -> None:
        """certbot and others keep them apart, in any order."""
        intermediate = pki.make_intermediate(pki.make_root())
        existing = pki.make_leaf(intermediate, HOST)
        folder = site.directory / "theirs"
        _, key = existing.write(folder, "web")
        leaf = pki.Pair(existing.key, existing.certificate).write(folder, "leaf")[0]
        chain = pki.Pair(intermediate.key, intermediate.certificate).write(folder, "chain")[0]
        site.internal()
        site.certificate(
            "web", HOST, adopt={"privkey": str(key), "cert": str(leaf), "chain": str(chain)}
        )
        site.rotate()
        adopted = site.live("web") / "fullchain.pem"
        assert adopted.read_bytes() == existing.fullchain_pem

    @pytest.mark.parametrize("trouble", ["mismatched", "expired", "absent"])
    def test_a_pair_that_cannot_be_adopted_is_replaced(self, site: Site, trouble: str) -> None:
        """A pair that nobody could use is no reason to stay without one."""
        lifetime = timedelta(minutes=1 if trouble == "expired" else 600)
        existing = pki.make_leaf(pki.make_root(), HOST, lifetime=lifetime)
        chain, key = existing.write(site.directory / "theirs", "web")
        if trouble == "mismatched":
            key.write_bytes(pki.make_root().key_pem)
        if trouble == "absent":
            key.unlink()
        site.internal()
        adopt = {"privkey": str(key), "fullchain": str(chain)}
        site.certificate("web", HOST, adopt=adopt)
        site.rotate()
        assert site.leaf("web") != existing.certificate
        assert site.leftovers() == []


class TestCopies:
    """``install:`` puts copies at paths of the operator's own."""

    def test_copies_are_the_same_pair_in_every_format(self, site: Site) -> None:
        """HAProxy reads one file, Postfix two, Java a key store."""
        folder = site.directory / "etc"
        folder.mkdir()
        password = site.directory / "password"
        password.write_text("correct horse\n")
        password.chmod(0o600)
        shapes = ("privkey", "cert", "chain", "fullchain", "combined", "pkcs12")
        install = {shape: str(folder / shape) for shape in shapes}
        site.internal()
        site.certificate(
            "web", HOST, install=[{**install, "pkcs12_password": {"file": str(password)}}]
        )
        for _ in range(2):
            site.rotate("--force")
            leaf = site.leaf("web")
            assert matching(folder / "privkey", folder / "fullchain") == leaf
            assert matching(folder / "combined", folder / "combined") == leaf
            assert pem(folder / "cert") + pem(folder / "chain") == pem(folder / "fullchain")
            stored = (folder / "pkcs12").read_bytes()
            key, certificate, others = pkcs12.load_key_and_certificates(stored, b"correct horse")
            assert certificate == leaf
            assert key is not None
            assert key.public_key() == leaf.public_key()
            assert others == pem(folder / "chain")
            with pytest.raises(ValueError, match="password"):
                pkcs12.load_key_and_certificates(stored, b"wrong")
        assert site.leftovers() == []

    @pytest.mark.parametrize("cipher", ["modern", "legacy"])
    @pytest.mark.parametrize("password", ["", "correct horse"])
    def test_java_finds_the_key_in_pkcs12_with_and_without_a_password(
        self, site: Site, password: str, cipher: str
    ) -> None:
        """What is not encrypted at all has no entries for Java."""
        keytool = locate.require("keytool")
        store, secret = site.directory / "web.p12", site.directory / "password"
        install = {"pkcs12": str(store), "pkcs12_cipher": cipher}
        if password:
            secret.touch(mode=0o600)
            secret.write_text(password)
            install["pkcs12_password"] = {"file": str(secret)}  # type: ignore[assignment]
        site.internal()
        site.certificate("web", HOST, install=[install])
        site.rotate()
        argv = [str(keytool), "-list", "-v", "-storetype", "PKCS12", "-keystore", str(store)]
        listed = subprocess.run(
            [*argv, "-storepass", password],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C", "JAVA_TOOL_OPTIONS": ""},
            check=False,
        )
        assert listed.returncode == 0, listed.stdout + listed.stderr
        assert "Your keystore contains 1 entry" in listed.stdout
        assert "Entry type: PrivateKeyEntry" in listed.stdout
        digest = site.leaf("web").fingerprint(hashes.SHA256()).hex(":").upper()
        assert f"SHA256: {digest}" in listed.stdout

    def test_owner_group_and_mode_are_as_asked(self, site: Site) -> None:
        """A service that may no longer read its key after a renewal is an outage."""
        locate.require_root()
        folder = site.directory / "etc"
        folder.mkdir()
        copies = {"privkey": str(folder / "tls.key"), "fullchain": str(folder / "tls.pem")}
        site.internal()
        entry = site.certificate(
            "web",
            HOST,
            install=[
                {**copies, "owner": "nobody", "group": 12, "mode": "0440", "cert_mode": "0444"}
            ],
        )
        for _ in range(2):
            site.rotate("--force")
            key, chain = (folder / "tls.key").stat(), (folder / "tls.pem").stat()
            assert (key.st_uid, key.st_gid) == (chain.st_uid, chain.st_gid) == (65534, 12)
            assert (key.st_mode & 0o777, chain.st_mode & 0o777) == (0o440, 0o444)
        allowed = [folder / "tls.key"]
        assert exposed_keys(site.directory, allowed=allowed) == []

        entry["install"][0]["owner"] = "nobody-of-that-name"
        run = site.rotate("--force", expect=1)
        assert "user 'nobody-of-that-name' is not known" in why_failed(run, "web")
        assert site.generations("web") == [1, 2]  # found before anything was ordered

    def test_a_bind_mounted_file_keeps_its_inode(self, site: Site) -> None:
        """A container that has one file mounted never sees a rename."""
        folder = site.directory / "etc"
        folder.mkdir()
        mounted, renamed = folder / "combined.pem", folder / "tls.pem"
        site.internal()
        site.certificate(
            "web",
            HOST,
            install=[
                {"combined": str(mounted), "in_place": True},
                {"fullchain": str(renamed)},
            ],
        )
        site.rotate()
        inodes = mounted.stat().st_ino, renamed.stat().st_ino
        with renamed.open("rb"):  # so that its inode cannot be used again
            site.rotate("--force")
            assert matching(mounted, mounted) == site.leaf("web")
            assert mounted.stat().st_ino == inodes[0]
            assert renamed.stat().st_ino != inodes[1]

    def test_the_files_of_before_return_when_the_deployment_fails(self, site: Site) -> None:
        """Undoing restores: content, mode and links of somebody else's files too."""
        folder = site.directory / "etc"
        folder.mkdir()
        site.internal()
        entry: dict[str, Any] = site.certificate("web", HOST)
        site.rotate()
        theirs, link, absent = folder / "tls.pem", folder / "tls.key", folder / "all.pem"
        theirs.write_text("somebody else's\n")
        theirs.chmod(0o604)
        link.symlink_to("elsewhere.key")
        (folder / "elsewhere.key").write_text("not ours\n")
        entry["install"] = [
            {"fullchain": str(theirs), "privkey": str(link), "combined": str(absent)}
        ]
        seen = site.directory / "seen"
        site.command("picky", f"cat {theirs} >> {seen}\ngrep -q somebody {theirs}")
        entry["targets"] = ["picky"]

        site.rotate("--force", expect=1)

        assert (theirs.read_text(), theirs.stat().st_mode & 0o777) == ("somebody else's\n", 0o604)
        assert os.readlink(link) == "elsewhere.key"
        assert (folder / "elsewhere.key").read_text() == "not ours\n"
        assert sorted(os.listdir(folder)) == ["elsewhere.key", "tls.key", "tls.pem"]
        assert "BEGIN CERTIFICATE" in seen.read_text()  # told with the new files, then the old
        assert seen.read_text().endswith("somebody else's\n")
        assert site.leftovers() == []


class TestDisplaced:
    """A copy that is not what it should be is put right by the next run, without an order."""

    @pytest.fixture
    def installed(self, site: Site) -> dict[str, Any]:
        """A certificate with copies, in order."""
        folder = site.directory / "etc"
        folder.mkdir()
        site.internal()
        site.command("told", f"echo told >> {site.directory}/told.log")
        copies = {"privkey": str(folder / "tls.key"), "fullchain": str(folder / "tls.pem")}
        entry = site.certificate("web", HOST, install=[copies], targets=["told"])
        site.rotate()
        return entry

    def mended(self, site: Site, why: str) -> None:
        """The next run says why, tells the target once more, and all is in order."""
        before = (site.directory / "told.log").read_text()
        assert why in site.status("web")["reason"]
        [plan] = site.run("plan", "--json").json
        assert (plan["decision"], why in plan["why"]) == ("deploy", True)
        site.rotate()
        assert (site.directory / "told.log").read_text() == f"{before}told\n"
        assert site.generations("web") == [1]
        assert site.status("web")["state"] == "ok"
        site.rotate()
        assert (site.directory / "told.log").read_text() == f"{before}told\n"

    def test_a_removed_copy_is_installed_again(self, site: Site, installed: dict[str, Any]) -> None:
        """A tmpfs after a reboot."""
        key, chain = (Path(installed["install"][0][what]) for what in ("privkey", "fullchain"))
        chain.unlink()
        self.mended(site, f"{chain} is gone")
        assert matching(key, chain) == site.leaf("web")

    def test_a_changed_copy_is_installed_again(self, site: Site, installed: dict[str, Any]) -> None:
        """By somebody's configuration management."""
        key, chain = (Path(installed["install"][0][what]) for what in ("privkey", "fullchain"))
        chain.write_text("an old certificate")
        self.mended(site, f"{chain} was changed")
        key.chmod(0o604)
        self.mended(site, f"{key} has mode 0604, not 0640")
        assert key.stat().st_mode & 0o777 == 0o640
        assert matching(key, chain) == site.leaf("web")

    def test_a_copy_with_another_path_is_installed_there(
        self, site: Site, installed: dict[str, Any]
    ) -> None:
        """The old one stays where it was: nobody knows who still reads it."""
        old, new = Path(installed["install"][0]["fullchain"]), site.directory / "etc" / "new.pem"
        installed["install"][0]["fullchain"] = str(new)
        site.write()
        self.mended(site, f"{new} is not yet installed")
        assert new.read_bytes() == old.read_bytes()

    def test_a_copy_with_other_options_is_installed_again(
        self, site: Site, installed: dict[str, Any]
    ) -> None:
        """Now, not in two months."""
        installed["install"][0]["mode"] = "0400"
        site.write()
        key = Path(installed["install"][0]["privkey"])
        self.mended(site, f"{key} is to be installed otherwise")
        assert key.stat().st_mode & 0o777 == 0o400


def pem(path: Path) -> list[x509.Certificate]:
    """The certificates in a file."""
    return x509.load_pem_x509_certificates(path.read_bytes())
