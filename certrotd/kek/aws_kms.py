"""A symmetric key of AWS KMS; the context is its EncryptionContext.

It is known by its key id, which a multi-Region key has in each of its regions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import certrotd
from certrotd.clock import Deadline
from certrotd.errors import Failure
from certrotd.extras import how_to_install
from certrotd.https.waits import asked_wait
from certrotd.kek import envelope
from certrotd.kek.answers import read
from certrotd.kek.aws_session import aws_session
from certrotd.kek.port import Context, Denied, Disabled, Kek, KekUnavailable, Unfit, WrongKek
from certrotd.kek.service import Encrypted, ServiceKek
from certrotd.kek.vendor_client import VendorClient, hush

if TYPE_CHECKING:
    from certrotd.config.keks import AwsKmsKekEntry

_BUSY = {
    *("ThrottlingException", "Throttling", "LimitExceededException", "RequestLimitExceeded"),
    *("TooManyRequestsException", "KMSInternalException", "DependencyTimeoutException"),
    *("KeyUnavailableException", "InternalFailure", "ServiceUnavailable"),
}
_DENIED = {
    *("AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "NotAuthorized"),
    *("InvalidClientTokenId", "IncompleteSignature", "InvalidSignatureException"),
    *("SignatureDoesNotMatch", "MissingAuthenticationToken", "OptInRequired"),
    *("ExpiredTokenException", "ExpiredToken", "RequestExpired"),
}
_UNFIT = {
    *("NotFoundException", "InvalidArnException", "InvalidKeyUsageException"),
    *("UnsupportedOperationException", "UnknownOperationException"),
}
T = TypeVar("T")


@dataclass(frozen=True)
class AwsKms:
    """The key ``key`` (id, ARN or alias); credentials are found as every AWS SDK finds them.

    ``proxy``: by that of the environment.
    """

    key: str
    region: str | None = None
    endpoint: str | None = None
    profile: str | None = None
    seconds: float = 10.0
    proxy: bool = False
    _sdk: VendorClient = field(default_factory=VendorClient, init=False, repr=False, compare=False)

    type = "aws-kms"

    @property
    def place(self) -> str:
        """As KeyService.place."""
        return f"the AWS KMS key {self.key}"

    def identity(self, deadline: Deadline) -> bytes:
        """As KeyService.identity: the key id; an alias is looked up each time, for it may move."""
        if "alias/" not in self.key:
            return _key_id(self.key)
        return self.described(deadline, lambda found: _key_id(found["KeyId"]))

    def encrypt(self, secret: bytes, context: Context, deadline: Deadline) -> Encrypted:
        """As KeyService.encrypt; takes kms:Encrypt."""
        return self.asked(
            "encrypt",
            lambda found: Encrypted(found["CiphertextBlob"], _key_id(found["KeyId"])),
            deadline,
            KeyId=self.key,
            Plaintext=secret,
            EncryptionContext=dict(context),
        )

    def decrypt(self, encrypted: bytes, context: Context, deadline: Deadline) -> bytes:
        """As KeyService.decrypt; takes kms:Decrypt."""
        return self.asked(
            "decrypt",
            lambda found: bytes(found["Plaintext"]),
            deadline,
            KeyId=self.key,
            CiphertextBlob=encrypted,
            EncryptionContext=dict(context),
        )

    def described(self, deadline: Deadline, take: Callable[[Mapping[str, Any]], T]) -> T:
        """What ``take`` finds in the key's metadata; takes kms:DescribeKey."""
        return self.asked(
            "describe_key", lambda found: take(found["KeyMetadata"]), deadline, KeyId=self.key
        )

    def asked(
        self,
        operation: str,
        take: Callable[[Mapping[str, Any]], T],
        deadline: Deadline,
        *,
        meanings: Mapping[str, Failure] = MappingProxyType({}),
        **given: Any,
    ) -> T:
        """What ``take`` finds in the answer to one request; the client does not retry.

        ``meanings`` are those of codes that mean something else for this operation.
        """
        client = self._sdk.get(self._client)  # first: it says which libraries are missing
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            ClientError,
            HTTPClientError,
        )
        from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

        try:
            found = getattr(client, operation)(**given)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            now = deadline.clock.now()
            failure = meanings.get(code) or self._judged(code, error.response, operation, now)
        except (HTTPClientError, ResponseParserError) as error:
            failure = KekUnavailable(f"{self.place} did not answer: {type(error).__name__}")
        except (BotoCoreError, OSError) as error:  # no credentials, or not those that it has named
            failure = self._unsettled(error)
        else:
            return read(self.place, lambda: take(found))
        raise failure from None

    def _client(self) -> Any:
        try:
            import boto3  # type: ignore[import-untyped]  # noqa: F401
            from botocore.config import Config  # type: ignore[import-untyped]
            from botocore.exceptions import BotoCoreError
        except ImportError:
            raise Unfit(
                f"{self.place} needs boto3, which is not installed", hint=how_to_install("aws")
            ) from None
        hush("boto3", "botocore")
        config = Config(
            connect_timeout=self.seconds,
            read_timeout=self.seconds,
            retries={"total_max_attempts": 1},
            user_agent_extra=f"certrotd/{certrotd.__version__}",
        )
        try:
            session = aws_session(profile=self.profile, region=self.region, proxy=self.proxy)
            return session.client("kms", endpoint_url=self.endpoint, config=config)
        except (BotoCoreError, OSError) as error:  # no region, an unknown profile
            raise self._unsettled(error) from None

    def _unsettled(self, error: Exception) -> Denied:
        return Denied(
            f"{self.place} was not asked: {error}",
            hint="see to the AWS settings and credentials of certrotd's user",
        )

    def _judged(
        self, code: str, response: Mapping[str, Any], operation: str, now: datetime
    ) -> Failure:
        """What an error of the service means."""
        about = response.get("ResponseMetadata", {})
        status = about.get("HTTPStatusCode", 0)
        if code in _BUSY or status == 429 or status >= 500:
            wait = asked_wait(about.get("HTTPHeaders", {}).get("retry-after"), now=now)
            return KekUnavailable(f"{self.place} is busy: {code or status}", retry_after=wait)
        if code in ("DisabledException", "KMSInvalidStateException"):
            return Disabled(
                f"{self.place} is disabled, or its deletion is scheduled",
                hint="aws kms enable-key, or cancel-key-deletion and then enable-key",
            )
        if code == "InvalidCiphertextException":
            return envelope.damaged(self.place)
        if code == "IncorrectKeyException":
            return WrongKek(
                f"{self.place} did not wrap the key", hint="name the key that wrapped it"
            )
        if code in _DENIED:
            action = "".join(part.capitalize() for part in operation.split("_"))
            return Denied(
                f"{self.place} refuses: {code}",
                hint=f"certrotd needs kms:{action} on it, and valid credentials",
            )
        if code in _UNFIT:
            return Unfit(f"{self.place} cannot be used: {code}", hint="check its id and region")
        return KekUnavailable(f"{self.place} answered {code or status}")


def _key_id(key: str) -> bytes:
    """The key id in an ARN, or the id itself."""
    return key.rpartition("/")[2].encode()


def service_of(entry: AwsKmsKekEntry) -> AwsKms:
    """The key of a configuration entry."""
    seconds = entry.timeout.total_seconds()
    where = entry.effective_region, entry.endpoint, entry.profile
    return AwsKms(entry.key, *where, seconds, entry.use_proxy)


def build(name: str, entry: AwsKmsKekEntry) -> Kek:
    """The KEK of a configuration entry."""
    del name
    return ServiceKek(service_of(entry), entry.timeout.total_seconds())
