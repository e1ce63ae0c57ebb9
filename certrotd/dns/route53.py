"""Publishing through Amazon Route 53.

boto3 makes, signs and reads the requests; what carries them is certrotd's own client: bounded,
within a deadline, and by no proxy unless asked. Records of one name and type are replaced at once
there: what is there is read first and kept, and only one of certrotd's processes on a machine does
so at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

from certrotd.clock import Deadline
from certrotd.config.context import SolverContext
from certrotd.config.dns_providers import Route53Entry
from certrotd.config.secrets import Reference
from certrotd.dns.api import (
    Reach,
    Requests,
    check_within,
    no_zone,
    read,
    unreadable,
    word,
    zone_chosen,
)
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.dns.route53_answers import Content, Values, apex, txt, zones
from certrotd.dns.turns import Turn, in_turn, turns, unlimited
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.extras import how_to_install
from certrotd.https.waits import asked_wait
from certrotd.kek.aws_session import aws_session
from certrotd.kek.bounded import within
from certrotd.kek.vendor_client import hush
from certrotd.rotation.stopping import acquired

Ask = Callable[..., Any]
"""What a function takes from the answer to one operation: its name in boto3, and what it is given.
"""

Credentials = tuple[Reference, Reference, Reference | None]
"""The access key's id, its secret, and a session token."""

_BUSY = frozenset({"Throttling", "ThrottlingException", "PriorRequestNotComplete"})
_DENIED = frozenset({"IncompleteSignature", "ExpiredToken", "ExpiredTokenException"})
_OURS = frozenset({"host", "content-length", "user-agent"})
_MAX_PAGES = 100
_PAUSE, _LONGEST_PAUSE = 2.0, 15.0


class Throttled(Transient):
    """It was not done, because the account has asked too much in this second."""


