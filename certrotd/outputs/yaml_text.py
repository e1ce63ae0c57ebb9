"""YAML files of others, read without their tags, anchors and aliases, and changed in place.

PyYAML's nodes know where they stand: only the items of one list are replaced, and the file is read
again to see that nothing else changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.outputs.errors import NotExpressible
from certrotd.outputs.reading import text_of

if TYPE_CHECKING:
    import yaml

MOST = 128 * 1024
"""The most that a YAML file may be, in bytes: PyYAML reads some 100 KB in a second."""
_DEEPEST = 20
_STR = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
BINARY = frozenset({"!binary", "tag:yaml.org,2002:binary"})
"""Ruby's local tag, and YAML's own."""

Item = str | Mapping[str, str]
"""A new item of a list: a text, or a mapping of texts."""


@dataclass(frozen=True)
class Document:
    """A file's text, and the node of its one document; None where it is empty."""

    path: Path
    text: str
    root: yaml.Node | None


def read(path: Path, data: bytes | None, *, tags: frozenset[str] = frozenset()) -> Document:
    """The document; raises NotExpressible for anything but plain mappings, lists and scalars."""
    import yaml

    text = "" if data is None else text_of(path, data, most=MOST)
    if "<%" in text:
        raise NotExpressible(
            f"{path} is an ERB template, which is not rewritten",
            hint="let the application read a file of certrotd's own instead",
        )
    try:
        root = _loader(path, tags)(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise NotExpressible(f"{path}{line}: it is not one YAML document") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise NotExpressible(f"{path} is not YAML") from None
    return Document(path, text, None if root is None or _is_null(root) else root)


def _loader(path: Path, tags: frozenset[str]) -> Callable[[str], yaml.SafeLoader]:
    import yaml

    class Plain(yaml.SafeLoader):
        """Composes nodes, and refuses what would not be written again."""

        depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            where = f"{path}, line {event.start_mark.line + 1}"
            if getattr(event, "anchor", None) is not None:
                raise NotExpressible(
                    f"{where}: anchors and aliases are not rewritten", hint="write it out"
                )
            if getattr(event, "tag", None) not in (None, *tags):
                raise NotExpressible(f"{where}: its tag is not one that certrotd writes")
            self.depth += 1
            if self.depth > _DEEPEST:
                raise NotExpressible(f"{where}: it is nested too deeply")
            node = super().compose_node(parent, index)
            self.depth -= 1
            if isinstance(node, yaml.MappingNode):
                _unique(node, path)
            return node

    return Plain


def _unique(node: yaml.MappingNode, path: Path) -> None:
    known: set[str] = set()
    for key, _ in node.value:
        where = f"{path}, line {key.start_mark.line + 1}"
        if not _is_scalar(key):
            raise NotExpressible(f"{where}: a mapping or a list stands as a name")
        if key.value in known or key.value == "<<":
            raise NotExpressible(f"{where}: a name is there twice, or merges another mapping")
        known.add(key.value)


def _is_scalar(node: yaml.Node) -> bool:
    import yaml

    return isinstance(node, yaml.ScalarNode)


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == _NULL)


