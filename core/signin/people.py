"""What a person's name, address and role must look like. Errors name the field."""

import re

from sqlmodel import Session, select

from core.access import Role
from core.errors import Conflict, Invalid
from storage.tables import User

_EMAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+\.?[^\s@<>\"'.]+")


def clean_name(name: str) -> str:
    name = " ".join(str(name or "").split())
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise Invalid("name: 1 to 80 characters.")
    return name


def clean_email(email: str | None) -> str | None:
    """Lower case; None for nothing."""
    email = (email or "").strip().lower()
    if not email:
        return None
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise Invalid(f"email: “{email[:80]}” is not an e-mail address.")
    return email


def clean_role(role: str) -> str:
    if role not in set(Role):
        raise Invalid(f"role: one of {', '.join(Role)}, not “{role}”.")
    return str(Role(role))


def check_email_is_free(session: Session, email: str | None) -> None:
    if email and session.exec(select(User.id).where(User.email == email)).first():
        raise Conflict(f"email: {email} has an account already.", "Sign in with it, or use another address.")
