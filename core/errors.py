"""What can go wrong by a person's doing. The message says what and where; the hint,
what to do. Pages show both, the API answers them as `{"detail": …}` with `status`."""


class PrefloopError(Exception):
    status = 400

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class NotSignedIn(PrefloopError):
    status = 401


class Forbidden(PrefloopError):
    status = 403


class NotFound(PrefloopError):
    status = 404


class Conflict(PrefloopError):
    status = 409


class Invalid(PrefloopError):
    status = 422


class Unavailable(PrefloopError):
    """Not now: the API says so with Retry-After, in seconds."""

    status = 503

    def __init__(self, message: str, hint: str = "", retry_after: int = 2) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after
