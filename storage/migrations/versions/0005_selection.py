"""which pair is asked next: a project's strategy, and slots put in front

Revision: 0005, after 0004
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("slot", sa.Column("front", sa.Float(), nullable=True))
    op.add_column("project", sa.Column("selection", sqlmodel.sql.sqltypes.AutoString(), nullable=True))


def downgrade() -> None:
    op.drop_column("project", "selection")
    op.drop_column("slot", "front")
