"""The example of soft limits in docs/batch.md does what it says."""

from pathlib import Path

import numpy as np

from scheduler import hookimpl
from tests.batch_cases import host, job, rules, settled, template, where

PAGE = Path(__file__).parents[3] / "docs/batch.md"
ZONE = "topology.kubernetes.io/zone"


def test_the_house_rule_of_the_page_runs_and_holds():
    text = PAGE.read_text()
    code = next(part for part in text.split("```python")[1:] if "class House" in part)
    names: dict[str, object] = {}
    exec(code.partition("```")[0], names)

    class Plugin:
        @hookimpl
        def ironfree_batch_rules(self, args):
            return [names["House"]()]

    hosts = [
        host(name, cpu="10", rack=rack, **{ZONE: zone})
        for name, rack, zone in (("a", "r1", "x"), ("b", "r2", "x"), ("c", "r3", "y"))
    ]
    asked = job(
        template("web", 6, cpu="2"),
        template("cache", 2, cpu="2"),
        objective=({"place": "count"}, {"prefer": "House"}),
    )
    found = settled(asked, hosts, rules(Plugin()))
    assert found.placed == 8
    assert found.violations == ()
    placed = where(found)
    apps = {n: [pod.split("-")[0] for pod in pods] for n, pods in placed.items()}
    assert "cache" in apps["c"]
    assert "cache" in apps["a"] + apps["b"]
    # 16 cores on three hosts: 6, 6 and 4, none above 70 %; the fullest rack has 6.
    assert np.array(sorted(map(len, placed.values()))).tolist() == [2, 3, 3]
    assert found.solver.goals[1].value == "-6000"
