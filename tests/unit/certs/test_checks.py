"""One look at one thing: what is read, what is asked of whom, and what becomes of failures."""

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from certrotd.certs.checks import (
    EndpointCheck,
    Looked,
    endpoint_of,
)
from certrotd.certs.findings import FindingKind
from certrotd.certs.policy import COPIES, id_of
from certrotd.cli.watch import surely
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.lifecycle.finding import FindingSeverity
from certrotd.observe.chain import Presented
from certrotd.observe.tls import Endpoint
from certrotd.pki.generation import Copy
from tests.parts import pki
from tests.unit.certs.watched import NAME, OTHER, WatchedCertificate, entry, kinds, other


class TestCertificate:
    """Files, copies and targets."""

    def test_a_sound_one_has_facts_and_no_findings(self) -> None:
        """The control of all below; the looks tell what they are of."""
        bench = WatchedCertificate()
        looks = bench.looks()
        files, target = looks["files"].watched, looks["target"].watched
        leaf = bench.live.chain[0]
        for watched in (files, target):
            assert watched.findings == ()
            assert (watched.about, watched.at) == (id_of("web"), bench.clock.now())
            assert (watched.not_after, watched.fingerprint) == (leaf.not_after, leaf.fingerprint)
        assert (files.what, files.key) == ("web", "files of certificate/web")
        assert (target.what, target.target, target.sni) == ("nginx:443", "nginx", NAME)
        assert [look.moving for look in looks.values()] == [False, False]
        assert bench.examiner.asked[0].deadline == 10

    def test_a_target_that_serves_another_is_found(self) -> None:
        """Restarted by hand with old files."""
        bench = WatchedCertificate()
        bench.serve(other())
        assert bench.found() == {"files": [], "target": [FindingKind.SERVED_MISMATCH]}

    def test_an_impostor_whose_certificate_cannot_be_read_is_found(self) -> None:
        """No parser stands between it and the comparison."""
        bench = WatchedCertificate()
        bench.serve(Presented((), unreadable="certificate 1 of 1 is garbage", digest="5" * 64))
        assert bench.found()["target"] == [FindingKind.SERVED_MISMATCH, FindingKind.UNREADABLE]
        watched = bench.looks()["target"].watched
        assert (watched.not_after, watched.fingerprint) == (None, "5" * 64)

    def test_files_that_some_clients_refuse_are_a_warning_and_said_once(self) -> None:
        """What the files tell, the target that serves them does not tell again."""
        bench = WatchedCertificate()
        bench.world.issuer.other_extensions = ()
        bench.rotate()
        bench.serve(replace(bench.live, doubtful="some clients refuse it"))
        looks = bench.looks()
        [finding] = looks["files"].watched.findings
        assert (finding.kind, finding.severity) == (
            FindingKind.BROKEN_CHAIN,
            FindingSeverity.WARNING,
        )
        assert finding.words.startswith("some clients refuse the chain")
        assert looks["target"].watched.findings == ()

    def test_a_target_that_never_reloaded_is_not_expected_to_serve_it(self) -> None:
        """The renewer has it to do; what it serves is looked at all the same."""
        bench = WatchedCertificate(waves=())
        bench.managed = replace(
            bench.managed, policy=replace(bench.managed.policy, waves=(("nginx",),))
        )
        bench.world.targets = {"nginx": WatchedCertificate().world.targets["nginx"]}
        bench.serve(other())
        assert bench.found()["target"] == []
        bench.serve(other("b.test"))
        assert bench.found()["target"] == [FindingKind.WRONG_NAME]

    def test_a_target_nobody_answers_at_is_found_without_its_address_twice(self) -> None:
        """The key of the look has it already."""
        bench = WatchedCertificate()
        del bench.examiner.shown["nginx"]
        [finding] = bench.looks()["target"].watched.findings
        assert finding.kind is FindingKind.UNREACHABLE
        assert finding.words == "no TLS handshake: Connection refused"

    def test_a_target_that_cannot_be_built_is_found(self) -> None:
        """Such as one whose library is missing; the rest is looked at."""
        bench = WatchedCertificate()
        world = bench.managed.world()

        def fail(_name: str) -> None:
            raise NeedsOperator("no such library")

        broken = replace(world, target=fail)
        bench.managed = replace(bench.managed, world=lambda: broken)
        looks = bench.looks()
        assert list(looks) == ["files"]
        [finding] = looks["files"].watched.findings
        assert (finding.kind, finding.words) == (
            FindingKind.UNREADABLE,
            "target nginx: no such library",
        )
        assert list(bench.check.watched_keys()) == ["files of certificate/web"]

    def test_a_target_the_configuration_no_longer_has_is_not_looked_at(self) -> None:
        """Between two configurations."""
        bench = WatchedCertificate()
        bench.world.targets.clear()
        assert bench.found() == {"files": []}

    def test_a_disabled_one_is_looked_at_where_it_was_brought(self) -> None:
        """Nobody renews it, which is when its end comes as a surprise."""
        bench = WatchedCertificate()
        off = replace(bench.managed.policy, enabled=False)
        bench.managed = replace(bench.managed, policy=off)
        assert bench.found() == {"files": [], "target": []}
        state = bench.world.store.look("web").state
        bench.world.store.record("web", replace(state, targets={}))
        assert bench.found() == {"files": []}

    def test_copies_that_differ_are_found_where_they_should_be_the_live_ones(self) -> None:
        """Somebody restored a backup; copies that were never installed are the renewer's."""
        bench = WatchedCertificate()
        bench.world.installer.files = (("key", b"old"), ("chain", b"old"))
        [finding] = bench.looks()["files"].watched.findings
        assert (finding.kind, finding.words) == (
            FindingKind.COPIES_DIFFER,
            "the installed copies are not the live files: the copies are of another pair",
        )
        state = bench.world.store.look("web").state
        rest = {name: at for name, at in state.targets.items() if name != COPIES}
        bench.world.store.record("web", replace(state, targets=rest))
        assert bench.found()["files"] == []

    def test_a_copy_that_is_not_as_it_was_installed_is_found(self) -> None:
        """Its content is right, its owner another one; which one is said, and the cure."""
        bench = WatchedCertificate()
        installer, state = bench.world.installer, bench.world.store.look("web").state
        was, now = (Copy("key", (9, 9, 0o100640, 0, who)) for who in (0, 33))
        bench.world.store.record("web", replace(state, copies={"/etc/web.key": was}))
        with mock.patch.object(installer, "copies", return_value={"/etc/web.key": was}):
            assert bench.found()["files"] == []
        with mock.patch.object(installer, "copies", return_value={"/etc/web.key": now}):
            [finding] = bench.looks()["files"].watched.findings
        assert "/etc/web.key belongs to 0:33, not to 0:0" in finding.words
        assert finding.kind is FindingKind.COPIES_DIFFER
        assert finding.words.endswith("; certrotd rotate web repairs that")

    def test_a_damaged_file_is_found_and_the_command_that_puts_it_back_is_reported(self) -> None:
        """Never chmod, which would follow what has become a link."""
        bench = WatchedCertificate()
        shelves = bench.world.store.shelves
        whole = shelves["web"]
        shelves["web"] = replace(whole, worn=(1,))
        [finding] = bench.looks()["files"].watched.findings
        assert finding.kind is FindingKind.DAMAGED
        assert finding.words == (
            "generation 1 is damaged: a file is damaged; certrotd rotate web repairs that"
        )
        assert "chmod" not in finding.words

    def test_an_unreadable_generation_is_found_too(self) -> None:
        """Nothing of it can be read."""
        bench = WatchedCertificate()
        shelves = bench.world.store.shelves
        shelves["web"] = replace(shelves["web"], generations=())
        assert bench.found()["files"] == [FindingKind.DAMAGED]

    def test_files_are_read_at_least_daily_however_rarely_one_looks(self) -> None:
        """A disk loses bits whatever is configured; endpoints are looked at as configured."""
        bench = WatchedCertificate()
        bench.means = replace(bench.means, every=7 * 86400)
        assert [each.every for each in bench.checks(entry())] == [7 * 86400, 86400]

    def test_a_key_that_others_may_use_is_found(self) -> None:
        """Somebody's chmod -R."""
        bench = WatchedCertificate()
        bench.world.store.loosened = ("privkey.pem",)
        assert bench.found()["files"] == [FindingKind.KEY_EXPOSED]

    def test_copies_that_cannot_be_read_are_found(self) -> None:
        """The password of a PKCS#12 file may be out of reach."""
        bench = WatchedCertificate()
        world = bench.managed.world()

        class Locked:
            def different(self, key: bytes, chain: bytes) -> str | None:
                raise NeedsOperator("no password")

        locked: Any = replace(world, installer=Locked())  # type: ignore[arg-type]
        bench.managed = replace(bench.managed, world=lambda: locked)
        assert bench.found()["files"] == [FindingKind.UNREADABLE]

    @pytest.mark.parametrize(
        ("key", "chain", "expected"),
        [
            (OTHER.key_pem, None, FindingKind.KEY_MISMATCH),
            (b"rubbish", None, FindingKind.UNREADABLE),
            (OTHER.key_pem, b"rubbish", FindingKind.UNREADABLE),
            (
                OTHER.key_pem,
                pki.Pair(OTHER.key, OTHER.certificate, [OTHER.certificate]).fullchain_pem,
                FindingKind.BROKEN_CHAIN,
            ),
        ],
    )
    def test_files_that_do_not_belong_together_are_found(
        self, key: bytes, chain: bytes | None, expected: FindingKind
    ) -> None:
        """By what they are, not by what is remembered of them."""
        bench = WatchedCertificate(installs=False)
        standing = bench.world.store.look("web")
        world = bench.managed.world()
        good_key, good_chain = world.store.read("web", 1)

        class Touched:
            def read(self, name: str, generation: int) -> tuple[bytes, bytes]:
                return key or good_key, chain or good_chain

            def exposed(self, name: str, generation: int) -> tuple[str, ...]:
                return ()

        touched: Any = replace(world, store=Touched())  # type: ignore[arg-type]
        bench.managed = replace(bench.managed, world=lambda: touched, look=lambda **_: standing)
        assert expected in bench.found()["files"]

    def test_a_store_that_cannot_be_read_is_found_and_nothing_is_expected(self) -> None:
        """No right to it, or a disk that is gone: the dates of what is served count still."""
        bench = WatchedCertificate()

        def fail(**_: bool) -> Any:
            raise DiskTrouble("read it", PermissionError(13, "Permission denied"))

        bench.managed = replace(bench.managed, look=fail)
        looks = bench.looks()
        assert kinds(looks["files"].watched) == [FindingKind.UNREADABLE]
        assert looks["files"].watched.not_after is None
        assert not looks["files"].moving

    def test_a_generation_that_vanishes_between_two_reads_is_found(self) -> None:
        """Pruned, or removed by hand."""
        bench = WatchedCertificate()
        standing = bench.managed.look()
        bench.world.store.shelves.clear()
        bench.managed = replace(bench.managed, look=lambda **_: standing)
        assert bench.found()["files"] == [FindingKind.UNREADABLE]

    def test_a_missing_certificate_is_found(self) -> None:
        """As before the first order."""
        bench = WatchedCertificate()
        bench.world.store.shelves.clear()
        assert bench.found() == {"files": [FindingKind.MISSING], "target": []}

    def test_a_rotation_in_flight_is_noticed(self) -> None:
        """Before the look, or by the time it is over."""
        bench = WatchedCertificate()
        bench.flying = True
        assert {look.moving for look in bench.looks().values()} == {True}
        bench.flying = False
        bench.examiner.during = lambda _endpoint: setattr(bench, "flying", True)
        assert {look.moving for look in bench.looks().values()} == {True}

    def test_a_rotation_that_begins_and_ends_within_a_look_is_noticed(self) -> None:
        """A handshake may take ten seconds, a rotation one: it explains what is found."""
        bench = WatchedCertificate()

        def rotate(_endpoint: Endpoint) -> None:
            bench.rotate()
            bench.serve()

        bench.examiner.during = rotate
        looks = bench.looks()
        assert kinds(looks["target"].watched) == [FindingKind.SERVED_MISMATCH]
        assert {look.moving for look in looks.values()} == {True}
        bench.examiner.during = lambda _endpoint: None
        assert {look.moving for look in bench.looks().values()} == {False}

    def test_the_watch_keys_of_a_certificate_are_known_beforehand(self) -> None:
        """So that what is gone can be told."""
        bench = WatchedCertificate()
        keys = set(bench.check.watched_keys())
        assert keys == {look.watched.key for look in bench.looks().values()}


