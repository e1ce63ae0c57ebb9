"""What many tests are made of: certificates, generations, stores, policies, deadlines."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from certrotd.certs.policy import Policy
from certrotd.certs.ports import Store
from certrotd.clock import Deadline, SystemClock
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import CertificateState, Generation, Meta, Standing, TargetState
from certrotd.state.directory import StateDirectory
from certrotd.state.folder import FileFolder
from tests.parts import pki

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
POLICY = Policy(
    name="web", names=("a.test",), issuer="le", authority="https://ca.test/dir", jitter=0.0
)
LEFT = ({"solver": "dns", "record": {}},)
CA = pki.make_intermediate(pki.make_root())
NAME = "a.example.test"
PAIR, OLD, NEW = (pki.make_leaf(CA, NAME) for _ in range(3))
OTHER_PAIR = pki.make_leaf(CA, "b.example.test")


def soon(seconds: float = 60.0) -> Deadline:
    """A deadline on the machine's clock."""
    return Deadline(SystemClock(), seconds)


def state_folder(state_dir: Path, name: str, now: Callable[[], datetime]) -> FileFolder:
    """What an issuer keeps in ``state_dir``, for the context that it is built with."""
    return StateDirectory(state_dir, command="certrotd", now=now).folder(name)


def facts(
    *,
    age: timedelta = 10 * DAY,
    lifetime: timedelta = 90 * DAY,
    names: tuple[str, ...] = ("a.test",),
    key_type: str = "ecdsa-p256",
) -> CertificateFacts:
    """A certificate that became valid ``age`` ago."""
    begins = NOW - age
    return CertificateFacts(
        names, key_type, "a.test", "CA", "1", begins, begins + lifetime, "ab", is_ca=False
    )


def meta(**changes: Any) -> Meta:
    """What a generation of POLICY's remembers."""
    known = Meta(NOW - 10 * DAY, "issued", "le", "https://ca.test/dir", 0.0, "", ("a.test",))
    return replace(known, **changes)


META = meta(draw=0.25, order="https://ca.test/1")


def stage(store: Store, number: int, pair: pki.Pair = PAIR, name: str = "web") -> None:
    """A generation that is all there and not sealed."""
    store.stage_key(name, number, pair.key_pem)
    store.stage_chain(name, number, pair.fullchain_pem)


def seal(store: Store, number: int, pair: pki.Pair = PAIR, name: str = "web") -> None:
    """A sealed generation that remembers META."""
    stage(store, number, pair, name)
    store.seal(name, number, META)


def generation(number: int = 5, **about: Any) -> Generation:
    """A good generation with facts(**about)."""
    return Generation(number, meta(), facts(**about))


def broken(number: int = 5) -> Generation:
    """A generation that cannot be used."""
    return Generation(number, None, None, "privkey.pem is missing")


def standing(
    live: Generation | None = None,
    newest: Generation | None = None,
    *,
    served: Mapping[str, int] | None = None,
    withdrawn: tuple[int, ...] = (),
    held: datetime | None = None,
) -> Standing:
    """A standing whose targets were proven to serve the generations of ``served``."""
    targets = {
        name: TargetState(number, "ab", NOW - DAY) for name, number in (served or {}).items()
    }
    return Standing(live, newest or live, CertificateState(targets, withdrawn, held))


LIFETIMES = st.one_of(
    st.sampled_from([5 * MINUTE, HOUR, 6 * DAY, 10 * DAY, 45 * DAY, 90 * DAY, 398 * DAY]),
    st.integers(60, 400 * 86400).map(lambda s: timedelta(seconds=s)),
)
SPANS = st.integers(1, 1000 * 86400).map(lambda s: timedelta(seconds=s))
DRAWS = st.floats(0, 1, exclude_max=True)
SHARES = st.floats(0.01, 0.99)
POLICIES = st.builds(
    lambda jitter, when: replace(POLICY, jitter=jitter, **when),
    st.floats(0, 0.5),
    st.one_of(
        st.just({}),
        SHARES.map(lambda share: {"fraction": share}),
        SPANS.map(lambda span: {"before": span}),
    ),
)