class Route53:
    """A solver for hosted zones; ``ttl`` is in seconds, ``pause`` between two looks at a change.

    ``zone_of`` gives the zone that holds a name; ``zone_id`` is the hosted zone's, else it is the
    public one of that name. Without ``credentials`` (read for each act) they are found as every AWS
    SDK finds them.
    """

    def __init__(
        self,
        reach: Reach,
        *,
        zone_of: Callable[[str, Deadline], str],
        zone_id: str | None = None,
        credentials: Credentials | None = None,
        profile: str | None = None,
        endpoint: str | None = None,
        ttl: int = 60,
        pause: float = _PAUSE,
        turn: Turn = unlimited,
    ) -> None:
        self._what = reach.what
        self._keeper = f"what has the credentials of {self._what}"
        self._timeout = reach.timeout
        self._proxy = reach.proxy
        self._requests = Requests(reach)
        self._zone_of = zone_of
        self._zone_id = zone_id
        self._zone: str | None = None
        """That of ``zone_id``, once it is known."""
        self._credentials = credentials
        self._profile = profile
        self._endpoint = endpoint
        self._ttl = ttl
        self._pause = pause
        self._turn = turn
        self._making = threading.Lock()
        self._session: Any = None

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.present; returns when all of Route 53's servers have the value.

        Raises Unpublished where it is refused, or there is no such zone; Transient if it is away.
        """
        self._check(record.name)
        with self._asking(deadline) as ask:
            zone = self._hosted(ask, record.name, deadline)
            with in_turn(self._turn, deadline):
                there, _ = self._values(ask, zone, record.name)
                if _quoted(record) in there:
                    return  # and whether all servers have it, the look at them tells
                values = (*there, _quoted(record))
                change = self._change(ask, zone, record.name, "UPSERT", values, self._ttl)
            self._synced(ask, change, deadline)

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.withdraw, without waiting for all servers; raises as :meth:`present`."""
        with self._asking(deadline) as ask:
            zone = self._hosted(ask, record.name, deadline)
            with in_turn(self._turn, deadline):
                there, ttl = self._values(ask, zone, record.name)
                others = tuple(each for each in there if each != _quoted(record))
                if others and len(others) < len(there):
                    self._change(ask, zone, record.name, "UPSERT", others, ttl)
                elif not others and there:
                    # Route 53 takes it only as it is now: another's value of this moment stays
                    self._change(ask, zone, record.name, "DELETE", there, ttl)

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """Find credentials, and boto3; nothing is asked."""
        with self._asking(deadline):
            pass

    def covers(self, name: str, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """As Coverage.covers; raises as :meth:`present`."""
        with self._asking(deadline) as ask:
            hosted = self._hosted(ask, name, deadline)
            if self._zone_id is not None and self._zone is None:
                self._zone = ask(
                    apex, "list_resource_record_sets", HostedZoneId=hosted, MaxItems="1"
                )
            self._check(name)
            self._values(ask, hosted, name)

    def _check(self, name: str) -> None:
        if self._zone is not None:
            check_within(name, self._zone, self._what)

    def _hosted(self, ask: Ask, name: str, deadline: Deadline) -> str:
        """The id of the hosted zone for ``name``: the public one of the zone that holds it."""
        if self._zone_id is not None:
            return self._zone_id
        zone = self._zone_of(name, deadline)
        given: Mapping[str, str] = {"DNSName": f"{zone}."}
        found: list[str] = []
        for _ in range(_MAX_PAGES):
            public, following = ask(
                partial(zones, f"{zone}."), "list_hosted_zones_by_name", **given
            )
            found += public
            if following is None:
                break
            given = following
        if not found:
            raise no_zone(
                self._what,
                zone,
                "the credentials are another account's, or its zone of that name is private "
                "(configure zone_id for one of those)",
            )
        if len(found) > 1:
            ids = ", ".join(sorted(each.rpartition("/")[2] for each in found)[:5])
            raise Unpublished(
                f"{self._what} has {len(found)} public zones {zone}: {ids}",
                hint="configure zone_id: the one whose name servers the domain is delegated to",
            )
        return found[0]

    def _values(self, ask: Ask, zone: str, name: str) -> tuple[Values, int]:
        """The TXT values at a name as Route 53 writes them, and their TTL."""
        found: tuple[Values, int] | None = ask(
            partial(txt, f"{name}."),
            "list_resource_record_sets",
            HostedZoneId=zone,
            StartRecordName=f"{name}.",
            StartRecordType="TXT",
            MaxItems="1",
        )
        if found is None:
            raise Unpublished(
                f"{self._what}: the TXT records of {name} have a routing policy",
                hint="delete them, or delegate the name to another zone by a CNAME",
            )
        return found if found[0] else ((), self._ttl)

    def _change(self, ask: Ask, zone: str, name: str, action: str, values: Values, ttl: int) -> str:
        """Replace or delete the TXT records at a name; the id of the change."""
        records = {
            "Name": f"{name}.",
            "Type": "TXT",
            "TTL": ttl,
            "ResourceRecords": [{"Value": value} for value in values],
        }
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": records}]}
        given = {"HostedZoneId": zone, "ChangeBatch": batch}
        changed: str = ask(
            lambda found: str(found["ChangeInfo"]["Id"]), "change_resource_record_sets", **given
        )
        return changed

    def _synced(self, ask: Ask, change: str, deadline: Deadline) -> None:
        while ask(lambda found: found["ChangeInfo"]["Status"], "get_change", Id=change) != "INSYNC":
            if deadline.passed:
                raise Transient(
                    f"{self._what}: a change is still pending at the deadline",
                    hint="see https://health.aws.amazon.com if it goes on",
                )
            deadline.pause(self._pause)

    @contextmanager
    def _asking(self, deadline: Deadline) -> Iterator[Ask]:
        """How to ask one operation, with a client of this act's own."""
        client = self._client(deadline)

        def send(request: Any, **_: Any) -> Any:
            return self._carried(request, deadline)

        client.meta.events.register("before-send", send)
        try:
            yield lambda take, operation, **given: self._patiently(
                deadline, lambda: self._asked(client, take, operation, given, deadline)
            )
        finally:
            client.close()

    def _patiently(self, deadline: Deadline, ask: Callable[[], Any]) -> Any:
        """What it gives, once the account may ask: it has five requests a second, for everybody."""
        pause = self._pause
        while True:
            try:
                return ask()
            except Throttled:
                if pause >= deadline.remaining:
                    raise
            deadline.pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _asked(
        self,
        client: Any,
        take: Callable[[Any], Any],
        operation: str,
        given: Mapping[str, Any],
        deadline: Deadline,
    ) -> Any:
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            ClientError,
        )
        from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

        try:
            found = getattr(client, operation)(**given)
        except ClientError as error:
            failure = self._judged(operation, given, error.response, deadline.clock.now())
        except ResponseParserError:
            failure = unreadable(self._what)
        except BotoCoreError as error:
            failure = NeedsOperator(f"{self._what} was not asked: {error}")
        else:
            return read(self._what, lambda: take(found))
        raise failure from None

    def _carried(self, request: Any, deadline: Deadline) -> Any:
        """One request of boto3's, which never reaches its own connections."""
        from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped]

        headers = {
            name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
            if name.lower() not in _OURS
        }
        body = request.body
        answer = self._requests.send(
            request.method,
            request.url,
            deadline=deadline,
            headers=headers,
            body=body.encode() if isinstance(body, str) else body,
        )
        return AWSResponse(request.url, answer.status, answer.headers, Content(answer.content))

    def _client(self, deadline: Deadline) -> Any:
        try:
            import boto3  # type: ignore[import-untyped]  # noqa: F401
            from botocore.config import Config  # type: ignore[import-untyped]
            from botocore.exceptions import BotoCoreError
        except ImportError:
            raise NeedsOperator(
                f"{self._what} needs boto3, which is not installed", hint=how_to_install("aws")
            ) from None
        hush("boto3", "botocore")
        config = Config(retries={"total_max_attempts": 1}, ignore_configured_endpoint_urls=True)
        limit = deadline.within(self._timeout)
        try:
            with self._alone(limit):
                if self._session is None:
                    self._session = aws_session(profile=self._profile, proxy=self._proxy)
                credentials = self._signing(limit)
                region = self._session.region_name or "us-east-1"  # the service has none
                return self._session.client(
                    "route53",
                    region_name=region,
                    endpoint_url=self._endpoint,
                    config=config,
                    **credentials,
                )
        except (BotoCoreError, ValueError, OSError) as error:  # an unknown profile, no credentials
            why = f"{self._what} was not asked: {error}"
        raise NeedsOperator(why, hint="see to the AWS settings and credentials of certrotd's user")

    @contextmanager
    def _alone(self, limit: Deadline) -> Iterator[None]:
        """Within it, the session is this thread's; another's may wait for its credentials."""
        if not acquired(self._making, limit):
            raise Transient(f"{self._keeper} has not answered others for a while")
        try:
            yield
        finally:
            self._making.release()

    def _signing(self, limit: Deadline) -> Mapping[str, str | None]:
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        if self._credentials is not None:
            what = f"{self._what}: its access key"
            return {
                name: None if secret is None else word(secret, what)
                for name, secret in zip(names, self._credentials, strict=True)
            }

        def found(_: Deadline) -> Any:
            credentials = self._session.get_credentials()
            return None if credentials is None else credentials.get_frozen_credentials()

        # of an instance's role, they are asked from a service that has no deadline of ours
        keys = within(limit, self._keeper, found)
        if keys is None:
            raise NeedsOperator(
                f"{self._what} has no credentials",
                hint="configure access_key_id and secret_access_key, or give the machine a role",
            )
        return dict(zip(names, (keys.access_key, keys.secret_key, keys.token), strict=True))

    def _judged(
        self, operation: str, given: Mapping[str, Any], response: Mapping[str, Any], now: datetime
    ) -> Failure:
        """What an error of the service means."""
        about, error = response.get("ResponseMetadata", {}), response.get("Error", {})
        status = about.get("HTTPStatusCode", 0)
        code, said = str(error.get("Code", status)), str(error.get("Message", ""))[:300]
        words = f"{self._what} answered {code}{said and f': {said}'}"
        if code in _BUSY:
            return Throttled(words)
        if status in (408, 429) or status >= 500:
            wait = asked_wait(about.get("HTTPHeaders", {}).get("retry-after"), now=now)
            return Transient(words, retry_after=wait)
        if status in (401, 403) or code in _DENIED:
            action = "".join(part.capitalize() for part in operation.split("_"))
            return Unpublished(
                f"{self._what} refuses the credentials: {code}{said and f': {said}'}",
                hint=f"they have to be valid, and allow route53:{action}",
            )
        if code == "NoSuchHostedZone":
            return no_zone(self._what, str(given.get("HostedZoneId")), "correct zone_id")
        if code == "InvalidChangeBatch" and "DELETE" in str(given):
            return Transient(f"{self._what}: the records were changed meanwhile: {said}")
        return Unpublished(words, hint="check its settings in the configuration")


def _quoted(record: TxtRecord) -> str:
    return f'"{record.value}"'


def build(entry: Route53Entry, context: SolverContext) -> Route53:
    """The solver of a configuration entry; its secrets are read when it is first used."""
    credentials = None
    if entry.access_key_id is not None and entry.secret_access_key is not None:
        credentials = entry.access_key_id, entry.secret_access_key, entry.session_token
    what = f"Route 53 of solver {context.name}"
    return Route53(
        Reach.of(entry, what),
        zone_of=zone_chosen(entry.zone, context),
        zone_id=entry.zone_id,
        credentials=credentials,
        profile=entry.profile,
        endpoint=entry.endpoint,
        ttl=entry.ttl,
        turn=turns(context, what),
    )
