"""The tables, as SQLAlchemy metadata. Migrations create them; a test proves the two agree.

    specs       interned bodies by digest: a million pods of one template share a row
    objects     every object's present state; the live rows are the change log by `revision`
    bindings    pod uid → node, once; narrow, so that binding is cheap. A pod's revision is the
                greater of its two rows'
    cohorts     pods made alike in one go: a row for all of them, until a write concerns one alone
    cohort_bindings  where pods of cohorts were bound, a row per write
    cohort_reports  what pods of cohorts are said to be, a row per write
    host_ports  ports the bound pods hold on their nodes
    tombstones  last states of deleted objects: the part of the log that live rows cannot tell
    head        one row: the revision, the leader's epoch, how far the log has been compacted
    leaders     who led in which epoch
    decisions   why pods went where they went
    explanations  of decisions, what every rule said of every node; node_lists: the nodes' names
    build_contexts  what clients have uploaded for ImageBuilds, until they have ended
    writers     the last transaction of each writing process: when a connection dies while
                committing, this tells what became of it. (Transaction ids do not: after a crash
                PostgreSQL gives the id of a transaction that left no trace to another one.)
    marks       which revision was the last one at a time, so that age needs no column

Objects carry their digest without a foreign key: its per-row trigger would halve insert speed.
Deleting a spec happens under the head lock and moves head.spec_generation, which tells every
writer to forget which digests it knows to be present.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, TIMESTAMP, UUID

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)

# Byte order: the same in Python, and much faster than a language's collation.
Name = sa.Text(collation="C")
Time = TIMESTAMP(timezone=True)

specs = sa.Table(
    "specs",
    metadata,
    sa.Column("digest", BYTEA, primary_key=True),
    sa.Column("body", JSONB, nullable=False),
)

objects = sa.Table(
    "objects",
    metadata,
    sa.Column("resource", Name, primary_key=True),
    sa.Column("namespace", Name, primary_key=True),
    sa.Column("name", Name, primary_key=True),
    sa.Column("uid", UUID(as_uuid=False), nullable=False, unique=True),
    sa.Column("revision", sa.BigInteger, nullable=False, index=True),
    sa.Column("created_revision", sa.BigInteger, nullable=False),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("digest", BYTEA),
    sa.Column("body", JSONB),
    sa.Column("status", JSONB),
)

bindings = sa.Table(
    "bindings",
    metadata,
    sa.Column("pod_uid", UUID(as_uuid=False), primary_key=True),
    sa.Column("node", Name, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False, index=True),
    sa.Column("bound_at", Time, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("cpu_milli", sa.BigInteger, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("requests", JSONB),
    sa.Column("decision", sa.BigInteger, nullable=False),
    sa.Column("released", sa.Boolean, nullable=False),
    sa.Index(None, "node", "revision"),
)

cohorts = sa.Table(
    "cohorts",
    metadata,
    sa.Column("uid", UUID(as_uuid=False), primary_key=True),
    sa.Column("namespace", Name, nullable=False),
    sa.Column("prefix", Name, nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("created_revision", sa.BigInteger, nullable=False, index=True),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("digest", BYTEA, nullable=False, index=True),
    sa.Column("status", JSONB),
    sa.Column("gone", BYTEA),
    sa.Index(None, "namespace", "prefix", "start"),
)

cohort_bindings = sa.Table(
    "cohort_bindings",
    metadata,
    sa.Column(
        "cohort",
        UUID(as_uuid=False),
        sa.ForeignKey("cohorts.uid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("last_revision", sa.BigInteger, nullable=False, index=True),
    sa.Column("bound_at", Time, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("cpu_milli", sa.BigInteger, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("requests", JSONB),
    sa.Column("decision", sa.BigInteger, nullable=False),
    sa.Column("ordinals", ARRAY(sa.Integer), nullable=False),
    sa.Column("nodes", ARRAY(Name), nullable=False),
)

cohort_reports = sa.Table(
    "cohort_reports",
    metadata,
    sa.Column(
        "cohort",
        UUID(as_uuid=False),
        sa.ForeignKey("cohorts.uid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("last_revision", sa.BigInteger, nullable=False, index=True),
    sa.Column("ordinals", ARRAY(sa.Integer), nullable=False),
    sa.Column("phase", Name, nullable=False),
    sa.Column("pieces", ARRAY(sa.Text), nullable=False),
    sa.Column("fields", ARRAY(sa.Integer), nullable=False),
    sa.Column("own", ARRAY(sa.Text), nullable=False),
)

host_ports = sa.Table(
    "host_ports",
    metadata,
    sa.Column("node", Name, primary_key=True),
    sa.Column("port", sa.Integer, primary_key=True),
    sa.Column("protocol", Name, primary_key=True),
    sa.Column("host_ip", Name, primary_key=True),
    sa.Column("pod_uid", UUID(as_uuid=False), nullable=False, index=True),
)

tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("resource", Name, nullable=False),
    sa.Column("created_revision", sa.BigInteger, nullable=False),
    sa.Column("deleted_at", Time, nullable=False),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("digest", BYTEA),
    sa.Column("body", JSONB),
    sa.Column("status", JSONB),
    sa.Column("node", Name),
    sa.Column("bound_at", Time),
    sa.Column("bound_revision", sa.BigInteger),
)

head = sa.Table(
    "head",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("spec_generation", sa.BigInteger, nullable=False),
    sa.Column("compacted", sa.BigInteger, nullable=False),
    sa.CheckConstraint("one", name="single"),
)

leaders = sa.Table(
    "leaders",
    metadata,
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("since", Time, nullable=False),
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("made_at", Time, nullable=False, index=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("namespace", Name, nullable=False),
    sa.Column("pod", Name, nullable=False),
    sa.Column("digest", BYTEA, nullable=False),
    sa.Column("pods", sa.Integer, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("node", Name, nullable=False),
    sa.Column("alternatives", JSONB, nullable=False),
    sa.Column("rejections", JSONB, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("members", ARRAY(Name), nullable=False, server_default="{}"),
    sa.Index(None, "namespace", "pod"),
)

explanations = sa.Table(
    "explanations",
    metadata,
    sa.Column("decision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("made_at", Time, nullable=False, index=True),
    sa.Column("nodes", BYTEA, sa.ForeignKey("node_lists.digest"), nullable=False, index=True),
    sa.Column("payload", BYTEA, nullable=False),
)

node_lists = sa.Table(
    "node_lists",
    metadata,
    sa.Column("digest", BYTEA, primary_key=True),
    sa.Column("payload", BYTEA, nullable=False),
)

assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("placement", UUID(as_uuid=False), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("pod", Name, nullable=False),
    sa.Column("node", Name, nullable=False),
)

build_contexts = sa.Table(
    "build_contexts",
    metadata,
    sa.Column("build", UUID(as_uuid=False), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("content", BYTEA, nullable=False),
)

writers = sa.Table(
    "writers",
    metadata,
    sa.Column("id", UUID(as_uuid=False), primary_key=True),
    sa.Column("transaction", sa.BigInteger, nullable=False),
    sa.Column("at", Time, nullable=False),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("at", Time, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
)
