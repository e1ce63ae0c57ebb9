"""What a replica answers that waits to take over: that it is well, and who is at work."""

from __future__ import annotations

from certrotd.daemon.http.metrics import CONTENT, standby_exposition
from certrotd.daemon.http.request import Request, RequestRefused
from certrotd.daemon.http.response import Response
from certrotd.daemon.http.server import HEALTH


class Standby:
    """Answers in the place of App. ``words`` says whom it waits for."""

    def __init__(self) -> None:
        self.words = ""

    def __call__(self, request: Request) -> Response:
        if request.path in HEALTH:
            # ready for what it is there for: whoever replaces the one at work need not wait for it
            return Response("ok: stands by\n")
        if request.path == "/metrics":
            return Response(standby_exposition(), CONTENT)
        raise RequestRefused(503, f"this replica {self.words or 'waits to take over'}")
