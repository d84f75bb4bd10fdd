"""Secrets of tokens and links: 256 random bits, of which only the SHA-256 is kept."""

import hashlib
import secrets


def new_secret(prefix: str = "") -> str:
    return prefix + secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """SHA-256: enough for secrets of 256 random bits, which cannot be guessed from a list."""
    return hashlib.sha256(secret.encode()).hexdigest()
