"""Datasets of type files: encrypted files below directories."""

import string
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from certrotd.config.base import AbsolutePath, Entry, EntryFindings, Items, Text, refuse, shown
from certrotd.config.codecs import CODEC_ALGORITHMS
from certrotd.config.durations import Duration
from certrotd.config.looks import folder, library, program
from certrotd.config.secrets import Environment


def _pattern(value: str) -> str:
    parts = value.split("/")
    if value.startswith("/") or any(each in ("", ".", "..") for each in parts):
        raise refuse(f'must be a path below the root such as "**/*.enc", got {shown(value)}')
    if next((each for each in parts if "**" in each and each != "**"), None):
        raise refuse(f'"**" stands alone between slashes, as in "**/*.enc", got {shown(value)}')
    return value


Pattern = Annotated[Text, AfterValidator(_pattern)]
Patterns = Annotated[Items[Pattern], Field(max_length=100)]

FILE_ALGORITHMS: dict[str, frozenset[str]] = {
    "stream": CODEC_ALGORITHMS["tink"],
    "tink": CODEC_ALGORITHMS["tink"],
    "fernet": CODEC_ALGORITHMS["fernet"],
    "symmetric-encryption": frozenset(
        f"aes-{bits}-{mode}" for bits in (128, 192, 256) for mode in ("cbc", "gcm")
    ),
    "ansible-vault": frozenset({"passphrase"}),
    "sops": frozenset({"age-x25519"}),
}
"""The algorithms of the keys that each codec of files takes."""
Contains = Annotated[
    Items[Text],
    Field(
        max_length=100,
        description="The secrets in it that would have to be changed at the other end if others "
        "could read them, such as passwords of SMTP relays.",
    ),
]


class SopsEntry(Entry):
    """How the program is run that re-encrypts files of SOPS."""

    program: Text = Field(
        default="sops", description="The program: its path, or a name that PATH finds."
    )
    timeout: Duration = Field(
        default=timedelta(minutes=1), description="How long it may take for a file."
    )
    environment: Environment = Field(
        default={},
        description="More variables for it, such as AWS_PROFILE or GNUPGHOME for other recipients.",
    )


