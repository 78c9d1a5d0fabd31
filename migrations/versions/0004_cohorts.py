"""Keep pods made alike in one go as one row, and show them in the views as what they are."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE cohorts (
    uid uuid CONSTRAINT cohorts_pkey PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    prefix text COLLATE "C" NOT NULL,
    start integer NOT NULL,
    size integer NOT NULL,
    created_revision bigint NOT NULL,
    metadata jsonb NOT NULL,
    digest bytea NOT NULL,
    status jsonb,
    gone bytea
)
""",
    "CREATE INDEX cohorts_namespace_prefix_start_idx ON cohorts (namespace, prefix, start)",
    "CREATE INDEX cohorts_created_revision_idx ON cohorts (created_revision)",
    "CREATE INDEX cohorts_digest_idx ON cohorts (digest)",
    """
CREATE TABLE cohort_bindings (
    cohort uuid NOT NULL CONSTRAINT cohort_bindings_cohort_fkey
        REFERENCES cohorts (uid) ON DELETE CASCADE,
    revision bigint NOT NULL,
    last_revision bigint NOT NULL,
    bound_at timestamp with time zone NOT NULL,
    epoch bigint NOT NULL,
    cpu_milli bigint NOT NULL,
    memory_bytes bigint NOT NULL,
    requests jsonb,
    decision bigint NOT NULL,
    ordinals integer[] NOT NULL,
    nodes text[] COLLATE "C" NOT NULL,
    CONSTRAINT cohort_bindings_pkey PRIMARY KEY (cohort, revision)
)
""",
    "CREATE INDEX cohort_bindings_last_revision_idx ON cohort_bindings (last_revision)",
    """
CREATE TABLE cohort_reports (
    cohort uuid NOT NULL CONSTRAINT cohort_reports_cohort_fkey
        REFERENCES cohorts (uid) ON DELETE CASCADE,
    revision bigint NOT NULL,
    last_revision bigint NOT NULL,
    ordinals integer[] NOT NULL,
    phase text COLLATE "C" NOT NULL,
    pieces text[] NOT NULL,
    fields integer[] NOT NULL,
    own text[] NOT NULL,
    CONSTRAINT cohort_reports_pkey PRIMARY KEY (cohort, revision)
)
""",
    "CREATE INDEX cohort_reports_last_revision_idx ON cohort_reports (last_revision)",
)

# As scheduler.objects.cohort: places map to suffixes of five characters.
NAMES = """
CREATE FUNCTION cohort_pod_name(prefix text, start integer, ordinal integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT prefix || string_agg(
        substr('bcdfghjklmnpqrstvwxz2456789', ((v / (27 ^ (4 - i))::bigint) % 27)::integer + 1, 1),
        '' ORDER BY i
    )
    FROM (SELECT ((start + ordinal) % 14348907)::bigint * 5868913 % 14348907 AS v) AS place,
        generate_series(0, 4) AS i
$$
"""

LODGED = """
CREATE VIEW lodged_pods AS
SELECT
    c.namespace,
    cohort_pod_name(c.prefix, c.start, i) AS name,
    (left(c.uid::text, 28) || lpad(to_hex(i), 8, '0'))::uuid AS uid,
    c.uid AS cohort,
    i AS ordinal,
    c.created_revision + i AS created_revision,
    c.metadata,
    c.digest,
    c.status
FROM cohorts c, generate_series(0, c.size - 1) AS i
WHERE c.gone IS NULL OR get_bit(c.gone, i) = 0
"""

LODGED_BINDINGS = """
CREATE VIEW lodged_bindings AS
SELECT
    b.cohort,
    p.ordinal,
    p.node,
    b.bound_at,
    b.epoch,
    b.cpu_milli,
    b.memory_bytes,
    b.requests,
    b.decision,
    b.revision + p.position - 1 AS revision
FROM cohort_bindings b
JOIN cohorts c ON c.uid = b.cohort,
    unnest(b.ordinals, b.nodes) WITH ORDINALITY AS p (ordinal, node, position)
WHERE c.gone IS NULL OR get_bit(c.gone, p.ordinal) = 0
"""

LODGED_REPORTS = """
CREATE VIEW lodged_reports AS
SELECT
    r.cohort,
    p.ordinal,
    r.phase,
    r.revision + p.position - 1 AS revision
FROM cohort_reports r
JOIN cohorts c ON c.uid = r.cohort,
    unnest(r.ordinals) WITH ORDINALITY AS p (ordinal, position)
WHERE c.gone IS NULL OR get_bit(c.gone, p.ordinal) = 0
"""

PODS = """
CREATE OR REPLACE VIEW pods AS
SELECT
    o.namespace,
    o.name,
    o.uid,
    COALESCE(o.status ->> 'phase', 'Pending') AS phase,
    b.node,
    b.cpu_milli,
    b.memory_bytes,
    COALESCE((s.body #>> '{spec,priority}')::integer, 0) AS priority,
    (o.metadata ->> 'creationTimestamp')::timestamptz AS created_at,
    b.bound_at,
    GREATEST(o.revision, b.revision) AS revision,
    o.metadata -> 'labels' AS labels,
    encode(o.digest, 'hex') AS class
FROM objects o
LEFT JOIN specs s ON s.digest = o.digest
LEFT JOIN bindings b ON b.pod_uid = o.uid
WHERE o.resource = 'pods'
"""

