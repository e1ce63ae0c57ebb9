"""What every store of generations promises: in memory, on disk and in a cluster alike."""

from dataclasses import replace
from pathlib import Path

import pytest

from certrotd.certs.ports import Store
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.pki.facts import facts_of
from certrotd.pki.generation import CertificateState, Generation, Standing, TargetState
from certrotd.stores.local import LocalStore
from tests.builders import META, NOW, OTHER_PAIR, PAIR, seal, stage
from tests.fakes.store import MemoryStore
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.secrets import Shop


@pytest.fixture(params=["memory", "local", "kubernetes"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each store, empty; that in a cluster with the rights that it needs and no others."""
    if request.param == "kubernetes":
        plane: ControlPlane = request.getfixturevalue("control_plane")
        return Shop.made(plane, "web", "mail").store("web", "mail")
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "store")


def test_a_store_knows_nothing_of_what_it_was_never_given(store: Store) -> None:
    """The first look at a certificate is no error."""
    assert store.look("web") == Standing()
    assert store.live("web") is None
    assert store.staged_key("web", 1) is None
    assert store.staged_chain("web", 1) is None
    assert not store.sealed("web", 1)
    with pytest.raises(NeedsOperator):
        store.read("web", 1)


def test_a_check_changes_nothing(store: Store) -> None:
    """It comes before every order."""
    seal(store, 1)
    store.switch("web", 1)
    before = store.look("web")
    store.check("web")
    store.check("mail")
    assert store.look("web") == before
    assert store.look("mail") == Standing()


def test_nobody_else_may_use_the_key_of_a_generation(store: Store) -> None:
    """Whatever the umask, and without being asked for it."""
    seal(store, 1)
    assert not store.exposed("web", 1)
    assert not store.exposed("web", 2)


def test_what_is_staged_is_there_again_and_deployed_by_nobody(store: Store) -> None:
    """A crash between the order and the certificate finds the key."""
    stage(store, 1)
    assert store.staged_key("web", 1) == PAIR.key_pem
    assert store.staged_chain("web", 1) == PAIR.fullchain_pem
    assert store.staged_key("web", 2) is None
    assert store.look("web") == Standing()
    assert not store.sealed("web", 1)


def test_staging_again_replaces_what_was_staged(store: Store) -> None:
    """An attempt that was cut off is made once more."""
    stage(store, 1, OTHER_PAIR)
    stage(store, 1)
    assert store.staged_key("web", 1) == PAIR.key_pem
    assert store.staged_chain("web", 1) == PAIR.fullchain_pem


def test_sealing_makes_a_generation_that_is_remembered_whole(store: Store) -> None:
    """From here on a failure costs no new order."""
    seal(store, 1)
    assert store.sealed("web", 1)
    assert store.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)
    assert store.staged_key("web", 1) is None
    assert store.look("web") == Standing(
        None, Generation(1, META, facts_of(PAIR.certificate)), CertificateState()
    )


@pytest.mark.parametrize("part", ["key", "chain"])
def test_half_a_pair_is_never_sealed(store: Store, part: str) -> None:
    """New key beside no certificate is nothing to serve."""
    if part == "key":
        store.stage_key("web", 1, PAIR.key_pem)
    else:
        stage(store, 1)
        store.discard("web", 1)
    with pytest.raises(NeedsOperator, match="incomplete"):
        store.seal("web", 1, META)
    assert not store.sealed("web", 1)
    assert store.look("web") == Standing()


def test_a_pair_that_does_not_belong_together_is_never_shown_as_good(store: Store) -> None:
    """What a look remembers of a generation is believed without parsing it again."""
    store.stage_key("web", 1, OTHER_PAIR.key_pem)
    store.stage_chain("web", 1, PAIR.fullchain_pem)
    try:
        store.seal("web", 1, META)
    except InvalidInput:
        assert not store.sealed("web", 1)
    else:
        newest = store.look("web").newest
        assert newest is not None
        assert newest.facts is None
        assert newest.broken is not None
        assert "does not belong to certificate" in newest.broken


def test_switching_makes_a_generation_live(store: Store) -> None:
    """The one point where the new pair replaces the old."""
    seal(store, 1)
    seal(store, 2, OTHER_PAIR)
    store.switch("web", 1)
    assert store.live("web") == 1
    standing = store.look("web")
    assert standing.live is not None
    assert standing.newest is not None
    assert (standing.live.number, standing.newest.number) == (1, 2)
    assert standing.newest.facts == facts_of(OTHER_PAIR.certificate)
    store.switch("web", 2)
    assert store.live("web") == 2
    store.switch("web", 1)
    assert store.live("web") == 1


def test_only_a_sealed_generation_becomes_live(store: Store) -> None:
    """A link to nothing would take the service down at its next reload."""
    seal(store, 1)
    store.switch("web", 1)
    stage(store, 2)
    for number in (2, 3):
        with pytest.raises(NeedsOperator, match="does not exist"):
            store.switch("web", number)
    assert store.live("web") == 1


def test_state_is_what_was_recorded_last(store: Store) -> None:
    """What each target serves is state of its own."""
    seal(store, 1)
    state = CertificateState({"web": TargetState(1, "ab", NOW)}, (3, 4), NOW)
    store.record("web", state)
    assert store.look("web").state == state
    store.record("web", replace(state, targets={}, held=None))
    assert store.look("web").state == CertificateState({}, (3, 4), None)


def test_mending_records_a_state_in_the_place_of_another(store: Store) -> None:
    """And says where the other one is."""
    seal(store, 1)
    store.record("web", CertificateState(withdrawn=(9,)))
    state = CertificateState({"web": TargetState(1, "ab", NOW)}, (3, 4), NOW)
    assert store.mend("web", state, now=NOW)
    assert store.look("web").state == state
    assert store.look("web").damaged is None


def test_discarding_takes_the_staging_and_nothing_else(store: Store) -> None:
    """The undo of everything before a certificate is issued."""
    seal(store, 1)
    stage(store, 2)
    stage(store, 3)
    for number in (1, 2, 2):
        store.discard("web", number)
    assert store.staged_key("web", 2) is None
    assert store.staged_key("web", 3) == PAIR.key_pem
    assert store.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)


def test_sweeping_takes_what_crashes_left_and_nothing_else(store: Store) -> None:
    """54,979 old key files never pruned (caprover #934)."""
    seal(store, 1)
    store.switch("web", 1)
    store.record("web", CertificateState(withdrawn=(9,)))
    before = store.look("web")
    stage(store, 2)
    store.sweep("web")
    store.sweep("web")
    store.sweep("mail")
    assert store.staged_key("web", 2) is None
    assert store.staged_chain("web", 2) is None
    assert store.look("web") == before


def standing_numbers(store: Store, last: int) -> list[int]:
    """Which of the generations up to ``last`` are there."""
    return [number for number in range(1, last + 1) if store.sealed("web", number)]


@pytest.mark.parametrize(
    ("live", "keep", "spare", "left"),
    [
        (6, 2, (), [4, 5, 6, 7]),
        (6, 2, (1,), [1, 4, 5, 6, 7]),
        (6, 2, (5,), [4, 5, 6, 7]),
        (6, 0, (), [6, 7]),
        (6, 9, (), [1, 2, 3, 4, 5, 6, 7]),
        (2, 1, (), [1, 2, 3, 4, 5, 6, 7]),
        (1, 0, (), [1, 2, 3, 4, 5, 6, 7]),
        (None, 0, (), [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_pruning_keeps_the_live_the_spared_and_the_newest_before_the_live(
    store: Store, live: int | None, keep: int, spare: tuple[int, ...], left: list[int]
) -> None:
    """There is always something to go back to, and a later one may still be deployed."""
    for number in range(1, 8):
        seal(store, number)
    if live is not None:
        store.switch("web", live)
    store.prune("web", keep, spare)
    assert standing_numbers(store, 7) == left
    assert store.live("web") == live
    store.prune("web", keep, spare)
    assert standing_numbers(store, 7) == left


def test_certificates_know_nothing_of_each_other(store: Store) -> None:
    """One bad certificate must not touch the rest."""
    seal(store, 1)
    seal(store, 1, OTHER_PAIR, name="mail")
    store.switch("mail", 1)
    store.record("mail", CertificateState(withdrawn=(7,)))
    stage(store, 2, name="mail")
    store.sweep("web")
    assert store.live("web") is None
    assert store.look("web").state == CertificateState()
    assert store.staged_key("mail", 2) == PAIR.key_pem
    assert store.read("mail", 1) == (OTHER_PAIR.key_pem, OTHER_PAIR.fullchain_pem)


def test_removing_takes_all_of_one_certificate(store: Store) -> None:
    """Also what a crash left; nobody else's, and again does no harm."""
    seal(store, 1)
    seal(store, 2)
    stage(store, 3)
    store.record("web", CertificateState(withdrawn=(9,)))
    store.check("mail")
    store.record("mail", CertificateState(withdrawn=(7,)))
    for _ in range(2):
        store.remove("web")
        assert not any(store.sealed("web", number) for number in (1, 2))
        assert store.staged_key("web", 3) is None
        assert store.look("web") == Standing()
    assert store.look("mail").state == CertificateState(withdrawn=(7,))
