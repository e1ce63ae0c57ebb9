"""Datasets of a keyring: what holds its ciphertext, and how it is counted and re-encrypted."""

import string
from collections.abc import Mapping
from datetime import timedelta
from itertools import chain, islice
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from certrotd.config.base import (
    REFUSED,
    Argv,
    Entry,
    EntryFindings,
    Items,
    Text,
    refuse,
    shown,
)
from certrotd.config.codecs import (
    CodecEntry,
    LayoutCodecEntry,
    LayoutsCodecEntry,
    RailsCodecEntry,
    Wso2CodecEntry,
    codec_name,
)
from certrotd.config.databases import database
from certrotd.config.durations import Duration
from certrotd.config.expectations import (
    ExpectationEntry,
    Pattern,
    RegexExpectation,
    check_expects,
)
from certrotd.config.file_datasets import Contains, FilesDatasetEntry
from certrotd.config.kubernetes_datasets import KubernetesDatasetEntry
from certrotd.config.looks import library, program
from certrotd.config.searchable import (
    DETERMINISTIC,
    BlindIndexEntry,
    SearchableEntry,
    indexes_of,
)
from certrotd.config.secrets import Environment, SecretRef
from certrotd.errors import InvalidInput
from certrotd.jsonpath import path_of


class CommandDatasetEntry(Entry):
    """Something that a program of yours counts, and that something else re-encrypts."""

    type: Literal["command"] = Field(
        default="command", description="A program counts it, and certrotd does not re-encrypt it."
    )
    census: Argv = Field(
        description="A program that prints how many ciphertexts are left under the key version "
        "CERTROTD_VERSION, whose id is CERTROTD_KEY_ID."
    )
    timeout: Duration = Field(
        default=timedelta(minutes=5), description="How long the program may take."
    )
    environment: Environment = Field(default={}, description="More variables for it.")
    contains: Contains = ()

    def examine(self) -> EntryFindings:
        """Whether the program exists; it is not run."""
        return program(self.census[0], ("census",))


def _path(value: str) -> str:
    try:
        return path_of(value).text
    except InvalidInput as error:
        raise refuse(f"{error.message}, got {shown(value)}") from None


JsonPath = Annotated[Text, AfterValidator(_path)]


