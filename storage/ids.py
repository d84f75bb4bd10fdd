"""Ids: UUIDv7 as text (sorted by time), and ids that follow from content."""

import hashlib
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import uuid_utils

_NAMESPACE = uuid.UUID("6f1c1a52-33c0-5f5b-9b0e-0d6c6f0e5a11")


def new_id() -> str:
    return str(uuid_utils.uuid7())


def id_of(*parts: str) -> str:
    """The same parts give the same id: what makes a repeated write a no-op."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON value with its keys sorted, as hex."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> datetime:
    return datetime.now(UTC)
