"""State in a cluster on its bad days: nothing is written twice, by two, or over another's."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certrotd.clock import SystemClock
from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kube.access import from_kubeconfig
from certrotd.kube.api import CONFIG_MAPS, LEASES, SECRETS, Api
from certrotd.kube.documents import MAX_SECRET
from certrotd.kube.names import object_name
from certrotd.kube.records import MAX_JOURNAL, MAX_LINES
from certrotd.kube.state import NEEDED
from certrotd.state.ports import ABSENT, Conflict, Content, Fenced, JournalBroken, TooLarge
from tests.integration.cluster_home import BEGIN, RULES, SUBJECT, SUMMARY, Home
from tests.parts.kubernetes import ControlPlane


@pytest.fixture
def home(control_plane: ControlPlane) -> Home:
    """In a server that is not harmed."""
    return Home.made(control_plane)


class TestTwoWriters:
    """Whoever lost the lock writes nothing any more."""

    def test_a_record_after_another_has_written_is_fenced(self, home: Home) -> None:
        """The journal is as the other one left it."""
        mine, other = (home.state().journal(SUBJECT) for _ in range(2))
        mine.append(BEGIN, sync=True)
        assert other.records() == [BEGIN]
        other.append({"t": "resume"}, sync=True)
        with pytest.raises(Fenced, match=r"record\.certificate\.web in .* was changed"):
            mine.append({"t": "done", "i": 0}, sync=True)
        assert other.peek() == [BEGIN, {"t": "resume"}]

    @pytest.mark.parametrize("act", ["close", "clear", "replace"])
    def test_who_was_overtaken_closes_nothing(self, home: Home, act: str) -> None:
        """Nor clears, nor compacts: those replace the whole journal."""
        mine, other = (home.state().journal(SUBJECT) for _ in range(2))
        mine.append(BEGIN, sync=True)
        other.append({"t": "resume"}, sync=True)
        acts: dict[str, Callable[[], None]] = {
            "close": lambda: mine.close(SUMMARY),
            "clear": mine.clear,
            "replace": lambda: mine.replace([BEGIN]),
        }
        with pytest.raises(Fenced):
            acts[act]()
        assert home.state().journal(SUBJECT).peek() == [BEGIN, {"t": "resume"}]
        assert home.state().journal(SUBJECT).history.lines() == []

    def test_a_journal_that_somebody_deleted_is_not_made_anew(self, home: Home) -> None:
        """It would have the end of a rotation without its beginning."""
        journal = home.state().journal(SUBJECT)
        journal.append(BEGIN, sync=True)
        path = SECRETS.path(home.namespace, object_name("certrotd-record", SUBJECT))
        home.plane.api.delete(path)
        with pytest.raises(Fenced):
            journal.append({"t": "done", "i": 0}, sync=True)
        assert journal.records() == []

    def test_many_who_compare_and_swap_lose_no_update(self, home: Home) -> None:
        """A counter that each raises by one, from eight threads."""
        state = home.state()
        state.document("n").write(b"0")

        def raised(_: int) -> None:
            while True:
                document = state.document("n")
                read = document.read()
                assert read is not None
                try:
                    document.write(b"%d" % (int(read.data) + 1), expected=read.revision)
                except Conflict:
                    continue
                return

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(raised, range(40)))
        found = state.document("n").read()
        assert found is not None
        assert found.data == b"40"


class TestRights:
    """The account does what its Role says, and certrotd says what it lacks."""

    def test_what_the_state_needs_is_all_it_is_given(self, home: Home) -> None:
        """The others of this file run with these rights alone."""
        assert list(home.state().problems(["certificate"])) == []
        assert home.plane.api.get(f"/api/v1/namespaces/{home.namespace}/secrets")["items"] == []

    def test_every_verb_that_is_missing_is_said(self, home: Home) -> None:
        """Before anything is begun."""
        home.plane.allow(home.namespace, "certrotd", RULES[0])
        found = [str(each) for each in home.state().problems(["certificate"])]
        assert len(found) == len(NEEDED[CONFIG_MAPS]) + len(NEEDED[LEASES])
        assert found[-1].startswith("the account may not update leases in the namespace")

    def test_a_right_that_is_gone_is_one_line(self, home: Home) -> None:
        """It is not waited for: somebody has to change the Role."""
        state = home.state()
        journal = state.journal(SUBJECT)
        journal.append(BEGIN, sync=True)
        home.plane.allow(home.namespace, "certrotd", {**RULES[0], "verbs": ["get"]})
        with pytest.raises(JournalBroken, match="cannot update resource"):
            journal.append({"t": "done", "i": 0}, sync=True)
        with pytest.raises(NeedsOperator, match="can-i"):
            state.document("n").write(b"1", expected=ABSENT)

    def test_a_token_that_is_no_more_is_said(self, home: Home) -> None:
        """The kubelet renews it: it is waited for, and then said."""
        state = Home(home.plane, home.namespace, "a.b.c").state(patience=0.6)
        with pytest.raises(DiskTrouble, match="does not know this account"):
            state.document("n").read()
        [failure] = state.problems(["certificate"])
        assert "does not know this account" in str(failure)

    def test_a_client_certificate_will_do(self, home: Home, tmp_path: Path) -> None:
        """As an administrator's kubeconfig has it."""
        path = home.plane.admin.write_kubeconfig(tmp_path / "kubeconfig", home.namespace)
        access = from_kubeconfig(path)
        state = home.state(api=Api(access, SystemClock(), agent="certrotd test"))
        state.document("n").write(b"1")
        assert home.state().document("n").revision() != ABSENT


