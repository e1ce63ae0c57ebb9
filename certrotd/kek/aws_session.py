"""Sessions of boto3 whose every request goes by the proxy of the environment, or none does."""

from __future__ import annotations

from typing import Any


def aws_session(*, profile: str | None, region: str | None = None, proxy: bool = False) -> Any:
    """A session that makes clients, and finds credentials; raises BotoCoreError and OSError.

    boto3 has no setting for what it asks by itself: the metadata server of an instance for a role
    (and for a region, in its defaults mode "auto"), and other services for credentials.
    """
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.httpsession import URLLib3Session  # type: ignore[import-untyped]
    from botocore.session import get_session  # type: ignore[import-untyped]

    core = get_session()
    session = boto3.session.Session(profile_name=profile, region_name=region, botocore_session=core)
    if not proxy:
        core.set_default_client_config(Config(proxies={}, defaults_mode="legacy"))
        role = core.get_component("credential_provider").get_provider("iam-role")._role_fetcher
        role._session = URLLib3Session(timeout=role._timeout, proxies={})
    return session
