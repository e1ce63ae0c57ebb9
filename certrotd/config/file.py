"""The whole configuration file as it is written: the schema everything else of it hangs from."""

from pydantic import Field

from certrotd.config.base import SafeName
from certrotd.config.hostfile import HostFile
from certrotd.config.keks import KekEntry
from certrotd.config.keyrings import KeyringEntry, KeyServerEntry
from certrotd.config.managed_keys import ManagedKeyEntry


class ConfigFile(HostFile):
    """Configuration of certrotd."""

    keks: dict[SafeName, KekEntry] = Field(
        default={},
        description="The keys that wrap keyrings, by a name of your choice (none: a file kek in "
        "state_dir).",
    )
    key_server: KeyServerEntry | None = Field(
        default=None,
        description="The socket over which certrotd run gives keys to the client library (null: "
        "none).",
    )
    keyrings: dict[SafeName, KeyringEntry] = Field(
        default={}, description="The application data keys to rotate, by a name of your choice."
    )
    managed_keys: dict[SafeName, ManagedKeyEntry] = Field(
        default={},
        description="Keys that never leave their service, to rotate there, by a name of your "
        "choice.",
    )
