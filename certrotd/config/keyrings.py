"""Application data keys to rotate: a keyring's entry, who uses it, and what it protects."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    model_validator,
)

from certrotd.config.acknowledgements import AcknowledgementEntry
from certrotd.config.base import (
    AbsolutePath,
    Entry,
    Items,
    SafeName,
    Text,
    refuse,
    shown,
)
from certrotd.config.certificates import SystemAccount
from certrotd.config.cutover import CutoverEntry
from certrotd.config.datasets import DatasetEntry
from certrotd.config.durations import Duration, DurationOrZero
from certrotd.config.escrow import BackupEntry
from certrotd.config.modes import KeyMode, Mode
from certrotd.config.output import BaseOutputEntry
from certrotd.config.outputs import OutputEntry
from certrotd.config.rehearsal import RehearsalEntry
from certrotd.config.window import MaintenanceWindow

AlgorithmName = Literal[
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
    "aes-128-gcm-siv",
    "aes-256-gcm-siv",
    "chacha20-poly1305",
    "xsalsa20-poly1305",
    "fernet",
    "aes-128-cbc",
    "aes-192-cbc",
    "aes-256-cbc",
    "age-x25519",
    "passphrase",
]
Classification = Literal["public", "internal", "confidential", "restricted"]
PERIODS: dict[Classification, timedelta] = {
    "public": timedelta(days=365),
    "internal": timedelta(days=91),
    "confidential": timedelta(days=30),
    "restricted": timedelta(days=7),
}
"""The cryptoperiod of each class: yearly, quarterly, monthly, weekly."""


def _schedule(value: str) -> str:
    from certrotd.config.calendar import checked

    return checked(value)


CronExpression = Annotated[str, Field(max_length=200), AfterValidator(_schedule)]


class RotateEntry(Entry):
    """When a key is replaced: at the first of these."""

    cryptoperiod: Duration | None = Field(
        default=None,
        description="How long a key encrypts; a rotation begins when a tenth of it is left "
        "(null: by classification: 365d, 91d, 30d or 7d).",
    )
    messages: int | None = Field(
        default=None,
        ge=1,
        le=10**15,
        description="After how many messages (null: at half of the 2^32 that a random nonce "
        "allows a key in GCM).",
    )
    bytes: int | None = Field(
        default=None, ge=1, le=10**18, description="After how many bytes (null: no limit)."
    )
    calendar: CronExpression | None = Field(
        default=None,
        description='A cron expression in UTC, such as "0 3 1 * *" (null: none).',
    )


class ConsumerEntry(Entry):
    """An application that uses the keyring."""

    target: SafeName | None = Field(
        default=None,
        description="The target that makes it read its keys again (null: it does by itself).",
    )
    acknowledge: AcknowledgementEntry | None = Field(
        default=None,
        description="How it confirms which keys it has (null: that its target was applied "
        "without an error is enough).",
    )
    wave: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="Those of a later wave come when the earlier ones have confirmed."
    )
    within: Duration = Field(
        default=timedelta(hours=1), description="An alert says when it has not confirmed by then."
    )

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.target is None and self.acknowledge is None:
            raise refuse("needs a target, a way to acknowledge, or both")
        return self


class ReadersEntry(Entry):
    """Who is given the keys over the socket of key_server."""

    users: Items[SystemAccount] = Field(
        default=(), max_length=1000, description="Users, by name or number; root only if named."
    )
    groups: Items[SystemAccount] = Field(
        default=(), max_length=1000, description="Groups, by name or number."
    )


class KeyServerEntry(Entry):
    """The Unix socket over which certrotd run gives keyrings to the client library."""

    socket: AbsolutePath = Field(
        description="The socket; its directory must be writable to certrotd alone."
    )
    mode: KeyMode = Field(
        default=Mode(0o660),
        description="Its mode; whom it lets in is still asked for its user (readers).",
    )


class SealedEntry(BaseOutputEntry):
    """A keyring document for the client library."""

    type: Literal["keyring"] = Field(
        description="A sealed keyring for the client library, which opens it with a KEK."
    )
    keks: Items[SafeName] = Field(
        default=(),
        description="The KEKs that wrap it, of which the application can reach one (empty: those "
        "of the keyring).",
    )


AnyOutputEntry = Annotated[OutputEntry | SealedEntry, Field(discriminator="type")]


class DeclaredEntry(Entry):
    """Ciphertext that is in no dataset, and need not be."""

    place: Text = Field(
        description='As certrotd keys scan names it; "*" stands for anything, as in "shop/audit.*".'
    )
    why: Text = Field(description="Why it may stay, for whoever reads this later.")


class ResidueEntry(Entry):
    """The scan for ciphertext that no dataset declares, before a key is withheld."""

    enabled: bool = Field(default=True, description="Whether certrotd looks for it.")
    paths: Items[AbsolutePath] = Field(
        default=(),
        max_length=100,
        description="More directories to look into, such as those of dumps and exports.",
    )
    ignore: Items[DeclaredEntry] = Field(
        default=(), max_length=1000, description="What may stay, and why."
    )
    within: Duration = Field(
        default=timedelta(minutes=10),
        description="How long a scan may take; one that does not end counts as none.",
    )


class KeyringEntry(Entry):
    """A keyring: the versions of one data key."""

    purpose: Text | None = Field(default=None, description="What it protects, for reports.")
    owner: Text | None = Field(default=None, description="Who is responsible for it.")
    custodians: Items[Text] = Field(
        default=(),
        description="Who has access to the keys; when one of them leaves the list, the key is "
        "rotated.",
    )
    classification: Classification = Field(
        default="internal", description="How sensitive the data is: the default cryptoperiod."
    )
    algorithm: AlgorithmName = Field(
        default="aes-256-gcm",
        description="What its new keys are for; age-x25519: identities of age, as SOPS has them; "
        "passphrase: text that the application derives its key from.",
    )
    keks: Items[SafeName] = Field(
        default=(),
        description="The KEKs that wrap it, each alone sufficient; two survive the loss of one "
        "(empty: every one of keks).",
    )
    outputs: Items[AnyOutputEntry] = Field(
        default=(), description="What applications read their keys from."
    )
    readers: ReadersEntry = Field(
        default_factory=ReadersEntry,
        description="The users and groups to whom key_server gives the keys.",
    )
    consumers: dict[SafeName, ConsumerEntry] = Field(
        default={}, description="The applications that use it, by a name of your choice."
    )
    cutover: CutoverEntry | None = Field(
        default=None,
        description="For an application that holds one key: how it is stopped and started, while "
        "its datasets are re-encrypted (null: keys are staged beside each other).",
    )
    rotate: RotateEntry = Field(default_factory=RotateEntry, description="When a key is replaced.")
    window: MaintenanceWindow | None = Field(
        default=None,
        description="When consumers may be told of another key, as in mon-fri 01:00-05:00 "
        "Europe/Berlin (null: at any time).",
    )
    datasets: dict[SafeName, DatasetEntry] = Field(
        default={}, description="What holds its ciphertext, by a name of your choice."
    )
    drains: dict[SafeName, Duration] = Field(
        default={},
        description="What holds ciphertext that cannot be re-encrypted (cookies, queues, backups), "
        "and the longest time that any of it lives.",
    )
    residue: ResidueEntry = Field(
        default_factory=ResidueEntry,
        description="Ciphertext that is in no dataset: databases and directories of the datasets "
        "are looked through for it.",
    )
    grace: DurationOrZero = Field(
        default=timedelta(days=7),
        description="How long consumers keep a key after nothing is left under it; a census of "
        "zero before and after shows that nothing came since.",
    )
    watch: DurationOrZero = Field(
        default=timedelta(days=30),
        description="How long a key is withheld, and can be restored, before it is destroyed.",
    )
    confirm: Literal["nobody", "two"] = Field(
        default="nobody",
        description="Who confirms, with certrotd keys confirm, that a key may be destroyed: nobody "
        "has to, or two people.",
    )
    backup: BackupEntry | None = Field(
        default=None,
        description="Where the keyring is backed up before a new key is used (null: nowhere; then "
        "no key is ever destroyed).",
    )
    rehearsal: RehearsalEntry | None = Field(
        default=None,
        description="How an emergency is rehearsed on copies (null: only by hand, with certrotd "
        "keys rehearse).",
    )
    enabled: bool = Field(default=True, description="Whether it is rotated.")

    @model_validator(mode="after")
    def _cut_over(self) -> Self:
        """What a cut-over re-encrypts is all that there is, and nobody else has the keys."""
        if self.cutover is None:
            return self
        if not self.outputs or any(isinstance(each, SealedEntry) for each in self.outputs):
            raise refuse("cutover needs outputs, none of type keyring: that holds many keys")
        if self.consumers or self.readers.users or self.readers.groups:
            raise refuse("cutover stops and starts the application: leave consumers, readers out")
        if not self.datasets:
            raise refuse("cutover re-encrypts the datasets, and there are none")
        for name, each in self.datasets.items():
            if each.type == "command":
                raise refuse(f"cutover re-encrypts every dataset, and {shown(name)} is a program")
            if each.type == "kubernetes":
                raise refuse(f"API servers hold several keys: {shown(name)} needs no cutover")
            if each.plaintext == "encrypt":
                message = "an undo would leave it encrypted: use refuse or leave"
                raise refuse(
                    f"plaintext: encrypt of {shown(name)} does not go with cutover: {message}"
                )
        return self
