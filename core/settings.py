"""Every setting of Prefloop, in one class. Each is an environment variable
`PREFLOOP_<NAME>` (or a line of a `.env` file beside `app.py`)."""

from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="PREFLOOP_", env_file=ROOT / ".env", extra="ignore")

    host: str = Field("127.0.0.1", description="address the server listens on")
    port: int = Field(8501, ge=1, le=65535, description="port the server listens on")
    public_url: str = Field(
        "", description="address people reach it under, for links; empty: http://host:port"
    )
    data_dir: Path = Field(ROOT / "data", description="database, run folders, models, secrets")
    models: Path | None = Field(
        None, description="where converted models are kept; empty: models/ in the data folder"
    )
    database_url: str = Field("", description="postgresql+psycopg://…; empty: DuckDB in the data folder")
    demo: bool = Field(True, description="seed the demo project on the first start")
    worker_slots: int = Field(0, ge=0, description="runs at once; 0: one per GPU, else one")
    lease_minutes: float = Field(10, gt=0, description="how long a claimed pair waits for its vote")
    session_hours: float = Field(168, gt=0, description="how long a sign-in lasts")
    cookie_secure: bool = Field(False, description="send the cookie over HTTPS only; set it behind TLS")
    language_model: str = Field(
        "embedded", description="default in-process model: embedded, a folder or a hub id"
    )
    reward_backbone: str = Field(
        "embedded", description="default reward backbone: embedded (MiniLM), a folder or a hub id"
    )
    oidc_issuer: str = Field("", description="OpenID Connect issuer URL; empty: local accounts only")
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_role: str = Field(
        "annotator", description="role of people who sign in by OpenID Connect for the first time"
    )
    currency: str = Field(
        "EUR", pattern="^[A-Z]{3}$", description="currency of new plans, as an ISO 4217 code"
    )
    webhook_private: bool = Field(
        False, description="webhooks may go to this machine and to private networks"
    )
    max_upload_mb: int = Field(200, ge=1, description="largest file the import page takes")
    max_model_mb: int = Field(2000, ge=1, description="largest reward model that can be uploaded, unpacked")
    scorer_idle_minutes: float = Field(
        10, gt=0, description="how long the scoring process keeps a reward model in memory unused"
    )
    scorer_timeout_s: float = Field(60, gt=0, description="how long a request to score may take")

    @field_validator("data_dir", "models")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """A relative folder is meant from where the command was given."""
        return value.expanduser().resolve() if value else None

    @property
    def url(self) -> str:
        # Every address of this machine is one to listen on, and none to open in a browser.
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def sqlalchemy_url(self) -> str:
        return self.database_url or f"duckdb:///{self.data_dir / 'prefloop.duckdb'}"

    @property
    def runs_dir(self) -> Path:
        return self.data_dir / "runs"

    @property
    def snapshots_dir(self) -> Path:
        return self.data_dir / "snapshots"

    @property
    def models_dir(self) -> Path:
        return self.models or self.data_dir / "models"


@lru_cache
def get_settings() -> Settings:
    return Settings()  # type: ignore[call-arg]
