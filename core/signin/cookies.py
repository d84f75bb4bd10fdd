"""The signed cookie: a sign-in's id, and a signature that only this installation can make.

The key lies in the data folder (`secret.key`, readable by its owner alone) and is made
on the first start. Deleting it signs everybody out.
"""

import os
import secrets
from functools import lru_cache
from pathlib import Path

from itsdangerous import BadSignature, Signer, URLSafeTimedSerializer

COOKIE = "prefloop_sign_in"


@lru_cache
def secret_key(data_dir: Path) -> str:
    """The installation's key; made when it is not there. Two processes that start at
    once end up with the same one: the first link wins."""
    path = data_dir / "secret.key"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        draft = data_dir / f"secret.key.{os.getpid()}.{secrets.token_hex(4)}.part"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def sign(data_dir: Path, sign_in_id: str) -> str:
    return _signer(data_dir).sign(sign_in_id).decode()


def unsign(data_dir: Path, value: str) -> str | None:
    """The sign-in's id, or None when the signature is not ours. Whether the sign-in is
    still valid, only the database knows."""
    try:
        return _signer(data_dir).unsign(value).decode()
    except (BadSignature, UnicodeDecodeError):
        return None


@lru_cache
def _signer(data_dir: Path) -> Signer:
    return Signer(secret_key(data_dir), salt="prefloop.sign-in")


def serializer(data_dir: Path, purpose: str) -> URLSafeTimedSerializer:
    """Signed values for another purpose (links that carry what they mean)."""
    return URLSafeTimedSerializer(secret_key(data_dir), salt=f"prefloop.{purpose}")
