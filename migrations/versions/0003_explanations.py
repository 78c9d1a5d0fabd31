"""Keep decisions in full: what every rule said of every node, and whom a decision was about."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE decisions ADD COLUMN members text[] COLLATE "C" NOT NULL DEFAULT '{}'
""",
    """
CREATE TABLE node_lists (
    digest bytea CONSTRAINT node_lists_pkey PRIMARY KEY,
    payload bytea NOT NULL
)
""",
    """
CREATE TABLE explanations (
    decision bigint CONSTRAINT explanations_pkey PRIMARY KEY,
    made_at timestamp with time zone NOT NULL,
    nodes bytea NOT NULL CONSTRAINT explanations_nodes_fkey REFERENCES node_lists,
    payload bytea NOT NULL
)
""",
    "CREATE INDEX explanations_made_at_idx ON explanations (made_at)",
    "CREATE INDEX explanations_nodes_idx ON explanations (nodes)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE explanations")
    op.execute("DROP TABLE node_lists")
    op.execute("ALTER TABLE decisions DROP COLUMN members")
