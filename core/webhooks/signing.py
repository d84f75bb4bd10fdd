"""Signatures as the Standard Webhooks specification 1.0.0 says
(https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md, sections
"Signature scheme" and "Webhook headers"): HMAC-SHA256 over `id.timestamp.body`, base64, with
the identifier `v1`; the key is the base64 behind `whsec_`.

The secret lies in the database as it is, because it must sign: who can read the database can
sign. It is shown once, when it is made. After a rotation the one before signs too, for
OVERLAP, so that no delivery fails while the receiver changes over.
"""

import base64
import hashlib
import hmac
import json
import secrets
from datetime import datetime, timedelta
from typing import Any

PREFIX = "whsec_"
KEY_BYTES = 32  # the specification: 24 to 64
OVERLAP = timedelta(hours=24)


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def rotated(kept: str, at: datetime) -> tuple[str, str]:
    """What is kept of the secrets now, and the new one. `kept`: the newest secret, and behind
    it, each after a space, older ones with the second (Unix time) until they sign."""
    new = new_secret()
    before = kept.split()[0]
    return f"{new} {before}@{int((at + OVERLAP).timestamp())}", new


def signing(kept: str, at: datetime) -> list[str]:
    """The secrets that sign at this time, the newest first."""
    newest, *older = kept.split()
    found = [newest]
    for item in older:
        secret, _, until = item.partition("@")
        if int(until or 0) > at.timestamp():
            found.append(secret)
    return found


def as_bytes(body: dict[str, Any]) -> bytes:
    """The body as it is signed and sent, byte for byte."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(kept: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Of one attempt: the id stays the same over all tries, the time is the try's own."""
    timestamp = int(at.timestamp())
    return {
        "content-type": "application/json",
        "user-agent": "Prefloop-Webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            signature(secret, message_id, timestamp, body) for secret in signing(kept, at)
        ),
    }
