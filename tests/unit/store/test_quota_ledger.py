"""What is used of quotas is what there is, whatever is written, and never more than may be."""

import json
import uuid
from datetime import UTC, datetime

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import Conflict, Forbidden
from scheduler.objects.cohort import Cohort, cohort_uid
from scheduler.objects.kinds.quota_account import Account
from scheduler.objects.kinds.quota_charge import charge_of
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, ObjectKey, StoredObject, intern_body
from scheduler.store.bind import terminal
from scheduler.store.decide import decide, touched
from scheduler.store.operations import CohortChange, Create, CreateCohort, Remove, Replace
from scheduler.store.quota_ledger import charged_namespaces, recounted
from scheduler.store.verdict import Present

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACES = ("here", "there")
RUNNING, OVER = b'{"phase":"Running"}', b'{"phase":"Failed"}'


def body(cpu, *, brief=False):
    spec = {"containers": [{"name": "c", "resources": {"requests": {"cpu": f"{cpu}m"}}}]}
    spec |= {"activeDeadlineSeconds": 9} if brief else {}
    return intern_body(json.dumps({"spec": spec}).encode())


def quota_body(pods, cpu, scopes):
    hard = {"pods": str(pods), "count/pods": "99", "resourcequotas": "2"}
    hard = {"pods": str(pods)} if scopes else {**hard, "cpu": f"{cpu}m", "configmaps": "2"}
    return Body(json.dumps({"spec": {"hard": hard, "scopes": scopes}}).encode())


def meta(name, namespace):
    return ObjectMeta(name=name, namespace=namespace, uid=str(uuid.uuid4()))


class World:
    """Objects, and cohorts, as the store would keep them."""

    def __init__(self):
        self.revision = 10
        self.objects = {}
        self.lodgings = {}
        self.quotas = {}
        for name in NAMESPACES:
            self.put(StoredObject("namespaces", ObjectMeta(name=name), 1, 1, Body(b"{}")))

    def put(self, obj):
        self.objects[obj.key] = obj

    def get(self, key):
        found = self.objects.get(key)
        for lodging in self.lodgings.values() if found is None else ():
            cohort = lodging.cohort
            ordinal = cohort.ordinal(key.name) if key.resource == "pods" else None
            if cohort.namespace == key.namespace and ordinal is not None and lodging.lives(ordinal):
                found = lodging.pod(ordinal)
        return found

    def all(self, namespace):
        found = [obj for obj in self.objects.values() if obj.meta.namespace == namespace]
        lots = (lot for lot in self.lodgings.values() if lot.cohort.namespace == namespace)
        return found + [pod for lot in lots for pod in lot.pods()]

    def census(self, namespace):
        for obj in self.all(namespace):
            over = obj.resource == "pods" and terminal(obj)
            yield charge_of(obj.resource, obj.body, ended=over), 1

    def present(self, ops):
        objects = {key: self.get(key) for key in touched(ops)}
        present = Present(self.revision, 1, objects, lodgings=list(self.lodgings.values()))
        for name in charged_namespaces(ops):
            if held := self.quotas.get(name):
                present.quotas[name] = held
                objects.update({each.stored.key: each.stored for each in held})
        present.census = {name: [*self.census(name)] for name in recounted(ops, objects)}
        return present

    def write(self, ops):
        verdict = decide(ops, self.present(ops), NOW)
        for change in verdict.changes:
            if isinstance(change, CohortChange):
                continue
            if change.type == "DELETED":
                self.objects.pop(change.object.key, None)
            else:
                self.put(change.object)
        for lodging in verdict.lodgings:
            self.lodgings[lodging.cohort.uid] = lodging
        self.quotas.update(verdict.quotas)
        self.revision = verdict.revision
        for name, held in verdict.quotas.items():
            assert {each.stored.key: each.stored for each in held} == {
                obj.key: obj for obj in self.all(name) if obj.resource == "resourcequotas"
            }
        return verdict.outcomes

    def accounts(self):
        return {
            obj.key: Account(obj, 0)
            for obj in self.objects.values()
            if obj.resource == "resourcequotas"
        }


NAMES = st.sampled_from(["a", "b", "c", "d", "t"])
SPACES = st.sampled_from(["here", "here", "there"])