def entries(document: Document, node: yaml.Node | None, what: str) -> Mapping[str, yaml.Node]:
    """The values of a mapping by their names; raises NotExpressible for anything else."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise NotExpressible(f"{document.path}: {what} is not a mapping")
    return {key.value: value for key, value in node.value}


def items(document: Document, node: yaml.Node | None, what: str) -> Sequence[yaml.Node]:
    """The items of a list; raises NotExpressible for anything else."""
    import yaml

    if not isinstance(node, yaml.SequenceNode):
        raise NotExpressible(f"{document.path}: {what} is not a list")
    return list(node.value)


def text(document: Document, node: yaml.Node | None, what: str) -> str:
    """A text; raises NotExpressible for a number, a date or what is no scalar."""
    if node is None or not _is_scalar(node) or node.tag != _STR:
        raise NotExpressible(
            f"{document.path}: {what} is not text", hint="put it in quotes if it looks otherwise"
        )
    return str(node.value)


def is_text(node: yaml.Node) -> bool:
    """Whether it is a scalar that is text."""
    return _is_scalar(node) and bool(node.tag == _STR)


def is_empty(node: yaml.Node) -> bool:
    """Whether nothing stands there."""
    return _is_null(node) or node.value == []


def replaced(document: Document, node: yaml.Node, new: Sequence[Item]) -> bytes:
    """The file with these items in the place of ``node``: a list, a text, or nothing.

    Raises NotExpressible where comments between the items would be lost, or where the rest of the
    document would change.
    """
    import yaml

    whole = document.text
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
        scalars = list(_scalars(node))
        end = _end(node)
        column = whole[whole.rfind("\n", 0, start) + 1 : start]
        indent = " " * len(column)
        ending = "\r\n" if "\r\n" in whole else "\n"
        written = f"{ending}{indent}".join(_block(item, indent, ending) for item in new)
    else:
        scalars = list(_scalars(node))
        inline = ", ".join(_flow(item) for item in new)
        one = len(new) == 1 and is_text(node)
        written = inline if one else f"[{inline}]"
        if start and whole[start - 1] not in " \t\n":
            written = f" {written}"  # nothing stands behind a colon
    if any("#" in gap for gap in _gaps(whole, start, end, scalars)):
        raise NotExpressible(
            f"{document.path}: comments between the keys would be lost",
            hint="write them above the list",
        )
    changed = (whole[:start] + written + whole[end:]).encode("utf-8")
    place = _place(document.root, node)
    if _form(document.root, place) != _form(_again(document, changed), place):
        raise NotExpressible(
            f"{document.path}: its keys cannot be changed without changing the rest",
            hint="write each key as one word, in quotes",
        )
    return changed


def created(document: Document, names: Sequence[str], new: Sequence[Item]) -> bytes:
    """The file with a new list at the end, under these names, of which the first is new."""
    ending = "\r\n" if "\r\n" in document.text else "\n"
    begun = "" if not document.text or document.text.endswith("\n") else ending
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(names)]
    indent = "  " * len(names)
    lines += [f"{indent}{_block(item, indent, ending)}" for item in new]
    changed = (document.text + begun + ending.join(lines) + ending).encode("utf-8")
    anew = _again(document, changed)
    before = [] if document.root is None else document.root.value
    whole, count = _form(anew, None), len(before)
    old = _form(document.root, None) if before else ()
    if not isinstance(whole, tuple) or len(whole) != count + 1 or whole[:count] != old:
        raise NotExpressible(
            f"{document.path}: {names[0]} cannot be added at its end",
            hint=f"write {'.'.join(names)} with an empty list, []",
        )
    return changed


def _block(item: Item, indent: str, ending: str) -> str:
    if isinstance(item, str):
        return f"- {json.dumps(item)}"
    lines = [f"{name}: {json.dumps(value)}" for name, value in item.items()]
    return "- " + f"{ending}{indent}  ".join(lines)


def _flow(item: Item) -> str:
    if isinstance(item, str):
        return json.dumps(item)
    return "{" + ", ".join(f"{name}: {json.dumps(value)}" for name, value in item.items()) + "}"


def _scalars(node: yaml.Node) -> Iterator[tuple[int, int]]:
    """Where the scalars within a node stand, in the order of the file."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        yield node.start_mark.index, node.end_mark.index
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    else:
        for key, value in node.value:
            yield from _scalars(key)
            yield from _scalars(value)


def _end(node: yaml.Node) -> int:
    """Where a node ends, without the blank lines and comments that PyYAML counts to a block."""
    import yaml

    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(node, yaml.MappingNode) else last)
    return int(node.end_mark.index)


def _gaps(whole: str, start: int, end: int, scalars: Sequence[tuple[int, int]]) -> Iterator[str]:
    at = start
    for first, last in scalars:
        yield whole[at:first]
        at = last
    yield whole[at:end]


def _again(document: Document, changed: bytes) -> yaml.Node | None:
    """The changed document's node; None where it is no document any more."""
    try:
        return read(document.path, changed).root
    except NotExpressible:
        return None


def _place(tree: yaml.Node | None, node: yaml.Node) -> tuple[int, ...] | None:
    """Which child of which child ``node`` is; None where it is none."""
    if tree is node:
        return ()
    for index, child in enumerate(_children(tree)):
        if (below := _place(child, node)) is not None:
            return index, *below
    return None


def _children(tree: yaml.Node | None) -> Sequence[yaml.Node]:
    import yaml

    if isinstance(tree, yaml.MappingNode):
        return [value for _, value in tree.value]
    return tree.value if isinstance(tree, yaml.SequenceNode) else ()


def _form(tree: yaml.Node | None, without: tuple[int, ...] | None) -> object:
    """A document as nested tuples, but for the node at that place."""
    import yaml

    if without == () or tree is None:
        return None
    if not isinstance(tree, yaml.CollectionNode):
        return tree.tag, tree.value
    below = [
        _form(child, without[1:] if without and without[0] == index else None)
        for index, child in enumerate(_children(tree))
    ]
    if isinstance(tree, yaml.MappingNode):
        names = (key.value for key, _ in tree.value)
        return tuple(zip(names, below, strict=True))
    return tree.tag, *below
