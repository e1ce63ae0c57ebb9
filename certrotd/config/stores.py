"""Where a certificate is kept, if not in files: one class per type of store."""

from typing import Literal, Self

from pydantic import Field, model_validator

from certrotd.config.base import Items, refuse
from certrotd.config.cluster import ClusterEntry, Instance, Namespace, SecretName
from certrotd.config.secrets import SecretRef


class KubernetesStoreEntry(ClusterEntry):
    """A Secret of a Kubernetes cluster."""

    type: Literal["kubernetes"] = Field(
        description="A Secret of type kubernetes.io/tls in a Kubernetes cluster."
    )
    secret: SecretName = Field(description="Its name.")
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

    def password(self) -> bytes:
        """That of keystore.p12."""
        secret = self.keystore_password
        return b"" if secret is None else secret.resolve().reveal()

    @model_validator(mode="after")
    def _together(self) -> Self:
        if len(set(self.keys)) < len(self.keys):
            raise refuse("keys names one of them twice: keep one")
        if self.keystore_password is not None and "keystore.p12" not in self.keys:
            raise refuse("keystore_password is given, but keys does not name keystore.p12")
        return self


StoreEntry = KubernetesStoreEntry
"""Any of them: there is one so far."""
