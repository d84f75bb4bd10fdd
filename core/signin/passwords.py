"""Passwords: argon2id hashes, checked in about the same time whether the account exists."""

import threading
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import Invalid

SHORTEST = 10
LONGEST = 500  # argon2 takes any length; a limit keeps a request from being made of megabytes

_hasher = PasswordHasher()  # RFC 9106, the low-memory profile: 64 MiB, 3 passes
_room = threading.Semaphore(2)  # many sign-ins at once must not take all cores and memory


def hash_password(password: str) -> str:
    """Raises Invalid, naming the field, when the password is too short or too long."""
    if len(password) < SHORTEST:
        raise Invalid(f"password: at least {SHORTEST} characters.", "A few words in a row do well.")
    if len(password) > LONGEST:
        raise Invalid(f"password: at most {LONGEST} characters.")
    with _room:
        return _hasher.hash(password)


def matches(password_hash: str | None, password: str) -> bool:
    """Without a hash (no such account), the same work is done for nothing, so that the
    answer's time does not tell which accounts exist."""
    with _room:
        try:
            _hasher.verify(password_hash or _hash_of_nothing(), password[:LONGEST])
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


@lru_cache
def _hash_of_nothing() -> str:
    return _hasher.hash("no account has this password")
