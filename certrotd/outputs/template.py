"""Keys in a form of the operator's own: a Jinja2 template that sees the keys, and nothing else.

What a template writes, certrotd does not read: nothing is adopted from it, an edited file is told
by its bytes alone, and a preflight renders it. It can loop over keys, compare, and use a few
filters; it calls nothing, sets no variable and includes no file, so that its time and size have
bounds.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certrotd.keyring.age_keys import identity_of, recipient_of
from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.outputs.errors import TemplateFailed
from certrotd.outputs.port import (
    Contents,
    Imported,
    Present,
    Traits,
    deliverable,
    encrypting_first,
)

if TYPE_CHECKING:
    import jinja2
    from jinja2 import nodes

MAX_SOURCE = 16 * 1024
MAX_RESULT = 1024 * 1024
MAX_ROUNDS = 10_000
"""The most rounds that all loops of one rendering take together."""
MAX_NUMBER = 1000
FILTERS = ("first", "join", "last", "length", "list", "lower", "reverse", "tojson", "upper")
_NODES = frozenset(
    {
        "Template",
        "Output",
        "TemplateData",
        "For",
        "If",
        "Name",
        "Const",
        "Getattr",
        "Getitem",
        "Filter",
        "Test",
        "Compare",
        "Operand",
        "And",
        "Or",
        "Not",
        "Concat",
        "CondExpr",
    }
)
_TESTS = frozenset({"defined", "none", "sameas", "eq", "ne", "true", "false"})
_LOOPED = frozenset({"Name", "Getattr"})


@dataclass(frozen=True)
class Template:
    """``source`` is the template's text, ``name`` what messages call it."""

    path: Path
    source: str = field(repr=False)
    name: str
    algorithm: Algorithm
    capacity: int | None = None
    secondary: bool = True

    @cached_property
    def traits(self) -> Traits:
        """As the operator tells it; nothing is read back."""
        return Traits(
            "template",
            self.capacity,
            frozenset({self.algorithm}),
            secondary=self.secondary and self.capacity != 1,
            readable=False,
        )

    def paths(self, present: Present) -> Sequence[Path]:
        """The file."""
        del present
        return (self.path,)

    def check(self, present: Present) -> None:
        """Raises TemplateFailed for a template that fails for keys of zeros.

        It replaces whatever is there.
        """
        self.render(_sample(self.algorithm, secondary=self.traits.secondary), present)

    def parse(self, present: Present) -> Imported | None:
        """None: no keys can be read from what a template writes."""
        del present
        return None

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """The whole file; raises TemplateFailed."""
        del present
        deliverable(delivery, self.traits)
        template, budget = self._compiled()
        budget.left = MAX_ROUNDS
        parts: list[str] = []
        size = 0
        try:
            for part in template.generate(_shown(delivery)):
                size += len(part.encode("utf-8"))
                if size > MAX_RESULT:
                    raise self._failed(None, f"it writes more than {MAX_RESULT} bytes")
                parts.append(part)
        except TemplateFailed:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an expression of the operator's raises
            raise self._failed(_line_of(error), _reason(error)) from None
        return {self.path: "".join(parts).encode("utf-8")}

    def _compiled(self) -> tuple[jinja2.Template, _Budget]:
        import jinja2
        from jinja2 import nodes
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if len(self.source) > MAX_SOURCE:
            raise self._failed(None, f"it has more than {MAX_SOURCE} characters")
        environment = ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined, keep_trailing_newline=True, cache_size=0
        )
        budget = _Budget()
        every = environment.filters
        environment.filters = {name: every[name] for name in FILTERS} | {_COUNTED: budget.counted}
        environment.globals.clear()
        try:
            tree = environment.parse(self.source)
            self._within_bounds(tree)
            for loop in list(tree.find_all(nodes.For)):
                loop.iter = nodes.Filter(
                    loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno
                )
            return jinja2.Template.from_code(
                environment, environment.compile(tree, self.name), {}
            ), budget
        except TemplateFailed:
            raise
        except jinja2.TemplateSyntaxError as error:
            raise self._failed(error.lineno, error.message or "it is no template") from None
        except (RecursionError, MemoryError, SyntaxError, ValueError):
            raise self._failed(None, "it is nested too deeply") from None

    def _within_bounds(self, node: nodes.Node) -> None:
        kind = type(node).__name__
        if kind not in _NODES:
            raise self._failed(node.lineno, f"a template does not use {kind} here")
        known: Mapping[str, Iterable[str]] = {"Filter": FILTERS, "Test": _TESTS}
        if kind in known and (name := getattr(node, "name", "")) not in known[kind]:
            allowed = ", ".join(sorted(known[kind]))
            raise self._failed(node.lineno, f"{name} is not one of {allowed}")
        if kind == "For":
            self._plain_loop(node)
        if kind == "Filter" and any(
            type(each).__name__ != "Const" for each in getattr(node, "args", ())
        ):
            raise self._failed(node.lineno, "a filter takes plain values only")
        value = getattr(node, "value", None)
        if kind == "Const" and isinstance(value, int | float) and not 0 <= value <= MAX_NUMBER:
            raise self._failed(node.lineno, f"a number is none from 0 to {MAX_NUMBER}")
        for child in node.iter_child_nodes():
            self._within_bounds(child)

    def _plain_loop(self, node: Any) -> None:
        if node.recursive or type(node.iter).__name__ not in _LOOPED:
            raise self._failed(node.lineno, "a loop goes over keys or others, and not recursively")

    def _failed(self, line: int | None, why: str) -> TemplateFailed:
        where = f"{self.name}, line {line}" if line else self.name
        return TemplateFailed(f"{where}: {why}", hint="correct the template")


