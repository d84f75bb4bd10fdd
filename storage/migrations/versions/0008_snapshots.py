"""preference data sets: frozen, named snapshots of votes; what a reward model was trained on

Revision: 0008, after 0007
"""

from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _text(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sqlmodel.sql.sqltypes.AutoString(), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _time(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "snapshot",
        _text("id"), _text("project_id"), _text("name"), _text("folder"), _json("filters"), _json("counts"),
        _json("checks"), _text("content_hash"), sa.Column("automatic", sa.Boolean(), nullable=False),
        _text("created_by", nullable=True), _time("created_at"), _time("archived_at", nullable=True),
        sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("project_id", "name"),
    )  # fmt: skip
    op.create_index(op.f("ix_snapshot_project_id"), "snapshot", ["project_id"])
    op.add_column("reward_model", _text("snapshot_id", nullable=True))
    op.add_column("reward_model", _text("card", nullable=True))


def downgrade() -> None:
    op.drop_column("reward_model", "card")
    op.drop_column("reward_model", "snapshot_id")
    op.drop_index(op.f("ix_snapshot_project_id"), table_name="snapshot")
    op.drop_table("snapshot")
