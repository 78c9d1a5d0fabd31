"""What a service takes in at its start."""

import subprocess
import sys


def test_the_solver_is_loaded_by_its_own_process_only():
    """It takes a second and much memory, and the service needs none of it."""
    heavy = {"ortools", "pandas", "scheduler.placement.solver.engine"}
    shown = subprocess.run(
        [sys.executable, "-c", "import sys, scheduler.app; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert "scheduler.placement.batch.engine" in shown.split()
    assert heavy.isdisjoint(shown.split())
