"""Keep what Placements decided, a row a pod, as a table that is documented (docs/sql.md)."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
CREATE TABLE assignments (
    placement uuid NOT NULL,
    ordinal integer NOT NULL,
    pod text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    CONSTRAINT assignments_pkey PRIMARY KEY (placement, ordinal)
)
"""
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE assignments")
