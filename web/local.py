"""Where to go after signing in: a page of ours, whatever the address asked for."""

from urllib.parse import urlsplit

HOME = "/"


def local_path(wanted: str | None) -> str:
    """`wanted` when it is a path of this site, else the first page. Browsers read
    `//host`, `/\\host` and a path with a tab or newline in it as addresses elsewhere."""
    if not wanted or not wanted.startswith("/") or wanted.startswith(("//", "/\\")):
        return HOME
    if "\\" in wanted or any(not letter.isprintable() for letter in wanted) or len(wanted) > 2000:
        return HOME
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return HOME
    if parts.scheme or parts.netloc or parts.path.startswith(("/auth/", "/api/", "/_stcore/")):
        return HOME
    return wanted
