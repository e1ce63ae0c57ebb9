"""What can be wrong with what is served or kept of a certificate."""

from __future__ import annotations

from enum import StrEnum

from certrotd.lifecycle.finding import DAMAGED, EXPIRED, EXPIRING, MISMATCH


class FindingKind(StrEnum):
    """What can be wrong."""

    EXPIRED = EXPIRED
    EXPIRING = EXPIRING
    NOT_YET_VALID = "not_yet_valid"
    WRONG_NAME = "wrong_name"
    BROKEN_CHAIN = "broken_chain"
    SERVED_MISMATCH = MISMATCH
    COPIES_DIFFER = "copies_differ"
    BEHIND = "behind"
    FOREIGN_CHANGE = "foreign_change"
    KEY_MISMATCH = "key_mismatch"
    KEY_EXPOSED = "key_exposed"
    CHAIN_NOT_OFFERED = "chain_not_offered"
    DAMAGED = DAMAGED
    MISSING = "missing"
    PLACEHOLDER = "placeholder"
    RECORD_WRONG = "record_wrong"
    RECORD_ENDING = "record_ending"
    UNREACHABLE = "unreachable"
    UNREADABLE = "unreadable"
