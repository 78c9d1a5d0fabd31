"""Keep what clients upload for ImageBuilds, a row a part."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; what comes is compressed already, so the server shall not try."""
    op.execute(
        """
CREATE TABLE build_contexts (
    build uuid NOT NULL,
    part integer NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT build_contexts_pkey PRIMARY KEY (build, part)
)
"""
    )
    op.execute("ALTER TABLE build_contexts ALTER COLUMN content SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE build_contexts")
