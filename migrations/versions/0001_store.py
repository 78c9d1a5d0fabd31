"""Create the store: objects, bindings, the log, leadership and decisions."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE specs (
    digest bytea CONSTRAINT specs_pkey PRIMARY KEY,
    body jsonb NOT NULL
);
CREATE TABLE objects (
    resource text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    uid uuid NOT NULL CONSTRAINT objects_uid_key UNIQUE,
    revision bigint NOT NULL,
    created_revision bigint NOT NULL,
    metadata jsonb NOT NULL,
    digest bytea,
    body jsonb,
    status jsonb,
    CONSTRAINT objects_pkey PRIMARY KEY (resource, namespace, name)
);
CREATE INDEX objects_revision_idx ON objects (revision);
CREATE TABLE bindings (
    pod_uid uuid CONSTRAINT bindings_pkey PRIMARY KEY,
    node text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    bound_at timestamptz NOT NULL,
    epoch bigint NOT NULL,
    cpu_milli bigint NOT NULL,
    memory_bytes bigint NOT NULL,
    requests jsonb,
    decision bigint NOT NULL,
    released boolean NOT NULL
);
CREATE INDEX bindings_revision_idx ON bindings (revision);
CREATE INDEX bindings_node_revision_idx ON bindings (node, revision);
CREATE TABLE host_ports (
    node text COLLATE "C" NOT NULL,
    port integer NOT NULL,
    protocol text COLLATE "C" NOT NULL,
    host_ip text COLLATE "C" NOT NULL,
    pod_uid uuid NOT NULL,
    CONSTRAINT host_ports_pkey PRIMARY KEY (node, port, protocol, host_ip)
);
CREATE INDEX host_ports_pod_uid_idx ON host_ports (pod_uid);
CREATE TABLE tombstones (
    revision bigint CONSTRAINT tombstones_pkey PRIMARY KEY,
    resource text COLLATE "C" NOT NULL,
    created_revision bigint NOT NULL,
    deleted_at timestamptz NOT NULL,
    metadata jsonb NOT NULL,
    digest bytea,
    body jsonb,
    status jsonb,
    node text COLLATE "C",
    bound_at timestamptz,
    bound_revision bigint
);
CREATE TABLE head (
    one boolean CONSTRAINT head_pkey PRIMARY KEY,
    revision bigint NOT NULL,
    epoch bigint NOT NULL,
    spec_generation bigint NOT NULL,
    compacted bigint NOT NULL,
    CONSTRAINT head_single_check CHECK (one)
);
CREATE TABLE leaders (
    epoch bigint CONSTRAINT leaders_pkey PRIMARY KEY,
    identity text NOT NULL,
    since timestamptz NOT NULL
);
CREATE TABLE decisions (
    id bigint CONSTRAINT decisions_pkey PRIMARY KEY,
    made_at timestamptz NOT NULL,
    epoch bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    pod text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    pods integer NOT NULL,
    outcome text NOT NULL,
    node text COLLATE "C" NOT NULL,
    alternatives jsonb NOT NULL,
    rejections jsonb NOT NULL,
    message text NOT NULL
);
CREATE INDEX decisions_made_at_idx ON decisions (made_at);
CREATE INDEX decisions_namespace_pod_idx ON decisions (namespace, pod);
CREATE TABLE writers (
    id uuid CONSTRAINT writers_pkey PRIMARY KEY,
    transaction bigint NOT NULL,
    at timestamptz NOT NULL
) WITH (fillfactor = 10);
CREATE TABLE marks (
    at timestamptz CONSTRAINT marks_pkey PRIMARY KEY,
    revision bigint NOT NULL
);
INSERT INTO head VALUES (true, 1, 0, 0, 0);
ALTER TABLE head SET (fillfactor = 10)
"""

NAMES = (
    "writers",
    "marks",
    "decisions",
    "leaders",
    "head",
    "tombstones",
    "host_ports",
    "bindings",
    "objects",
    "specs",
)


def upgrade() -> None:
    for statement in TABLES.split(";"):
        op.execute(statement)


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP TABLE {name}")
