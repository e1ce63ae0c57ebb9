"""Where a certificate is kept, if not in files: one class per type of store."""

import re
from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from certrotd.config.base import AbsolutePath, Entry, EntryFindings, Items, Text, refuse, shown
from certrotd.config.looks import readable
from certrotd.config.secrets import SecretRef

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*", re.ASCII)


def _name(pattern: re.Pattern[str], longest: int, what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if len(value) > longest or not pattern.fullmatch(value):
            raise refuse(f"must be {what}, got {shown(value)}")
        return value

    return check


_LETTERS = "lower-case letters, digits and '-'"
Namespace = Annotated[
    str,
    AfterValidator(_name(_LABEL, 63, f"the name of a namespace: {_LETTERS}, such as shop")),
]
SecretName = Annotated[
    str,
    AfterValidator(
        _name(_SUBDOMAIN, 253, f"the name of a Secret: {_LETTERS} and dots, such as web-tls")
    ),
]
Instance = Annotated[
    str, AfterValidator(_name(_LABEL, 40, f"a name of {_LETTERS}, such as certrotd"))
]


class KubernetesStoreEntry(Entry):
    """A Secret of a Kubernetes cluster."""

    type: Literal["kubernetes"] = Field(
        description="A Secret of type kubernetes.io/tls in a Kubernetes cluster."
    )
    secret: SecretName = Field(description="Its name.")
    namespace: Namespace | None = Field(
        default=None, description="Its namespace (null: that of certrotd's account)."
    )
    generations: Namespace | None = Field(
        default=None,
        description="Where certrotd keeps the generations, in Secrets of its own (null: the same "
        "namespace).",
    )
    instance: Instance = Field(
        default="certrotd",
        description="Tells several certrotd apart that keep generations in one namespace.",
    )
    adopt: bool = Field(
        default=False,
        description="Whether to take over a Secret that somebody else made: its pair is the first "
        "generation. Otherwise certrotd refuses to replace it.",
    )
    keys: Items[Literal["ca.crt", "combined.pem", "keystore.p12"]] = Field(
        default=(),
        description="What the Secret has beside tls.crt and tls.key: ca.crt (the top of the "
        "chain), combined.pem (key and chain), keystore.p12 (both as PKCS#12).",
    )
    keystore_password: SecretRef | None = Field(
        default=None, description="The password of keystore.p12 (null: an empty one)."
    )
    kubeconfig: AbsolutePath | None = Field(
        default=None,
        description="The file that says where the cluster is; needs the extra kubernetes (null: "
        "the cluster whose pod certrotd runs in).",
    )
    context: Text | None = Field(
        default=None, description="Which context of the kubeconfig (null: its current one)."
    )

    def password(self) -> bytes:
        """That of keystore.p12."""
        secret = self.keystore_password
        return b"" if secret is None else secret.resolve().reveal()

    def examine(self) -> EntryFindings:
        """The kubeconfig can be read."""
        if self.kubeconfig is not None:
            yield from readable(self.kubeconfig, ("kubeconfig",))

    @model_validator(mode="after")
    def _together(self) -> Self:
        if len(set(self.keys)) < len(self.keys):
            raise refuse("keys names one of them twice: keep one")
        if self.keystore_password is not None and "keystore.p12" not in self.keys:
            raise refuse("keystore_password is given, but keys does not name keystore.p12")
        if self.context is not None and self.kubeconfig is None:
            raise refuse("context is given, but kubeconfig (the file that has it) is not")
        return self


StoreEntry = KubernetesStoreEntry
"""Any of them: there is one so far."""
