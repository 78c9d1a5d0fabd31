"""What a Placement says of preferences among its own pods is what they come to, pod by pod."""

from itertools import permutations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.batch_cases import host, job, rules, settled, template, where

WEIGHT = 2  # of InterPodAffinity
KEYS = ("zone", "kubernetes.io/hostname")
ZONES = {"a": "x", "b": "x", "c": "y"}
CPU = 4
LIKED = ({"place": "count"}, {"prefer": "pods"}, {"hosts": "fewest"})
RULES = rules()

terms = st.tuples(
    st.sampled_from((1, -1)),
    st.integers(1, 100),
    st.sampled_from("pq"),
    st.sampled_from(KEYS),
)
apps = st.tuples(st.integers(1, 3), st.integers(1, 3), st.lists(terms, max_size=2))


def hosts():
    return [host(name, cpu=str(CPU), zone=zone) for name, zone in ZONES.items()]


def affinity(given):
    found = {}
    for sign, weight, app, key in given:
        kind = "podAffinity" if sign > 0 else "podAntiAffinity"
        term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
        preferred = found.setdefault(kind, {"preferredDuringSchedulingIgnoredDuringExecution": []})[
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        preferred.append({"weight": weight, "podAffinityTerm": term})
    return found


def placement(p, q, objective):
    wanted = [
        template(name, copies, cpu=str(cpu), **({"affinity": affinity(soft)} if soft else {}))
        for name, (copies, cpu, soft) in (("p", p), ("q", q))
    ]
    return job(*wanted, objective=objective)


def domain(key, node):
    return ZONES[node] if key == "zone" else node


def worth(p, q, placed):
    """Return the sum of all pods' scores; placed: (app, node) of each pod."""
    own = {"p": p[2], "q": q[2]}

    def weights(mine, other, key):
        about = [s * w for s, w, app, k in own[mine] if app == other and k == key]
        return sum(about) + sum(s * w for s, w, app, k in own[other] if app == mine and k == key)

    total = 0.0
    for (mine, node), (other, there) in permutations(placed, 2):
        most = max(abs(weights(mine, each, key)) for each in "pq" for key in KEYS)
        for key in KEYS:
            if most and domain(key, node) == domain(key, there):
                total += round(WEIGHT * 100.0 / most * weights(mine, other, key), 0)
    return total


def fits(p, q, placed):
    size = {"p": p[1], "q": q[1]}
    return all(sum(size[app] for app, on in placed if on == node) <= CPU for node in ZONES)


def placed_of(found):
    return [(name[0], node) for node, pods in where(found).items() for name in pods]


@settings(max_examples=30, deadline=None)
@given(apps, apps)
def test_preferences_among_pods_of_a_batch_are_met_as_well_as_by_trying_everything(p, q):
    found = settled(placement(p, q, LIKED), hosts(), RULES)
    placed = placed_of(found)
    pods = ["p"] * p[0] + ["q"] * q[0]
    options = [
        [(app, node) for app, node in zip(pods, nodes, strict=True) if node]
        for nodes in product((*ZONES, None), repeat=len(pods))
    ]
    best = max((len(o), worth(p, q, o)) for o in options if fits(p, q, o))
    assert (len(placed), worth(p, q, placed)) == best
    (goal,) = [each for each in found.solver.goals if each.name == "prefer:pods"] or [None]
    if goal is None:
        assert worth(p, q, placed) == 0
    else:
        assert float(goal.value) == worth(p, q, placed)
        assert float(goal.bound or "inf") >= float(goal.value)


@settings(max_examples=15, deadline=None)
@given(apps, apps)
def test_hard_goals_before_preferences_never_get_worse_through_them(p, q):
    first = ({"place": "count"}, {"hosts": "fewest"})
    soft = settled(placement(p, q, first), hosts(), RULES)
    plain = settled(placement((*p[:2], []), (*q[:2], []), first), hosts(), RULES)
    assert (soft.placed, soft.hosts_used) == (plain.placed, plain.hosts_used)
    assert soft.violations == ()
