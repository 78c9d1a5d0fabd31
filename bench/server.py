"""Starts `ironfree serve` on a fresh data directory, and measures and questions it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from scheduler.store.postgres import connect


class Server:
    """A running service with its own PostgreSQL."""

    def __init__(self, url: str, data_dir: Path, pid: int) -> None:
        self.url = url
        self.database_url = (
            f"postgresql://ironfree@/ironfree?host={quote(str(data_dir / 'socket'))}"
        )
        self.pid = pid
        self._peak_postgres = 0
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def memory(self) -> tuple[int, int]:
        """Return the peaks in MiB: of the service (resident), of PostgreSQL (proportional)."""
        self._look()
        status = Path(f"/proc/{self.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(peak[1]) // 1024 if peak else 0, self._peak_postgres // 1024

    def cpu_seconds(self) -> float:
        """Return the CPU time the service has used, PostgreSQL not included."""
        return cpu_seconds(self.pid)

    def stop_sampling(self) -> None:
        """End the memory sampler."""
        self._done.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._done.wait(1.0):
            self._look()

    def _look(self) -> None:
        total = sum(_proportional(pid) for pid in _descendants(self.pid))
        self._peak_postgres = max(self._peak_postgres, total)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, its children not included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text().split()
            for child in map(int, children):
                found += [child, *_descendants(child)]
    return found


def _proportional(pid: int) -> int:
    """Return a process's proportional set size in KiB."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


@contextlib.contextmanager
def running(**environment: str) -> Iterator[Server]:
    """Start a service on an empty data directory, stop it and remove the directory afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="ironfree-bench-"))
    directory.chmod(0o755)  # PostgreSQL runs as another user when we are root
    command = [sys.executable, "-m", "scheduler", "serve", "--port", "0"]
    command += ["--data-dir", str(directory), "--log-level", "WARNING"]
    inherited = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
    process = subprocess.Popen(
        command, env=inherited | environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"https?://\S+", line)
        if found is None:
            raise SystemExit(f"the service did not start: {line}{process.stdout.read()}")
        server = Server(found[0], directory, process.pid)
        yield server
        server.stop_sampling()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(directory, ignore_errors=True)


async def ask(server: Server, query: str) -> list[tuple[object, ...]]:
    """Return the rows of an SQL query on the service's database."""
    connection = await connect(server.database_url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


OVERCOMMITTED = """
SELECT n.name, r.key, used, capacity FROM (
    SELECT node, 'cpu' AS key, sum(cpu_milli)::numeric AS used FROM bindings
        WHERE NOT released GROUP BY node
    UNION ALL SELECT node, 'memory', sum(memory_bytes) * 1000::numeric FROM bindings
        WHERE NOT released GROUP BY node
    UNION ALL SELECT node, 'pods', count(*) * 1000::numeric FROM bindings
        WHERE NOT released GROUP BY node
    UNION ALL SELECT node, key, sum(value::numeric) * 1000 FROM bindings, jsonb_each_text(requests)
        WHERE NOT released AND key NOT IN ('cpu', 'memory', 'pods') GROUP BY node, key
) r JOIN LATERAL (
    SELECT o.name, coalesce(quantity_milli(o.status -> 'allocatable' ->> r.key), 0) AS capacity
    FROM objects o WHERE o.resource = 'nodes' AND o.name = r.node
) n ON true WHERE used > capacity
"""