class TestEndpoint:
    """What ``watch:`` lists."""

    def test_a_foreign_endpoint_needs_no_certificate_of_ours(self) -> None:
        """Sound, and then not."""
        watched = entry()
        bench = WatchedCertificate()
        bench.examiner.shown["192.0.2.1"] = other()
        look = bench.at(watched)
        assert look.watched.findings == ()
        assert (look.watched.what, look.watched.sni) == ("192.0.2.1:443", NAME)
        assert (look.after, look.moving, look.watched.about) == (3, False, None)
        assert list(bench.checks(watched)[0].watched_keys()) == [look.watched.key]
        bench.examiner.shown["192.0.2.1"] = other("b.test")
        assert kinds(bench.at(watched).watched) == [FindingKind.WRONG_NAME]

    def test_ours_must_be_the_live_generation_and_all_of_its_chain(self) -> None:
        """On a machine the renewer does not reach."""
        watched = entry(certificate="web")
        bench = WatchedCertificate()
        bench.examiner.shown["192.0.2.1"] = bench.live
        assert bench.at(watched).watched.findings == ()
        bench.examiner.shown["192.0.2.1"] = replace(bench.live, chain=bench.live.chain[:1])
        chained = len(bench.live.chain) > 1
        found = kinds(bench.at(watched).watched)
        assert found == ([FindingKind.BROKEN_CHAIN] if chained else [])
        bench.examiner.shown["192.0.2.1"] = other()
        assert kinds(bench.at(watched).watched) == [FindingKind.SERVED_MISMATCH]

    def test_ours_moves_with_its_rotation(self) -> None:
        """As a target does."""
        watched = entry(certificate="web")
        bench = WatchedCertificate()
        bench.examiner.shown["192.0.2.1"] = bench.live
        bench.flying = True
        assert bench.at(watched).moving
        bench.flying = False
        bench.examiner.during = lambda _endpoint: bench.rotate()
        assert bench.at(watched).moving

    def test_a_skipped_certificate_is_expected_at_no_endpoint(self) -> None:
        """A lenient start goes on without it."""
        watched = entry(certificate="bad")
        bench = WatchedCertificate()
        bench.examiner.shown["192.0.2.1"] = other()
        assert bench.at(watched).watched.findings == ()

    def test_names_and_notice_are_as_configured(self) -> None:
        """Instead of the server name, and of two weeks."""
        watched = entry(names=[NAME, "b.test"], warn_before=0.999)
        bench = WatchedCertificate()
        bench.examiner.shown["192.0.2.1"] = other()
        assert kinds(bench.at(watched).watched) == [FindingKind.EXPIRING, FindingKind.WRONG_NAME]

    def test_a_served_leaf_that_cannot_be_parsed_is_unreadable(self) -> None:
        """Somebody answers, in a way nobody understands."""
        watched = entry()
        bench = WatchedCertificate()
        bench.examiner.shown["192.0.2.1"] = InvalidInput("it has an unreadable part")
        assert kinds(bench.at(watched).watched) == [FindingKind.UNREADABLE]

    @pytest.mark.parametrize(
        ("options", "roots"),
        [
            ({}, "system"),
            ({"certificate": "web"}, None),
            ({"roots": "none"}, None),
            ({"certificate": "web", "roots": "system"}, "system"),
            ({"roots": "/etc/roots.pem"}, "/etc/roots.pem"),
        ],
    )
    def test_a_watch_entry_sets_address_and_roots(
        self, options: dict[str, Any], roots: str | None
    ) -> None:
        """Ours may come from a CA that no system knows."""
        found = endpoint_of(entry("[2001:db8::1]:25", starttls="smtp", timeout="3s", **options))
        assert (found.host, found.port, found.sni) == ("2001:db8::1", 25, NAME)
        assert (found.starttls, found.deadline, found.roots) == ("smtp", 3, roots)