class Wishes:
    """Operations that hypothesis chooses, made for a world when their turn comes."""

    @staticmethod
    def pod(name, namespace, cpu, _world):
        return Create("pods", meta(name, namespace), body(cpu, brief=name == "t"), RUNNING)

    @staticmethod
    def other(name, namespace, _cpu, _world):
        return Create("configmaps", meta(name, namespace), Body(b"{}"))

    @staticmethod
    def cohort(name, namespace, size, _world):
        lot = Cohort(
            cohort_uid(), namespace, f"{name}-", 0, size, 0, ObjectMeta(), body(200), RUNNING
        )
        return CreateCohort(lot)

    @staticmethod
    def quota(name, namespace, cpu, _world):
        scopes = ["Terminating"] if name == "t" else []
        return Create("resourcequotas", meta(name, namespace), quota_body(cpu // 200, cpu, scopes))

    @staticmethod
    def edit(name, namespace, cpu, world):
        old = world.get(ObjectKey("resourcequotas", namespace, name))
        wanted = quota_body(cpu // 100, cpu, ["Terminating"] if name == "t" else [])
        return old and Replace(old.resource, old.meta, wanted, b"{}", old.revision)

    @staticmethod
    def end(_name, namespace, number, world):
        pods = [obj for obj in world.all(namespace) if obj.resource == "pods"]
        old = pods[number % len(pods)] if pods else None
        return old and Replace("pods", old.meta, old.body, OVER, None)

    @staticmethod
    def resize(name, namespace, cpu, world):
        old = world.get(ObjectKey("pods", namespace, name))
        return old and Replace("pods", old.meta, body(cpu, brief=name == "t"), old.status, None)

    @staticmethod
    def remove(_name, namespace, number, world):
        found = [obj for obj in world.all(namespace) if obj.meta.namespace]
        return found and Remove(found[number % len(found)].key)


KINDS = ["pod", "pod", "other", "cohort", "cohort", "quota", "edit", "end", "resize", "remove"]
WISH = st.tuples(st.sampled_from(KINDS), NAMES, SPACES, st.integers(1, 9))


@settings(max_examples=150)
@given(st.lists(st.lists(WISH, min_size=1, max_size=6), max_size=14))
def test_what_is_used_is_what_there_is(batches):
    world = World()
    for name in NAMESPACES:
        world.write([Create("resourcequotas", meta("a", name), quota_body(6, 1500, []))])
    for wishes in batches:
        ops = []
        for kind, name, namespace, number in wishes:
            counts = kind in {"cohort", "end", "remove"}
            wanted = number if counts else number * 100
            if op := getattr(Wishes, kind)(name, namespace, wanted, world):
                ops.append(op)
        before = world.accounts()
        world.write(ops)
        for key, account in world.accounts().items():
            anew = Account(account.stored, 0)
            anew.recount(world.census(key.namespace))
            assert account.used == anew.used
            assert account.hard == anew.hard
            old = before.get(key)
            if old is None or old.hard != account.hard:
                continue  # made for what was there, or lowered
            for name, used in account.used.items():
                assert used <= max(account.hard[name], old.used[name])


def outcome(world, op):
    return world.write([op])[0]


def test_a_cohort_is_cut_to_what_fits_and_the_rest_told_why():
    world = World()
    world.write([Create("resourcequotas", meta("q", "here"), quota_body(5, 9000, []))])
    lot = Cohort(cohort_uid(), "here", "web-", 0, 8, 0, ObjectMeta(), body(200), RUNNING)
    made = outcome(world, CreateCohort(lot))
    assert made.size == 5
    rest = Cohort(cohort_uid(), "here", "web-", 5, 3, 0, ObjectMeta(), body(200), RUNNING)
    refused = outcome(world, CreateCohort(rest))
    assert isinstance(refused, Forbidden)
    assert refused.message == (
        'pods "web-" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, '
        "limited: pods=5"
    )


def test_one_quota_of_several_is_enough_to_refuse():
    world = World()
    world.write(
        [
            Create("resourcequotas", meta("b", "here"), quota_body(9, 100, [])),
            Create("resourcequotas", meta("a", "here"), quota_body(9, 9000, [])),
        ]
    )
    refused = outcome(world, Create("pods", meta("p", "here"), body(200)))
    assert "exceeded quota: b, requested: cpu=200m, used: cpu=0, limited: cpu=100m" in str(refused)
    used = [each.used["pods"] for each in world.accounts().values()]
    assert used == [0, 0]


def test_that_it_was_counted_on_is_no_conflict_for_who_edits_a_quota():
    world = World()
    [made] = world.write([Create("resourcequotas", meta("q", "here"), quota_body(5, 9000, []))])
    world.write([Create("pods", meta("p", "here"), body(200))])
    wanted = quota_body(7, 9000, [])
    edit = Replace("resourcequotas", made.meta, wanted, b"", made.revision)
    edited = outcome(world, edit)
    assert json.loads(edited.status)["hard"]["pods"] == "7"
    assert json.loads(edited.status)["used"]["pods"] == "1"
    again = msgspec.structs.replace(edit, body=quota_body(8, 9000, []))
    assert isinstance(outcome(world, again), Conflict)
    late = Remove(made.key, made.meta.uid, edited.revision)
    world.write([Create("pods", meta("p2", "here"), body(200))])
    assert isinstance(outcome(world, late), StoredObject)
    world.write([Create("pods", meta(str(n), "here"), body(2000)) for n in range(9)])
    assert sum(obj.resource == "pods" for obj in world.all("here")) == 11


def test_a_client_cannot_write_what_is_used():
    world = World()
    [made] = world.write([Create("resourcequotas", meta("q", "here"), quota_body(1, 900, []))])
    world.write([Create("pods", meta("p", "here"), body(200))])
    told = Replace(made.resource, made.meta, made.body, b'{"used":{"pods":"0"}}', None)
    assert json.loads(outcome(world, told).status)["used"]["pods"] == "1"
    assert isinstance(outcome(world, Create("pods", meta("p2", "here"), body(200))), Forbidden)


def test_a_change_is_held_to_what_it_adds():
    world = World()
    world.write([Create("resourcequotas", meta("q", "here"), quota_body(5, 1000, []))])
    [made] = world.write([Create("pods", meta("p", "here"), body(800))])
    grown = Replace("pods", made.meta, body(1000), RUNNING, None)
    assert isinstance(outcome(world, grown), StoredObject)
    refused = outcome(world, Replace("pods", made.meta, body(1001), RUNNING, None))
    assert "requested: cpu=1m, used: cpu=1, limited: cpu=1" in str(refused)
