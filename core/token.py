"""`python -m core.token --role admin [--name NAME] [--scope SCOPE]`: a token for a
program, printed alone on standard output.

The DuckDB file belongs to the web process while that runs. So the command first tries
the database itself; when another process holds it, it leaves a request in the data
folder, which the server answers within a second. The secret is made here: the request
carries only its hash, and the secret never touches the disk.

Who may write into the data folder could replace the database as well, so a request
there needs no other permission; its file must belong to the server's own user.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from core import audit
from core.access import Scope
from core.errors import Conflict, PrefloopError
from core.runs.folder import write_json
from core.settings import Settings, get_settings
from core.signin.people import clean_name, clean_role
from core.signin.secrets import hashed, new_secret
from core.tokens import PREFIX, add_token
from storage.database import Database, DatabaseTooNew
from storage.ids import new_id
from storage.tables import User

WAIT_S = 15.0
STALE_S = 60.0  # a request nobody waits for any more is not answered


def grant(db: Database, role: str, name: str, secret_hash: str, hint: str, scope: str = Scope.FULL) -> None:
    """Keep a token's hash, for the program of that role and name (made when there is
    none yet). Only accounts that no person signs in to are given tokens this way."""
    role = clean_role(role)
    name = clean_name(name)
    scope = Scope(scope)

    def work(session: Session) -> None:
        programs = select(User).where(
            User.name == name,
            User.role == role,
            col(User.password_hash).is_(None),
            col(User.oidc_subject).is_(None),
        )
        user = session.exec(programs).first()
        if user is None:
            user = User(name=name, role=role)
            session.add(user)
            audit.record(session, None, "user.create", "user", user.id, name=name, role=role)
        if not user.active:
            raise Conflict(f"The account “{name}” is not active.", "Reactivate it, or give another --name.")
        token = add_token(session, user.id, secret_hash, hint, "make token", scope)
        audit.record(session, None, "token.make", "token", token.id, name=name, role=role, scope=str(scope))

    db.write(work)


# --- the server's half --------------------------------------------------------------------


def answer_requests(db: Database, data_dir: Path) -> int:
    """Answer what lies in `data_dir/requests`; how many were granted. Called every half
    second by the running server."""
    folder = data_dir / "requests"
    granted = 0
    for path in sorted(folder.glob("*.ask.json")) if folder.is_dir() else ():
        try:
            about = path.stat()
            asked = json.loads(path.read_text(encoding="utf-8"))
            path.unlink()
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            continue
        if time.time() - about.st_mtime > STALE_S or about.st_uid not in (os.getuid(), 0):
            continue
        reply: dict[str, Any] = {"ok": True}
        try:
            grant(db, **{key: str(asked[key]) for key in ("role", "name", "secret_hash", "hint", "scope")})
            granted += 1
        except (PrefloopError, KeyError, ValueError) as problem:
            reply = {"ok": False, "error": str(problem)}
        write_json(folder / path.name.replace(".ask.", ".reply."), reply)
    return granted


# --- the command's half -------------------------------------------------------------------


def ask_server(data_dir: Path, request: dict[str, str], wait_s: float = WAIT_S) -> None:
    """Leave a request for the running server and wait for its answer. Raises
    PrefloopError when it refuses, or does not answer in time."""
    folder = data_dir / "requests"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    name = new_id()
    ask, reply = folder / f"{name}.ask.json", folder / f"{name}.reply.json"
    write_json(ask, request)
    until = time.monotonic() + wait_s
    try:
        while time.monotonic() < until:
            try:
                answer = json.loads(reply.read_text(encoding="utf-8"))
            except FileNotFoundError:
                time.sleep(0.05)
                continue
            if not answer["ok"]:
                raise PrefloopError(answer["error"])
            return
    finally:
        ask.unlink(missing_ok=True)
        reply.unlink(missing_ok=True)
    raise PrefloopError(
        "Another process holds the database, and no server answered.",
        f"Is the server of {data_dir} running? Set PREFLOOP_DATA_DIR to its data folder.",
    )


def make_token(settings: Settings, role: str, name: str = "", scope: str = Scope.FULL) -> str:
    """Make a token, with or without a running server; answers its secret."""
    role = clean_role(role)
    secret = new_secret(PREFIX)
    request = {
        "role": role,
        "name": clean_name(name or f"{role} program"),
        "scope": str(Scope(scope)),
        "secret_hash": hashed(secret),
        "hint": secret[:7],
    }
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    db = Database(settings.sqlalchemy_url)
    try:
        db.migrate()
        grant(db, **request)
    except DBAPIError as problem:
        if not (db.is_duckdb and "lock" in str(problem.orig).lower()):
            raise
        ask_server(settings.data_dir, request)
    finally:
        db.dispose()
    return secret


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.token", description="Print a token for a program.")
    parser.add_argument("--role", required=True, help="annotator, engineer, lead or admin")
    parser.add_argument("--name", default="", help="the program's name (default: “<role> program”)")
    parser.add_argument("--scope", default="full", choices=[str(scope) for scope in Scope])
    given = parser.parse_args(arguments)
    try:
        print(make_token(get_settings(), given.role, given.name, given.scope))
    except PrefloopError as problem:
        print(f"No token was made: {problem}", file=sys.stderr)
        return 1
    except DatabaseTooNew as problem:
        print(f"No token was made: the database is from a newer Prefloop ({problem}).", file=sys.stderr)
        return 1
    except (DBAPIError, OSError) as problem:
        reason = str(getattr(problem, "orig", problem)).strip().splitlines()[0]
        print(f"No token was made: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