def test_every_subject_has_its_span() -> None:
    """An entry's own, else that of all."""
    often, plain = entry(every="10m"), entry("192.0.2.2:443")
    assert [each.every for each in WatchedCertificate().checks(often, plain)] == [600, 3600, 3600]


def test_a_rotation_concerns_the_certificate_and_the_entries_that_name_it() -> None:
    """And nothing else."""
    ours, foreign = entry(certificate="web"), entry("192.0.2.2:443")
    about = {check.label: check.about for check in WatchedCertificate().checks(ours, foreign)}
    assert about == {
        "192.0.2.1:443 (a.example.test)": id_of("web"),
        "192.0.2.2:443 (a.example.test)": None,
        "certificate/web": id_of("web"),
    }


class TestSurely:
    """The one-shot command."""

    def check(self, *found: bool, moving: bool = False, after: int = 3) -> EndpointCheck:
        """A check that finds nobody there, or somebody, in turn."""
        bench, turns = WatchedCertificate(), iter(found)

        class Turns(EndpointCheck):
            def look(self) -> list[Looked]:
                bench.examiner.shown["192.0.2.1"] = other()
                if next(turns):
                    del bench.examiner.shown["192.0.2.1"]
                return [replace(each, moving=moving, after=after) for each in super().look()]

        return Turns(entry(), None, bench.means)

    @pytest.mark.parametrize(
        ("found", "after", "expected", "pauses"),
        [
            ((True, True, True), 3, [FindingKind.UNREACHABLE], 2),
            ((True, True, True), 100, [FindingKind.UNREACHABLE], 2),
            ((True,), 1, [FindingKind.UNREACHABLE], 0),
            ((True, False), 3, [], 1),
            ((False,), 3, [], 0),
        ],
    )
    def test_a_finding_that_may_pass_is_checked_again(
        self,
        found: tuple[bool, ...],
        after: int,
        expected: list[str],
        pauses: int,
    ) -> None:
        """Nobody is called because of a packet."""
        waited: list[float] = []
        [watched] = surely(self.check(*found, after=after), pause=waited.append)
        assert kinds(watched) == expected
        assert waited == [1.0] * pauses

    def test_a_rotation_that_does_not_end_is_not_waited_for(self) -> None:
        """What it explains is left open."""
        waited: list[float] = []
        check = self.check(True, True, True, moving=True)
        [watched] = surely(check, pause=waited.append)
        assert watched.unsure
        assert kinds(watched) == [FindingKind.UNREACHABLE]
        assert len(waited) == 2
