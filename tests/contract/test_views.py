"""The SQL views, which are a public interface (docs/sql.md)."""

import re
from fractions import Fraction
from pathlib import Path

import pytest

from scheduler.objects.stored import intern_body
from scheduler.store.operations import Remove
from scheduler.store.postgres import connect
from tests.store_values import bind, create, key, pod, replace

DOCUMENT = Path(__file__).parents[2] / "docs" / "sql.md"
QUERIES = re.findall(r"```sql\n(.*?);\n```", DOCUMENT.read_text(), re.DOTALL)
OVERCOMMITTED, OVERCOMMITTED_OTHERS = QUERIES[:2]


@pytest.fixture
async def sql(database_url):
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("text", "milli"),
    [
        ("1", 1000),
        ("100m", 100),
        ("0.5", 500),
        (".5", 500),
        ("1e3", 1_000_000),
        ("1E3", 1_000_000),
        ("2k", 2_000_000),
        ("1Ki", 1_024_000),
        ("3Gi", 3 * 1024**3 * 1000),
        ("1.5Gi", int(Fraction(3, 2) * 1024**3 * 1000)),
        ("7E", 7 * 10**21),
        ("1Ei", 1024**6 * 1000),
        ("1u", 1),
        ("1n", 1),
        ("", None),
        ("x", None),
        ("1 Gi", None),
    ],
)
async def test_quantities(sql, text, milli):
    assert await sql.fetchval("SELECT quantity_milli($1)", text) == milli


async def test_views_tell_what_is_where(cluster, sql):
    body = intern_body(b'{"spec":{"containers":[],"priority":7}}')
    node = await cluster.get(key("nodes", "a"))
    status = (
        b'{"allocatable":{"cpu":"250m","memory":"1Gi","pods":"110"},'
        b'"conditions":[{"type":"Ready","status":"True"}]}'
    )
    await cluster.write(replace(node, status=status))
    pods = [await cluster.write(pod(f"p{i}", body)) for i in range(4)]
    for i, obj in enumerate(pods[:3]):
        await cluster.write(bind(obj, "a", await cluster.revision(), decision=i))
    third = await cluster.get(pods[2].key)
    await cluster.write(replace(third, status=b'{"phase":"Succeeded"}'))
    rows = await sql.fetch("SELECT name, phase, node, cpu_milli, priority FROM pods ORDER BY name")
    assert [tuple(row) for row in rows] == [
        ("p0", "Pending", "a", 100, 7),
        ("p1", "Pending", "a", 100, 7),
        ("p2", "Succeeded", "a", 100, 7),
        ("p3", "Pending", None, None, 7),
    ]
    rows = await sql.fetch(
        "SELECT name, ready, unschedulable, allocatable_cpu_milli, allocatable_memory_bytes,"
        " allocatable_pods, requested_cpu_milli, requested_memory_bytes, pods FROM nodes"
        " ORDER BY name"
    )
    assert [tuple(row) for row in rows] == [
        ("a", True, False, 250, 1 << 30, 110, 200, 2 << 20, 2),
        ("b", False, False, None, None, None, 0, 0, 0),
    ]
    rows = await sql.fetch("SELECT pod, node, decision, holds_capacity FROM placements ORDER BY 1")
    assert [tuple(row) for row in rows] == [
        ("p0", "a", None, True),
        ("p1", "a", 1, True),
        ("p2", "a", 2, False),
    ]
    assert await sql.fetch(OVERCOMMITTED) == []
    await cluster.write(bind(pods[3], "a", await cluster.revision()))
    assert [row[0] for row in await sql.fetch(OVERCOMMITTED)] == ["a"]
    await cluster.write(Remove(pods[3].key))
    assert await sql.fetch(OVERCOMMITTED) == []


async def test_views_bear_odd_objects(cluster, sql):
    await cluster.write(create("nodes", "odd", status=b'{"allocatable":{"cpu":"?"}}'))
    await cluster.write(create("pods", "odd", "default"))
    assert await sql.fetchval("SELECT count(*) FROM nodes") == 3
    assert await sql.fetchval("SELECT count(*) FROM pods") == 1


async def test_other_resources_are_counted_too(cluster, sql):
    node = await cluster.get(key("nodes", "a"))
    await cluster.write(replace(node, status=b'{"allocatable":{"nvidia.com/gpu":"1"}}'))
    for name in ("p", "q"):
        assert await sql.fetch(OVERCOMMITTED_OTHERS) == []
        made = await cluster.write(pod(name))
        requests = {"nvidia.com/gpu": 1, "pods": 1}
        await cluster.write(bind(made, "a", await cluster.revision(), requests=requests))
    rows = await sql.fetch(OVERCOMMITTED_OTHERS)
    assert [tuple(row) for row in rows] == [("a", "nvidia.com/gpu", 2)]


@pytest.mark.parametrize("query", QUERIES)
async def test_documented_queries_run(cluster, sql, query):
    await sql.fetch(query)