class FilesDatasetEntry(Entry):
    """Files below directories, which certrotd counts and re-encrypts."""

    type: Literal["files"] = Field(description="Encrypted files below directories.")
    roots: Items[AbsolutePath] = Field(
        min_length=1, max_length=100, description="The directories. No symbolic link is followed."
    )
    include: Patterns = Field(
        default=("**",),
        min_length=1,
        description='Which files below them, as in "**/*.enc": "*" and "?" stand within a name, '
        '"**" for any directories.',
    )
    exclude: Patterns = Field(default=(), description="Which of those are left out.")
    codec: Literal["stream", "tink", "fernet", "symmetric-encryption", "ansible-vault", "sops"] = (
        Field(
            default="stream",
            description="What is in them: stream, certrotd's own format for files of any size; the "
            "files of symmetric-encryption, a Ruby gem; one value of tink or fernet; any text with "
            "values of Ansible Vault; or files of SOPS. Of the last four, at most 16 MiB.",
        )
    )
    associated_data: Text | None = Field(
        default=None,
        description='Of tink: what binds a file to its place, as in "backup/{path}"; {path} is '
        "that below the root, {name} its last part (null: nothing).",
    )
    content_keys: Literal["keep", "replace"] = Field(
        default="keep",
        description="Of stream: keep wraps the key of each file anew, and replaces it only if it "
        "may be known to others; replace encrypts all content anew at each rotation.",
    )
    content: Literal["utf8"] | None = Field(
        default=None,
        description="Of symmetric-encryption: that all files are text, by which a wrong key is "
        "told where nothing else tells it: in files of AES-CBC that are not compressed and have no "
        "key of their own (null: such files are not re-encrypted).",
    )
    vault_ids: Literal["keep", "key"] = Field(
        default="keep",
        description="Of ansible-vault, the vault id of a value that is re-encrypted: keep leaves "
        "it as it is, key makes it the id of the key.",
    )
    sops: SopsEntry = Field(
        default_factory=SopsEntry, description="Of sops: how the program is run."
    )
    content_cipher: Literal["cobblestone-256", "aes-256-gcm-hkdf"] = Field(
        default="cobblestone-256",
        description="Of stream: what encrypts content; that of files which another cipher encrypts "
        "is encrypted anew by their next re-encryption.",
    )
    contains: Contains = ()
    plaintext: Literal["refuse", "encrypt", "leave"] = Field(
        default="refuse",
        description="What is done about files that are no ciphertext: refuse stops the "
        "re-encryption.",
    )
    may_be_empty: bool = Field(
        default=False, description="Whether a root without any file may be believed."
    )
    files_per_second: int | None = Field(
        default=None, ge=1, le=10**9, description="It goes no faster (null: as fast as it can)."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for number, root in enumerate(self.roots):
            for other in self.roots[:number]:
                if root.is_relative_to(other) or other.is_relative_to(root):
                    raise refuse(f"the roots {other} and {root} lie one in the other")
        if self.codec != "stream" and self.content_keys != "keep":
            raise refuse(f"{self.codec} has no content keys: leave content_keys out")
        if self.codec != "stream" and self.content_cipher != "cobblestone-256":
            raise refuse(f"{self.codec} has no content cipher: leave content_cipher out")
        if self.codec != "symmetric-encryption" and self.content is not None:
            raise refuse(f"{self.codec} tells a wrong key by itself: leave content out")
        if self.codec != "ansible-vault" and self.vault_ids != "keep":
            raise refuse(f"{self.codec} has no vault ids: leave vault_ids out")
        if self.codec == "ansible-vault" and self.plaintext != "refuse":
            raise refuse("in files with values of ansible-vault, plaintext stays: leave it out")
        if self.codec == "sops" and self.plaintext == "encrypt":
            raise refuse("rules of SOPS say what it encrypts of a file: use refuse or leave")
        if self.codec != "sops" and "sops" in self.model_fields_set:
            raise refuse(f"{self.codec} needs no program: leave sops out")
        if self.associated_data is not None:
            self._check_associated_data(self.associated_data)
        return self

    @property
    def algorithms(self) -> frozenset[str]:
        """The keys that its codec takes."""
        return FILE_ALGORITHMS[self.codec]

    @property
    def is_streamed(self) -> bool:
        """Whether files may be of any size."""
        return self.codec in ("stream", "symmetric-encryption")

    @property
    def libraries(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:
        """As SqlDatasetEntry.libraries."""
        return {"escrow": ("codec", ("pyrage",))} if self.codec == "sops" else {}

    @property
    def batch(self) -> int:
        """So many are re-encrypted between two looks at whether to stop."""
        return 20 if self.codec == "sops" else 1000

    def _check_associated_data(self, template: str) -> None:
        if self.codec != "tink":
            raise refuse(f"{self.codec} has no associated data: leave associated_data out")
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError:
            raise refuse("associated_data has a brace without its other one") from None
        for _, name, spec, conversion in parts:
            if name is not None and (name not in ("path", "name") or spec or conversion):
                raise refuse(f"associated_data takes {{name}}, {{path}}, got {shown(name)}")

    def bound(self, path: str) -> str:
        """The associated data of a file, by its path below the root."""
        template = self.associated_data or ""
        return template.format(path=path, name=PurePosixPath(path).name)

    def examine(self) -> EntryFindings:
        """Whether the roots are there now; nothing in them is looked at."""
        for number, root in enumerate(self.roots):
            for loc, finding in folder(root, ("roots", number)):
                yield loc, replace(finding, fatal=False)  # it may be mounted later
        if self.codec == "sops":
            path = self.sops.environment.get("PATH")
            found = path if isinstance(path, str) else None
            yield from program(self.sops.program, ("sops", "program"), path=found)
        for extra, (option, modules) in self.libraries.items():
            for module in modules:
                yield from library(module, (option,), extra=extra)
