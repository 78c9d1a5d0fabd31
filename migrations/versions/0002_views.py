"""Create the documented views: pods, nodes, placements (docs/sql.md)."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

QUANTITY = r"""
CREATE FUNCTION quantity_milli(quantity text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT ceil(1000 * part[1]::numeric * CASE part[2]
        WHEN 'n' THEN 1e-9 WHEN 'u' THEN 1e-6 WHEN 'm' THEN 1e-3 WHEN '' THEN 1
        WHEN 'k' THEN 1e3 WHEN 'M' THEN 1e6 WHEN 'G' THEN 1e9
        WHEN 'T' THEN 1e12 WHEN 'P' THEN 1e15 WHEN 'E' THEN 1e18
        WHEN 'Ki' THEN 1024 WHEN 'Mi' THEN 1048576 WHEN 'Gi' THEN 1073741824
        WHEN 'Ti' THEN 1099511627776 WHEN 'Pi' THEN 1125899906842624
        WHEN 'Ei' THEN 1152921504606846976 END)
    FROM regexp_match(
        quantity,
        '^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(n|u|m|k|[KMGTPE]i|[MGTPE]|)$'
    ) AS part
$$
"""

PODS = """
CREATE VIEW pods AS
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

NODES = """
CREATE VIEW nodes AS
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
    FROM bindings
    WHERE NOT released
    GROUP BY node
) u ON u.node = o.name
WHERE o.resource = 'nodes'
"""

PLACEMENTS = """
CREATE VIEW placements AS
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


def upgrade() -> None:
    for statement in (QUANTITY, PODS, NODES, PLACEMENTS):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for name in ("placements", "nodes", "pods"):
        op.execute(f"DROP VIEW {name}")
    op.execute("DROP FUNCTION quantity_milli")
