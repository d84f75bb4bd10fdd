"""annotators can be paused and their votes left out; how a project adds votes up

Revision: 0004, after 0003
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_VIEW = """
CREATE VIEW preference AS
SELECT p.id AS pair_id, p.project_id, p.example_id, p.response_a, p.response_b,
       COUNT(*) AS n,
       SUM(CASE WHEN v.outcome = 'tie' THEN 0.5
                WHEN v.winner = p.response_a THEN 1.0 ELSE 0.0 END) / COUNT(*) AS q,
       SUM(CASE WHEN v.simulated THEN 1 ELSE 0 END) AS n_simulated
FROM pair p JOIN vote v ON v.pair_id = p.id{left_out}
WHERE v.outcome <> 'both_bad'{and_counted}
GROUP BY p.id, p.project_id, p.example_id, p.response_a, p.response_b
"""
_EVERY_VOTE = _VIEW.format(left_out="", and_counted="")
_COUNTED = _VIEW.format(
    left_out=" LEFT JOIN annotator x ON x.id = v.annotator_id", and_counted=" AND x.excluded_at IS NULL"
)

_ANNOTATOR = (
    ("paused_at", sa.DateTime(timezone=True)),
    ("paused_reason", sqlmodel.sql.sqltypes.AutoString()),
    ("excluded_at", sa.DateTime(timezone=True)),
    ("excluded_by", sqlmodel.sql.sqltypes.AutoString()),
    ("excluded_reason", sqlmodel.sql.sqltypes.AutoString()),
)


def upgrade() -> None:
    # DuckDB alters no table that a view stands on.
    op.execute("DROP VIEW preference")
    for name, kind in _ANNOTATOR:
        op.add_column("annotator", sa.Column(name, kind, nullable=True))
    op.add_column("project", sa.Column("aggregation", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.execute(_COUNTED)


def downgrade() -> None:
    op.execute("DROP VIEW preference")
    op.drop_column("project", "aggregation")
    for name, _ in reversed(_ANNOTATOR):
        op.drop_column("annotator", name)
    op.execute(_EVERY_VOTE)
