"""gold and probes, messages to annotators, audiences of slots, machine judges, webhooks

Revision: 0006, after 0005
"""

from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As 0004 left it: DuckDB alters no table that a view stands on.
_PREFERENCE = """
CREATE VIEW preference AS
SELECT p.id AS pair_id, p.project_id, p.example_id, p.response_a, p.response_b,
       COUNT(*) AS n,
       SUM(CASE WHEN v.outcome = 'tie' THEN 0.5
                WHEN v.winner = p.response_a THEN 1.0 ELSE 0.0 END) / COUNT(*) AS q,
       SUM(CASE WHEN v.simulated THEN 1 ELSE 0 END) AS n_simulated
FROM pair p JOIN vote v ON v.pair_id = p.id LEFT JOIN annotator x ON x.id = v.annotator_id
WHERE v.outcome <> 'both_bad' AND x.excluded_at IS NULL
GROUP BY p.id, p.project_id, p.example_id, p.response_a, p.response_b
"""


def _text(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sqlmodel.sql.sqltypes.AutoString(), nullable=nullable)


def _time(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "gold",
        _text("id"), _text("project_id"), _text("pair_id"), _text("use"), _text("outcome"),
        _text("winner", nullable=True), _text("explanation"), _text("created_by", nullable=True),
        _time("created_at"), _time("retired_at", nullable=True),
        sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("pair_id"),
    )  # fmt: skip
    op.create_index(op.f("ix_gold_project_id"), "gold", ["project_id"])
    op.create_table(
        "probe",
        _text("id"), _text("project_id"), _text("annotator_id"), _text("pair_id"), _text("kind"),
        _text("lease"), sa.Column("a_left", sa.Boolean(), nullable=False), _time("leased_at"),
        _time("expires_at"), _text("expected_outcome"), _text("expected_winner", nullable=True),
        _text("outcome", nullable=True), _text("winner", nullable=True), _text("strength", nullable=True),
        _text("reason"), sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True), _time("answered_at", nullable=True),
        sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("lease"),
    )  # fmt: skip
    op.create_index(op.f("ix_probe_annotator_id"), "probe", ["annotator_id"])
    op.create_table(
        "message",
        _text("id"), _text("project_id"), _text("annotator_id"), _text("author_id", nullable=True),
        _text("author"), _text("text"), _time("created_at"), _time("read_at", nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )  # fmt: skip
    op.create_index(op.f("ix_message_annotator_id"), "message", ["annotator_id"])
    op.create_table(
        "webhook",
        _text("id"), _text("project_id"), _text("url"), _text("secret"),
        sa.Column("events", sa.JSON(), nullable=False), sa.Column("active", sa.Boolean(), nullable=False),
        _text("created_by", nullable=True), _time("created_at"), _time("deleted_at", nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )  # fmt: skip
    op.create_index(op.f("ix_webhook_project_id"), "webhook", ["project_id"])
    op.create_table(
        "delivery",
        _text("id"), _text("webhook_id"), _text("project_id"), _text("event"), _text("entity_id"),
        sa.Column("body", sa.JSON(), nullable=False), _text("status"),
        sa.Column("attempts", sa.Integer(), nullable=False), _time("next_at", nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True), _text("error", nullable=True),
        _time("created_at"), _time("delivered_at", nullable=True),
        sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("webhook_id", "event", "entity_id"),
    )  # fmt: skip
    op.create_index(op.f("ix_delivery_webhook_id"), "delivery", ["webhook_id"])
    op.add_column("slot", _text("audience", nullable=True))
    op.execute("DROP VIEW preference")
    op.add_column("annotator", sa.Column("audiences", sa.JSON(), nullable=True))
    op.add_column("annotator", sa.Column("machine", sa.Boolean(), nullable=True))
    op.add_column("annotator", _time("qualified_at", nullable=True))
    op.execute(_PREFERENCE)


def downgrade() -> None:
    op.execute("DROP VIEW preference")
    for column in ("qualified_at", "machine", "audiences"):
        op.drop_column("annotator", column)
    op.execute(_PREFERENCE)
    op.drop_column("slot", "audience")
    for table, column in (
        ("delivery", "webhook_id"), ("webhook", "project_id"), ("message", "annotator_id"),
        ("probe", "annotator_id"), ("gold", "project_id"),
    ):  # fmt: skip
        op.drop_index(op.f(f"ix_{table}_{column}"), table_name=table)
        op.drop_table(table)
