"""Who runs with an older copy is found, decided about, and brought up to date, or said."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from certrotd.certs.catching_up import survey
from certrotd.certs.checks import CertificateCheck
from certrotd.certs.decision import CatchUp, Deploy
from certrotd.certs.findings import FindingKind
from certrotd.certs.policy import Attempts
from certrotd.certs.rules import decide
from certrotd.certs.watching import of_behind
from certrotd.certs.world import Bound
from certrotd.errors import Transient
from certrotd.id import Id
from certrotd.lifecycle.decision import Wait
from certrotd.pki.generation import Behind
from certrotd.rotation.engine import Finished, RolledBack
from tests.builders import NOW, POLICY, generation, standing
from tests.fakes.target import MemoryTarget
from tests.unit.certs.rotating import Case
from tests.unit.certs.watched import WatchedCertificate, kinds

LATE, HELPLESS = Behind("a", "has an older copy"), Behind("b", "was made before it", "make b anew")


@dataclass
class Fleet:
    """A target of parts that come and go; those ``late`` are so until they are told."""

    target: MemoryTarget
    late: list[Behind] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    helps: bool = True
    away: bool = False

    def check(self) -> None: ...

    def apply(self) -> None:
        self.target.apply()

    def behind(self) -> Sequence[Behind]:
        if self.away:
            raise Transient("the engine is away")
        return list(self.late)

    def catch_up(self, names: Sequence[str]) -> None:
        self.told += names
        if self.helps:
            self.late = [each for each in self.late if each.name not in names]


def joined(case: Case) -> Fleet:
    """The first target of the case has become one whose parts come and go; it is up to date."""
    [first, *_] = case.world.targets.values()
    fleet = Fleet(first)
    bound = case.world._bound

    def target(name: str) -> Bound | None:
        found = bound(name)
        return replace(found, target=fleet) if found and name == first.name else found

    case.world.otherwise["target"] = target
    case.policy(trailing=(first.name,))
    assert isinstance(case.rotate().outcome, Finished)
    return fleet


class TestDecided:
    """After everything that concerns all of a target."""

    def test_who_can_be_helped_is(self) -> None:
        """Who needs a person is not what a rotation is for."""
        found = standing(generation())
        known = replace(found, behind={"box": (LATE, HELPLESS), "x": (HELPLESS,)})
        decision = decide(POLICY, known, Attempts(), now=NOW)
        assert isinstance(decision, CatchUp | Deploy)
        alone = replace(POLICY, waves=(), installs=False)
        assert decide(alone, known, Attempts(), now=NOW) == CatchUp(
            "a has an older copy", {"box": ("a",)}
        )
        two = replace(found, behind={"box": (LATE, replace(LATE, name="c"))})
        assert (
            decide(alone, two, Attempts(), now=NOW).why
            == "a has an older copy, and 1 other with it"
        )
        nobody = replace(found, behind={"box": (HELPLESS,)})
        assert isinstance(decide(alone, nobody, Attempts(), now=NOW), Wait)


class TestBroughtUp:
    """In a rotation of its own."""

    def test_those_alone_are_told(self) -> None:
        """By whoever rotates, daemon or not; the next time nothing is due."""
        case = Case("renewal")
        fleet = joined(case)
        assert case.rotate().outcome is None
        fleet.late = [LATE, HELPLESS]
        serves, applied = case.serves(), case.trouble.log.count("target nginx: apply")
        report = case.rotate()
        assert isinstance(report.decision, CatchUp)
        assert isinstance(report.outcome, Finished)
        assert (fleet.told, fleet.late) == (["a"], [HELPLESS])
        assert case.serves() == serves
        assert case.trouble.log.count("target nginx: apply") == applied, "the others are not told"
        assert isinstance(case.rotate().decision, Wait)

    def test_one_that_does_not_help_is_said_and_tried_again(self) -> None:
        """What is live stays; a renewal is not kept away."""
        case = Case("renewal")
        fleet = joined(case)
        fleet.late, fleet.helps, live = [LATE], False, case.live
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "still has an older copy" in str(report.outcome.because)
        assert case.live == live
        fleet.helps = True
        assert isinstance(case.rotate(by_hand=True).outcome, Finished)

    def test_a_target_that_cannot_be_asked_is_remarked(self) -> None:
        """Nothing else waits for it."""
        case = Case("renewal")
        joined(case).away = True
        assert isinstance(case.rotate().decision, Wait)
        assert "the engine is away" in case.world.remarks[-1]

    def test_what_is_found_is_noted_for_the_next_decision(self) -> None:
        """Only of a target that the live generation has reached: else all of it is told."""
        case = Case("renewal")
        fleet = joined(case)
        fleet.late = [LATE]
        noted: list[object] = []
        case.world.otherwise["note_behind"] = noted.append
        found = survey(case.world.managed())
        assert found.some
        assert noted == [found.behind]
        case.world.policy = replace(case.world.policy, trailing=("another",))
        assert survey(case.world.managed()).behind == {}


class TestSaid:
    """By the check of the certificate."""

    def test_a_check_finds_them_and_has_it_decided_about(self) -> None:
        """Not while a rotation moves it all."""
        seen = WatchedCertificate(trailing=("nginx",))
        fleet = Fleet(seen.world.targets["nginx"], [HELPLESS])
        bound = Bound(fleet, (seen.world.endpoint("nginx"),))
        seen.world.otherwise["target"] = lambda _name: bound
        woken: list[Id] = []
        check = CertificateCheck(seen.managed, replace(seen.means, wake=woken.append))

        def found() -> list[str]:
            return kinds(check.look()[0].watched)

        assert (found(), woken) == ([FindingKind.BEHIND], [])
        fleet.late = [LATE]
        assert (found(), woken) == ([FindingKind.BEHIND], [seen.managed.policy.id])
        seen.flying = True
        assert found() == []
        seen.flying, fleet.away = False, True
        assert found() == [FindingKind.UNREADABLE]

    def test_the_words_say_what_a_person_has_to_do(self) -> None:
        """Of many, the first few."""
        finding = of_behind("box", (LATE, HELPLESS))
        assert finding is not None
        assert finding.words == (
            "target box: a has an older copy; b was made before it (make b anew)"
        )
        assert finding.todo == "Run make b anew"
        many = of_behind("box", [replace(LATE, name=f"c{number}") for number in range(8)])
        assert many is not None
        assert many.words.endswith(" and 3 more")
        assert of_behind("box", ()) is None


def test_a_policy_without_such_targets_asks_nobody() -> None:
    """It costs nothing where there are none."""
    case = Case("renewal")
    joined(case).away = True
    assert survey(case.world.managed()).failures != {}
    case.policy(trailing=())
    assert survey(case.world.managed()).failures == {}
