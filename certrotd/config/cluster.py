"""A Kubernetes cluster that an entry is about: how to reach it, and names as it takes them."""

import re
from collections.abc import Callable
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from certrotd.config.base import AbsolutePath, Entry, EntryFindings, Text, refuse, shown
from certrotd.config.looks import library, readable

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*", re.ASCII)
_LETTERS = "lower-case letters, digits and '-'"


def _name(pattern: re.Pattern[str], longest: int, what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if len(value) > longest:
            raise refuse(f"must have at most {longest} characters, got {len(value)}")
        if not pattern.fullmatch(value):
            raise refuse(f"must be {what}, got {shown(value)}")
        return value

    return check


Namespace = Annotated[
    str, AfterValidator(_name(_LABEL, 63, f"the name of a namespace: {_LETTERS}, such as shop"))
]
SecretName = Annotated[
    str,
    AfterValidator(
        _name(_SUBDOMAIN, 253, f"the name of a Secret: {_LETTERS} and dots, such as web-tls")
    ),
]
SecretEntry = Annotated[
    str,
    AfterValidator(
        _name(
            re.compile(r"(?!\.\.|\.$)[-._a-zA-Z0-9]+", re.ASCII),
            253,
            "the name of an entry: letters, digits, '-', '_' and dots, such as keys.json",
        )
    ),
]
Instance = Annotated[
    str, AfterValidator(_name(_LABEL, 40, f"a name of {_LETTERS}, such as certrotd"))
]


class ClusterAccessEntry(Entry):
    """What an entry has that is about a cluster: how to reach it, and as whom."""

    kubeconfig: AbsolutePath | None = Field(
        default=None,
        description="The file that says where the cluster is; needs the extra kubernetes (null: "
        "the cluster whose pod certrotd runs in).",
    )
    context: Text | None = Field(
        default=None, description="Which context of the kubeconfig (null: its current one)."
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.context is not None and self.kubeconfig is None:
            raise refuse("context is given, but kubeconfig (the file that has it) is not")
        return self

    def examine(self) -> EntryFindings:
        """The kubeconfig can be read, and what reads it is there."""
        if self.kubeconfig is not None:
            yield from readable(self.kubeconfig, ("kubeconfig",))
            yield from library("kubernetes", ("kubeconfig",), extra="kubernetes")


class ClusterEntry(ClusterAccessEntry):
    """What an entry has that is about a namespace of a cluster."""

    namespace: Namespace | None = Field(
        default=None, description="The namespace (null: that of certrotd's account)."
    )
