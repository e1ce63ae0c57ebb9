"""A page as a reader has it: asked for, well-formed, and taken apart."""

from __future__ import annotations

from html.parser import HTMLParser

from certrotd.daemon.http.app import App
from certrotd.daemon.http.request import Request
from certrotd.daemon.http.response import Response
from tests.unit.daemon.http.stand import Stand

_VOID = {"meta", "link", "input", "rect", "path", "br"}


def ask(stand: Stand, path: str, **query: str) -> Response:
    """What is answered."""
    return App(stand.sources)(Request(path, query))


def text(stand: Stand, path: str = "/", **query: str) -> str:
    """The whole body."""
    body = ask(stand, path, **query).body
    return body if isinstance(body, str) else "".join(body)


class Page(HTMLParser):
    """A page as a tree flattened: well-formed, its words, and its attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len({name for name, _ in attrs}), tag
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        """What a reader reads."""
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such element."""
        return [attributes for name, attributes in self.tags if name == tag]


def page(stand: Stand, path: str = "/", **query: str) -> Page:
    """A page, which must be well-formed, without script, style attribute or foreign address."""
    read = Page(text(stand, path, **query))
    assert not read.all("script")
    for tag, attributes in read.tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "src", "action"):
            where = attributes.get(name)
            assert where is None or where == "" or where.startswith(("/", "#")), where
            assert not (where or "").startswith("//"), where
    return read


def names(read: Page) -> list[str]:
    """The certificates a page lists, in its order."""
    tags = [tag for tag, _ in read.tags]
    listed = read.tags[tags.index("table") :] if "table" in tags else []
    links = [attributes["href"] or "" for tag, attributes in listed if tag == "a"]
    return [
        link.removeprefix("/certificate/") for link in links if link.startswith("/certificate/")
    ]