_COUNTED = "certrotd_counted"


class _Spent(Exception):
    pass


class _Budget:
    """How many more rounds the loops of one rendering may take."""

    left = MAX_ROUNDS

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """``values``, each of which is counted."""
        for value in values:
            self.left -= 1
            if self.left < 0:
                raise _Spent
            yield value


def _reason(error: Exception) -> str:
    """Why, without the error's own message: it may quote a key."""
    import jinja2

    match error:
        case _Spent():
            return f"its loops take more than {MAX_ROUNDS} rounds"
        case jinja2.exceptions.SecurityError():
            return "it uses what a template may not"
        case jinja2.UndefinedError():
            return "it uses a name that is not defined"
    return f"it raises {type(error).__name__}"


def _line_of(error: Exception) -> int | None:
    """The line of the template, which Jinja2 writes into the traceback."""
    line, at = None, error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == "<template>":
            line = at.tb_lineno
        at = at.tb_next
    return line


def _sample(algorithm: Algorithm, *, secondary: bool) -> Delivery:
    """A delivery of one key or two, which are no keys."""
    begin, keys = datetime(2000, 1, 1, tzinfo=UTC), []
    for number, state in enumerate((State.ACTIVE, State.SECONDARY)[: 1 + secondary], 1):
        zero = b"0" if algorithm is Algorithm.PASSPHRASE else b"\0"
        key = DataKey(number, algorithm, Material(zero * algorithm.key_bytes))
        keys.append(Delivered(key, state, begin))
    return Delivery("sample", keys, 1)


def _shown(delivery: Delivery) -> dict[str, Any]:
    """What a template sees: keys oldest first, and others without the one that encrypts."""
    known = {each.key.version: _key(each, delivery) for each in delivery.keys}
    order = [key.version for key in encrypting_first(delivery)]
    secondary = delivery.secondary
    return {
        "keyring": delivery.keyring,
        "hash": delivery.hash,
        "keys": [known[version] for version in sorted(order)],
        "active": known[order[0]],
        "others": [known[version] for version in order[1:]],
        "secondary": known[secondary.key.version] if secondary else None,
    }


def _is_text(key: DataKey) -> bool:
    return (
        key.algorithm is Algorithm.PASSPHRASE
        and re.fullmatch(rb"[!-~]+", key.material.reveal()) is not None
    )


def _key(each: Delivered, delivery: Delivery) -> dict[str, Any]:
    secret, key = each.key.material.reveal(), each.key
    shown = {"text": secret.decode("ascii")} if _is_text(key) else {}
    if key.algorithm is Algorithm.AGE_X25519:
        shown = {"identity": identity_of(key), "recipient": recipient_of(key)}
    return shown | {
        "version": key.version,
        "id": key.id or str(key.version),
        "algorithm": str(key.algorithm),
        "state": str(each.state),
        "active": key.version == delivery.active,
        "secondary": each.state is State.SECONDARY,
        "created": f"{each.created.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "hex": secret.hex(),
        "base64": base64.b64encode(secret).decode("ascii"),
        "base64url": base64.urlsafe_b64encode(secret).decode("ascii"),
        "iv": base64.b64encode(key.iv).decode("ascii"),
    }
