"""What Amazon Route 53 answers; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

Values = tuple[str, ...]
"""TXT values as Route 53 writes them."""


class Content(BytesIO):
    """What AWSResponse reads."""

    def stream(self) -> Iterator[bytes]:
        """All of it at once."""
        yield self.read()


def zones(zone: str, page: Any) -> tuple[list[str], Mapping[str, str] | None]:
    """The ids of public zones of a name, and how to ask for more of that name, if there may be.

    The zones of a page are in order, and begin with the name.
    """
    listed = [(str(each["Name"]).lower(), each) for each in page["HostedZones"]]
    public = [
        str(each["Id"])
        for name, each in listed
        if name == zone and not each.get("Config", {}).get("PrivateZone")
    ]
    if not page.get("IsTruncated") or any(name != zone for name, _ in listed):
        return public, None
    return public, {"DNSName": page["NextDNSName"], "HostedZoneId": page["NextHostedZoneId"]}


def apex(page: Any) -> str:
    """The name of a zone, of which these are the first records: they are in the order of DNS."""
    return str(page["ResourceRecordSets"][0]["Name"]).lower().rstrip(".")


def txt(name: str, page: Any) -> tuple[Values, int] | None:
    """The TXT values of a name as Route 53 writes them, and their TTL; None for no plain ones."""
    for each in page["ResourceRecordSets"]:
        if (str(each["Name"]).lower(), each["Type"]) == (name, "TXT"):
            if "SetIdentifier" in each or "ResourceRecords" not in each:
                return None
            return tuple(str(one["Value"]) for one in each["ResourceRecords"]), int(each["TTL"])
    return (), 0
