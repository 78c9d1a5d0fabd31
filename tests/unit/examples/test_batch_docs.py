"""The example of docs/batch.md does what the chapter says."""

import re
from pathlib import Path
from types import SimpleNamespace

from tests.batch_cases import host, job, rules, settled, template, where

DOCS = Path(__file__).parents[3] / "docs" / "batch.md"


def test_the_rule_in_the_chapter_holds():
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (block,) = [each for each in blocks if "class ThreeOfVendor" in each]
    plugin = {}
    exec(block, plugin)
    hosts = [host(name) for name in "abcd"]
    found = settled(
        job(template("p", 5, cpu="1", image="vendor/db:1"), template("q", 2, cpu="1")),
        hosts,
        rules(SimpleNamespace(**plugin)),
    )
    placed = [[pod for pod in pods if pod.startswith("p")] for pods in where(found).values()]
    assert (found.placed, sum(map(len, placed)), max(map(len, placed))) == (5, 3, 1)
    assert found.violations == ()
