"""votes of one annotator, in their order, found without reading all votes (PostgreSQL)

DuckDB reads a column of a million votes faster than it would keep another index.

Revision: 0007, after 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NAME = "ix_vote_annotator_id_created_at"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(NAME, "vote", ["annotator_id", "created_at"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index(NAME, table_name="vote")
