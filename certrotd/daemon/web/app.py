"""Which address answers what."""

from __future__ import annotations

from collections.abc import Callable

from certrotd.certs.policy import KIND
from certrotd.daemon.web.answer import HTML, JSON, TEXT, Answer
from certrotd.daemon.web.detail import detail
from certrotd.daemon.web.layout import ICON, style
from certrotd.daemon.web.machine import status_json
from certrotd.daemon.web.metrics import CONTENT, exposition
from certrotd.daemon.web.overview import overview
from certrotd.daemon.web.request import Refused, Request
from certrotd.daemon.web.sources import Sources, look_around

_CERTIFICATE = f"/{KIND}/"


class App:
    """Answers requests from ``sources``; raises Refused, or what reading the files raises."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._pages: dict[str, Callable[[Request], Answer]] = {
            "/": lambda request: Answer(overview(sources, request.query), HTML),
            "/livez": lambda _request: _health(sources.board.dead()),
            "/readyz": lambda _request: _health(sources.board.unready()),
            "/metrics": lambda _request: Answer(exposition(look_around(sources)), CONTENT),
            "/status.json": lambda request: Answer(status_json(sources, request.query), JSON),
            "/style.css": _style,
            "/icon.svg": lambda _request: Answer(ICON, "image/svg+xml"),
        }

    def __call__(self, request: Request) -> Answer:
        if page := self._pages.get(request.path):
            return page(request)
        if request.path.startswith(_CERTIFICATE):
            name = request.path.removeprefix(_CERTIFICATE)
            return Answer(detail(self._sources, name), HTML)
        raise Refused(404, "there is no such page: see /, /status.json, /metrics, /readyz, /livez")


def _health(trouble: str) -> Answer:
    return Answer(f"{trouble or 'ok'}\n", TEXT, 503 if trouble else 200)


def _style(request: Request) -> Answer:
    """Kept by browsers for as long as they like where the address tells the content."""
    text, address = style()
    return Answer(
        text, "text/css; charset=utf-8", keep=address.endswith(f"={request.query.get('v')}")
    )
