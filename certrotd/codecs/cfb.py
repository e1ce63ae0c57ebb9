"""AES in CFB mode, which libraries keep in another place than the modes in common use."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import modes


def cfb(iv: bytes) -> modes.ModeWithInitializationVector:
    """CFB with segments of 128 bits."""
    try:
        from cryptography.hazmat.decrepit.ciphers.modes import CFB
    except ImportError:
        return modes.CFB(iv)
    found: modes.ModeWithInitializationVector = CFB(iv)
    return found
