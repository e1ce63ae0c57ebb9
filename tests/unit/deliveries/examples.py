"""A delivery and what is known of it, for the tests of decisions."""

from datetime import UTC, datetime, timedelta

from certrotd.deliveries.policy import Delivered, Policy, Standing
from certrotd.id import Id
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Generation, Meta
from certrotd.ssh.files import Stamp

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy(
    name="web.edge",
    certificate=Id("certificate", "web"),
    host="edge",
    place="edge (192.0.2.1:22)",
    directory="/srv/tls",
    asked="as configured",
)


def generation(
    number: int = 1, *, end: datetime = NOW + 60 * DAY, origin: str = "issued"
) -> Generation:
    """A generation in the store."""
    facts = CertificateFacts(
        names=("example.test",),
        serial="1",
        not_before=NOW - 30 * DAY,
        not_after=end,
        key_type="ecdsa-p256",
        fingerprint=f"{number:064x}",
        issuer="CN=ca",
        subject="CN=example.test",
        is_ca=False,
    )
    return Generation(number, Meta(NOW, origin, "ca", "ca", 0.5), facts)


def delivered(number: int = 1) -> Delivered:
    """That generation as it was delivered yesterday."""
    return Delivered(
        generation=number,
        folder=f"{number:06}-0123456789abcdef",
        fingerprint=f"{number:064x}",
        key_type="ecdsa-p256",
        not_before=NOW - 30 * DAY,
        not_after=NOW + 60 * DAY,
        asked=POLICY.asked,
        stamps={"privkey.pem": Stamp("00" * 32, 0o640, 0, 0)},
        at=NOW - DAY,
        seen=NOW - DAY,
    )


def standing(live: int = 1, known: int = 1) -> Standing:
    """One generation is live here, and perhaps another one there."""
    return Standing(generation(live), delivered(known))
