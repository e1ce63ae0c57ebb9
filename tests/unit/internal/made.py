"""The settings of an internal issuer."""

from datetime import timedelta

from certrotd.internal.root import InternalSettings
from certrotd.pki.keys import KeyType

SETTINGS = InternalSettings(
    name="inside",
    common_name="certrotd test CA",
    lifetime=timedelta(days=7),
    root_lifetime=timedelta(days=3650),
    key=KeyType.ECDSA_P256,
    permitted_names=(),
    backdate=timedelta(minutes=5),
)
