"""Placements are given up in time, whatever the pods' rules become in the solver's numbers."""

import time

import numpy as np
import pytest

from scheduler import hookimpl
from scheduler.hookspecs import Change, Verdict
from scheduler.placement.batch.preparation import prepare
from scheduler.placement.scenario import read_scenario
from scheduler.placement.solver.engine import Options, solve
from tests.batch_cases import host, job, rules, template

ASKED = 0.5  # seconds
GENEROUS = 1.5  # one look too few at the clock took 6 s


class Seats:
    """A filter that counts, so that every class is one more resource."""

    name = "Seats"
    wakes_on = Change.ANY

    def filter(self, pod, snapshot):
        return Verdict(np.full(snapshot.size, 2, dtype=np.int64), "no more seats")

    @hookimpl
    def ironfree_filters(self, args):
        return [self]


def workload(number, cpu, memory):
    """Return pods: a third with spread constraints, a sixth that keep apart on hosts."""
    name, kind = f"w{number}", number % 6
    chosen = {"labelSelector": {"matchLabels": {"app": name}}}
    fields = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}
    if kind < 2:
        key = ("zone", "kubernetes.io/hostname")[kind]
        even = {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", **chosen}
        fields["topologySpreadConstraints"] = [even]
    elif kind == 2:
        term = {"topologyKey": "kubernetes.io/hostname", **chosen}
        apart = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        fields["affinity"] = {"podAntiAffinity": apart}
    return template(name, 20, **fields)


@pytest.mark.parametrize("plugins", [(), (Seats(),)])
def test_the_deadline_is_kept_with_rules_of_many_workloads(plugins):
    random = np.random.default_rng(1)
    hosts = [host(f"h{n}", cpu="32", zone="xyz"[n % 3]) for n in range(300)]
    wanted = [
        workload(number, *random.integers((500, 256), (4000, 4000)).tolist())
        for number in range(150)
    ]
    cluster = read_scenario({"nodes": hosts})
    problem = prepare(job(*wanted), cluster, rules(*plugins)).model.problem
    began = time.process_time()
    found = solve(problem, Options(seconds=ASKED, clock=time.process_time))
    assert time.process_time() - began < GENEROUS
    assert found.goals[0].value == 3000