class SqlDatasetEntry(Entry):
    """Columns of a table, which certrotd counts and re-encrypts."""

    type: Literal["sql"] = Field(
        description="Columns of a table of PostgreSQL, MariaDB, MySQL or SQLite."
    )
    url: Annotated[Text, AfterValidator(database)] = Field(
        description="The database, without a password: postgresql://USER@HOST/NAME, "
        "mariadb://USER@HOST/NAME or sqlite:////PATH."
    )
    password: SecretRef | None = Field(default=None, description="The account's (null: none).")
    schema_name: Text | None = Field(
        default=None, description="The schema that the table is in (null: the account's own)."
    )
    table: Text = Field(description="The table.")
    key: Items[Text] = Field(
        default=("id",),
        min_length=1,
        max_length=16,
        description="Its primary key, or other columns that are unique and never NULL.",
    )
    columns: Items[Text] = Field(min_length=1, max_length=100, description="The encrypted columns.")
    keep: Items[Text] = Field(
        default=(),
        max_length=100,
        description="Other columns, which must not change with the encrypted ones: a batch in "
        "which a trigger changes one is not written.",
    )
    json_paths: dict[Text, Annotated[Items[JsonPath], Field(min_length=1, max_length=100)]] = Field(
        default={},
        description="Which of the columns are JSON, and where in it the values are: "
        "$.smtp.password, $.tokens[*].secret, $.* (each text at such a place is one).",
    )
    lists: dict[Text, Literal[",", ";", " ", "\n"]] = Field(
        default={},
        description="Which of the columns hold several values, and what stands between them.",
    )
    codec: CodecEntry = Field(
        default="tink",
        description="The form of their values: tink, fernet, laravel, node-json, secretbox, or a "
        "mapping with type jwe, rails, wso2, symmetric-encryption, layout or layouts.",
    )
    expects: dict[Text, ExpectationEntry] = Field(
        default={},
        description="What the plaintext of each column looks like, where the codec has no MAC: "
        "utf8, json, {regex: …}, or {least: …, most: …} bytes. What opens to anything else is "
        "never touched.",
    )
    others: Pattern | None = Field(
        default=None,
        description="Values that this regular expression matches as a whole are under other keys, "
        "and no concern (null: none is).",
    )
    associated_data: Text | None = Field(
        default=None,
        description='What binds a value to its place, as in "{table}/{column}/{pk}"; each key '
        "column has its name, too (null: nothing).",
    )
    searchable: dict[Text, SearchableEntry] = Field(
        default={},
        description="Which of the columns the application searches by: deterministic, or the "
        "blind indexes of each.",
    )
    search_two_keys: bool | None = Field(
        default=None,
        description="Whether the application, while it has two keys, searches those columns under "
        "both (null: nothing is searchable).",
    )
    where: Text | None = Field(
        default=None, description="A condition in SQL: other rows are no concern (null: all rows)."
    )
    contains: Contains = ()
    plaintext: Literal["refuse", "encrypt", "leave"] = Field(
        default="refuse",
        description="What is done about readable text that is no ciphertext: refuse stops the "
        "re-encryption.",
    )
    may_be_empty: bool = Field(
        default=False, description="Whether a census of no value at all may be believed."
    )
    batch: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000, description="How many rows a transaction re-encrypts."
    )
    checkpoints: Literal["journal", "table"] = Field(
        default="journal",
        description="Where is kept how far it is: in the journal, or in the table "
        "certrotd_checkpoints of the same database, with each batch in its transaction; pods can "
        "work beside certrotd only by the latter.",
    )
    shards: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Into how many ranges of keys it is divided for several workers (null: four "
        "for each).",
    )
    rows_per_second: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        description="It goes no faster, with all workers together (null: as fast as it can).",
    )
    pause_ms: int = Field(
        default=0, ge=0, le=3_600_000, description="It rests so long after a batch, in ms."
    )
    latency_ms: int | None = Field(
        default=None,
        ge=1,
        le=3_600_000,
        description="If writing a batch takes longer, in ms, the next ones are smaller, and it "
        "rests as long (null: whatever it takes).",
    )
    processes: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="How many processes encrypt beside certrotd (null: as many as the codec's cost "
        "is worth, at most 4).",
    )
    replica_lag_ms: int | None = Field(
        default=None,
        ge=1,
        le=3_600_000,
        description="While a replica lacks what was written longer ago, in ms, it rests (null: "
        "replicas are not looked at).",
    )
    replicas: Items[Annotated[Text, AfterValidator(database)]] = Field(
        default=(),
        max_length=100,
        description="The replicas, as url, with the same password (of PostgreSQL, none: those that "
        "the primary tells of).",
    )
    timeout: Annotated[Duration, Field(le=timedelta(days=1))] = Field(
        default=timedelta(minutes=10),
        description="How long a statement may take; then the database counts as away.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [*self.key, *self.columns, *self.keep]
        names += [each.blind_index for each in self.blind_indexes.values()]
        if twice := next((each for each in names if names.count(each) > 1), None):
            raise refuse(f"{shown(twice)} is named twice in key, columns, keep and searchable")
        if self.json_paths or self.lists:
            self._check_json_paths()
        self._check_searchable()
        self._check_plaintext()
        self._check_replicas()
        check_expects(self.expects, self.codec, self.columns, {*self.json_paths, *self.lists})
        if self.associated_data is not None:
            self._check_associated_data(self.associated_data)
        return self

    @property
    def by_construction(self) -> bool:
        """Whether its ciphertext neither names nor proves its key."""
        if not isinstance(self.codec, LayoutCodecEntry | LayoutsCodecEntry):
            return False
        return not self.codec.checked().traits.authenticated and not self.codec.names_keys

    @property
    def blind_indexes(self) -> dict[tuple[str, int], BlindIndexEntry]:
        """Those of each column, by its name and their number."""
        told = self.searchable.items()
        return {(n, at): each for n, e in told for at, each in enumerate(indexes_of(e))}

    @property
    def searched(self) -> tuple[str, ...]:
        """The columns that are searched by: those that say so, or are deterministic."""
        codec = self.codec
        every = isinstance(codec, RailsCodecEntry) and codec.deterministic
        return tuple(each for each in self.columns if every or each in self.searchable)

    def _check_searchable(self) -> None:
        for name, entry in self.searchable.items():
            if name not in self.columns:
                raise refuse(f"searchable has {shown(name)}, which is none of the columns")
            if name in self.json_paths or name in self.lists:
                what = "JSON" if name in self.json_paths else "a list"
                raise refuse(f"searchable has {shown(name)}, which is {what}")
            rails = isinstance(self.codec, RailsCodecEntry) and self.codec.deterministic
            if entry == DETERMINISTIC and not rails:
                raise refuse(
                    f"{shown(name)} is not deterministic: {codec_name(self.codec)} encrypts the "
                    "same value to another ciphertext each time"
                )
        if self.searched and self.search_two_keys is None:
            raise refuse(
                f"{self.searched[0]} is searched by: set search_two_keys to true if the "
                "application searches under both keys while it has two, else to false"
            )
        if self.search_two_keys is not None and not self.searched:
            raise refuse("search_two_keys belongs to searchable columns, and there are none")

    def _check_json_paths(self) -> None:
        if strange := next((each for each in self.json_paths if each not in self.columns), None):
            raise refuse(f"json_paths has {shown(strange)}, which is none of the columns")
        if strange := next((each for each in self.lists if each not in self.columns), None):
            raise refuse(f"lists has {shown(strange)}, which is none of the columns")
        if twice := next((each for each in self.lists if each in self.json_paths), None):
            raise refuse(f"{shown(twice)} is in json_paths and in lists: it is JSON, or a list")
        bound = self.associated_data is not None
        if self.codec == "tink" or (
            isinstance(self.codec, LayoutCodecEntry | LayoutsCodecEntry)
            and not self.codec.checked(bound=bound).traits.text
        ):
            what = "JSON does" if self.json_paths else "lists do"
            raise refuse(f"{codec_name(self.codec)} is bytes, which {what} not hold")

    def _check_replicas(self) -> None:
        kind = urlsplit(self.url).scheme
        if strange := next((r for r in self.replicas if urlsplit(r).scheme != kind), None):
            raise refuse(f"url is {kind}, and replicas has {shown(urlsplit(strange).scheme)}")
        if self.replica_lag_ms is None:
            if self.replicas:
                raise refuse("has replicas: say how far behind they may be, as replica_lag_ms")
        elif kind not in ("postgresql", "mariadb"):
            raise refuse("replica_lag_ms takes databases of PostgreSQL and MariaDB")
        elif kind == "mariadb" and not self.replicas:
            raise refuse("replica_lag_ms needs replicas: MariaDB's primary knows nothing of them")

    def _check_plaintext(self) -> None:
        if self.plaintext == "refuse":
            return
        bare = isinstance(self.codec, Wso2CodecEntry)
        if isinstance(self.codec, LayoutCodecEntry | LayoutsCodecEntry):
            bare = not self.codec.checked().traits.beginning
        if bare:
            raise refuse(
                f"plaintext is {self.plaintext}, and nothing tells it from damaged ciphertext: "
                "set it to refuse (or begin the layout with text of its own)"
            )

    def _check_associated_data(self, template: str) -> None:
        if isinstance(self.codec, LayoutCodecEntry | LayoutsCodecEntry):
            self.codec.checked(bound=True)
        elif self.codec != "tink":
            words = f"{codec_name(self.codec)} has no associated data"
            raise refuse(f"{words}: leave associated_data out")
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError:
            raise refuse("associated_data has a brace without its other one") from None
        known = {"table", "column", "pk", *self.key}
        for _, name, spec, conversion in parts:
            if name is not None and (name not in known or spec or conversion):
                allowed = ", ".join(f"{{{each}}}" for each in sorted(known))
                raise refuse(f"associated_data takes {allowed}, got {shown(name)}")

    def examine(self) -> EntryFindings:
        """Whether the libraries are there; the database is not asked."""
        for extra, (option, modules) in self.libraries.items():
            missing = (library(each, (option,), extra=extra) for each in modules)
            yield from islice(chain.from_iterable(missing), 1)  # what installs one installs all

    @property
    def libraries(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:
        """By their extra: the option that needs them, and the modules."""
        driver: tuple[str, ...] = ("pymysql",)
        if self.url.startswith("postgresql"):
            driver = ("psycopg",)
        elif self.url.startswith("sqlite"):
            driver = ()
        regexes = [each for each in self.expects.values() if isinstance(each, RegexExpectation)]
        patterns = ("regex",) if regexes or self.others is not None else ()
        needed = {"sql": ("url", ("sqlalchemy", *driver, *patterns))}
        return needed | ({"sodium": ("codec", ("nacl",))} if self.codec == "secretbox" else {})


def _tag(value: object) -> str | None:
    kind = value.get("type", "command") if isinstance(value, dict) else getattr(value, "type", None)
    return f"~{kind}" if kind in ("command", "sql", "files", "kubernetes") else None


OwnDatasetEntry = SqlDatasetEntry | FilesDatasetEntry | KubernetesDatasetEntry
"""What certrotd itself counts and re-encrypts."""
DatasetEntry = Annotated[
    Annotated[CommandDatasetEntry, Tag("~command")]
    | Annotated[SqlDatasetEntry, Tag("~sql")]
    | Annotated[FilesDatasetEntry, Tag("~files")]
    | Annotated[KubernetesDatasetEntry, Tag("~kubernetes")],
    Discriminator(
        _tag,
        custom_error_type=REFUSED,
        custom_error_message="must have type sql, files or kubernetes, or census, a program that "
        "counts",
    ),
]
