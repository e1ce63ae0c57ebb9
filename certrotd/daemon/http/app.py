"""Which address answers what."""

from __future__ import annotations

from collections.abc import Callable

from certrotd.daemon.http.assets import icon, style
from certrotd.daemon.http.json_api import status_json
from certrotd.daemon.http.metrics import CONTENT, exposition
from certrotd.daemon.http.overview import overview
from certrotd.daemon.http.request import Request, RequestRefused
from certrotd.daemon.http.response import HTML, JSON, TEXT, Response
from certrotd.daemon.http.sources import Sources, look_around
from certrotd.daemon.http.subject_page import subject_page
from certrotd.errors import InvalidInput
from certrotd.id import Id


class App:
    """Answers requests from ``sources``; raises RequestRefused and what reading files raises."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._pages: dict[str, Callable[[Request], Response]] = {
            "/": lambda request: Response(overview(sources, request.query), HTML),
            "/livez": lambda _request: _health(sources.board.dead()),
            "/readyz": lambda _request: _health(sources.board.unready()),
            "/metrics": lambda _request: Response(exposition(look_around(sources)), CONTENT),
            "/status.json": lambda request: Response(status_json(sources, request.query), JSON),
            "/style.css": _style,
            "/icon.svg": lambda _request: Response(icon(), "image/svg+xml"),
        }

    def __call__(self, request: Request) -> Response:
        if page := self._pages.get(request.path):
            return page(request)
        if subject := _subject(request.path):
            return Response(subject_page(self._sources, subject), HTML)
        raise RequestRefused(
            404, "there is no such page: see /, /status.json, /metrics, /readyz, /livez"
        )


def _subject(path: str) -> Id | None:
    """What the page at ``path`` is about; None where the path is no id."""
    try:
        return Id.parse(path.removeprefix("/"))
    except InvalidInput:
        return None


def _health(trouble: str) -> Response:
    return Response(f"{trouble or 'ok'}\n", TEXT, 503 if trouble else 200)


def _style(request: Request) -> Response:
    """Kept by browsers for as long as they like where the address tells the content."""
    text, address = style()
    return Response(
        text, "text/css; charset=utf-8", keep=address.endswith(f"={request.query.get('v')}")
    )