PODS_OF_COHORTS = """
UNION ALL
SELECT
    o.namespace,
    o.name COLLATE "C",
    o.uid,
    COALESCE(r.phase COLLATE "default", o.status ->> 'phase', 'Pending'),
    b.node,
    b.cpu_milli,
    b.memory_bytes,
    COALESCE((s.body #>> '{spec,priority}')::integer, 0),
    (o.metadata ->> 'creationTimestamp')::timestamptz,
    b.bound_at,
    GREATEST(o.created_revision, b.revision, r.revision),
    o.metadata -> 'labels',
    encode(o.digest, 'hex')
FROM lodged_pods o
LEFT JOIN specs s ON s.digest = o.digest
LEFT JOIN lodged_bindings b ON b.cohort = o.cohort AND b.ordinal = o.ordinal
LEFT JOIN lodged_reports r ON r.cohort = o.cohort AND r.ordinal = o.ordinal
"""

NODES = """
CREATE OR REPLACE VIEW nodes AS
SELECT
    o.name,
    COALESCE(
        jsonb_path_exists(
            o.status, '$.conditions[*] ? (@.type == "Ready" && @.status == "True")'
        ), false
    ) AS ready,
    COALESCE((o.body #>> '{spec,unschedulable}')::boolean, false) AS unschedulable,
    quantity_milli(o.status #>> '{allocatable,cpu}')::bigint AS allocatable_cpu_milli,
    (quantity_milli(o.status #>> '{allocatable,memory}') / 1000)::bigint
        AS allocatable_memory_bytes,
    (quantity_milli(o.status #>> '{allocatable,pods}') / 1000)::bigint AS allocatable_pods,
    COALESCE(u.cpu_milli, 0) AS requested_cpu_milli,
    COALESCE(u.memory_bytes, 0) AS requested_memory_bytes,
    COALESCE(u.pods, 0) AS pods,
    o.revision
FROM objects o
LEFT JOIN (
    SELECT
        node,
        sum(cpu_milli)::bigint AS cpu_milli,
        sum(memory_bytes)::bigint AS memory_bytes,
        count(*) AS pods
    FROM {held}
    GROUP BY node
) u ON u.node = o.name
WHERE o.resource = 'nodes'
"""
OWN = "bindings WHERE NOT released"
EVERYBODYS = (
    "(SELECT node, cpu_milli, memory_bytes FROM bindings WHERE NOT released"
    " UNION ALL SELECT node, cpu_milli, memory_bytes FROM lodged_bindings) AS held"
)

PLACEMENTS = """
CREATE OR REPLACE VIEW placements AS
SELECT
    o.namespace,
    o.name AS pod,
    b.pod_uid,
    b.node,
    b.bound_at,
    b.epoch,
    NULLIF(b.decision, 0) AS decision,
    b.cpu_milli,
    b.memory_bytes,
    b.requests AS other_requests,
    NOT b.released AS holds_capacity,
    b.revision
FROM bindings b
JOIN objects o ON o.uid = b.pod_uid
"""

PLACEMENTS_OF_COHORTS = """
UNION ALL
SELECT
    o.namespace,
    o.name COLLATE "C",
    o.uid,
    b.node,
    b.bound_at,
    b.epoch,
    NULLIF(b.decision, 0),
    b.cpu_milli,
    b.memory_bytes,
    b.requests,
    true,
    b.revision
FROM lodged_bindings b
JOIN lodged_pods o ON o.cohort = b.cohort AND o.ordinal = b.ordinal
"""


def upgrade() -> None:
    """Create the tables, and let the views show both kinds of pods."""
    for statement in (
        *TABLES,
        NAMES,
        LODGED,
        LODGED_BINDINGS,
        LODGED_REPORTS,
        PODS + PODS_OF_COHORTS,
        NODES.replace("{held}", EVERYBODYS),
        PLACEMENTS + PLACEMENTS_OF_COHORTS,
    ):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Go back; refused while pods live in cohorts, which the older schema cannot hold."""
    lodged = op.get_bind().exec_driver_sql("SELECT count(*) FROM cohorts").scalar_one()
    if lodged:
        raise RuntimeError(
            f"{lodged} cohorts of pods cannot be kept by the older schema: delete their pods first"
        )
    for statement in (PODS, NODES.replace("{held}", OWN), PLACEMENTS):
        op.get_bind().exec_driver_sql(statement)
    for name in ("lodged_reports", "lodged_bindings", "lodged_pods"):
        op.execute(f"DROP VIEW {name}")
    op.execute("DROP FUNCTION cohort_pod_name")
    op.execute("DROP TABLE cohort_reports")
    op.execute("DROP TABLE cohort_bindings")
    op.execute("DROP TABLE cohorts")