class TestSizes:
    """A Secret holds a MiB."""

    def test_the_largest_document_is_kept_whole(self, home: Home) -> None:
        """And one byte more is refused, with what there was in its place."""
        document = home.state().document("n")
        document.write(b"x" * MAX_SECRET)
        with pytest.raises(TooLarge, match="1 MiB"):
            document.write(b"x" * (MAX_SECRET + 1))
        found = document.read()
        assert found is not None
        assert len(found.data) == MAX_SECRET

    def test_a_journal_that_would_not_fit_is_refused(self, home: Home) -> None:
        """What is there stays; the engine compacts before that."""
        journal = home.state().journal(SUBJECT)
        journal.append(BEGIN, sync=True)
        with pytest.raises(JournalBroken, match="would be larger than"):
            journal.append({"t": "note", "x": "y" * MAX_JOURNAL}, sync=True)
        assert journal.records() == [BEGIN]

    def test_the_newest_lines_of_a_history_stay(self, home: Home) -> None:
        """Beside the largest journal there is still room for them."""
        state = home.state()
        journal = state.journal(SUBJECT)
        for number in range(6):
            journal.append(BEGIN, sync=True)
            journal.close({**SUMMARY, "id": f"r{number}", "why": "y" * (MAX_LINES // 4)})
        assert [line["id"] for line in state.journal(SUBJECT).history.lines()] == ["r3", "r4", "r5"]
        journal.append({"t": "note", "x": "y" * (MAX_JOURNAL - 100)}, sync=True)
        last = state.journal(SUBJECT).history.last()
        assert last is not None
        assert last["id"] == "r5"

    def test_more_objects_than_a_page_has_are_all_found(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A list is answered in parts."""
        monkeypatch.setattr("certrotd.kube.api.PAGE", 2)
        state = home.state()
        every = {f"certificate/c{number}" for number in range(5)}
        for subject in every:
            state.journal(subject).append(BEGIN, sync=True)
        assert state.in_flight() == every


class TestForeignHands:
    """What somebody else puts there is passed over, or said."""

    @pytest.mark.parametrize("said", [b"2", b"", b"x" * 99])
    def test_a_state_of_a_newer_certrotd_is_left_alone(self, home: Home, said: bytes) -> None:
        """After a helm rollback: the older one would misread it."""
        with home.state().lock(SUBJECT, "certificate web"):
            pass
        document = home.state().document("format")
        assert document.read() == Content(b"1", document.revision())
        document.write(said)
        with (
            pytest.raises(NeedsOperator, match=r"document\.format.* this certrotd knows 1"),
            home.state().lock(SUBJECT, "certificate web"),
        ):
            pass

    def test_a_secret_that_is_no_document_is_said(self, home: Home) -> None:
        """With its place, and nothing of what is in it."""
        state = home.state()
        state.document("n").write(b"1")
        path = SECRETS.path(home.namespace, object_name("certrotd-document", "n"))
        home.plane.api.merge(path, {"data": {"document": None}})
        found = state.document("n").read()
        assert found is not None
        assert found.data == b""

    def test_a_wake_that_is_no_id_is_passed_over(self, home: Home) -> None:
        """And stays: it is not certrotd's."""
        state = home.state()
        state.wake(SUBJECT)
        path = CONFIG_MAPS.path(home.namespace, object_name("certrotd-wake", "all"))
        home.plane.api.merge(path, {"data": {"certificate._": "x", "nonsense": "y"}})
        changes = state.changes("certificate")
        assert changes.woken() == {SUBJECT}
        assert set(home.plane.api.get(path)["data"]) == {"certificate._", "nonsense"}
