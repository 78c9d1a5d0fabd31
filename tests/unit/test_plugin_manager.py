"""The plugin manager names whoever breaks the contract."""

import numpy as np
import pytest

from scheduler import hookimpl
from scheduler.errors import PluginError
from scheduler.hookspecs import Args, Change, Mutual, Normalise, Verdict
from scheduler.plugin_manager import PluginManager
from scheduler.profile import Profile
from tests.placement_cases import a_class, cluster, node


class Everywhere:
    name = "Everywhere"
    wakes_on = Change.ANY

    def filter(self, pod, snapshot):
        return None


class Even:
    name = "Even"
    weight = 1
    normalise = Normalise.NONE
    depends_on_copies = False

    def score(self, pod, snapshot, rows, copies):
        return np.full(rows.shape, self.value, dtype=np.float64)

    value = 1.0


class Plugin:
    def __init__(self, filters=(), scorers=()):
        self._filters, self._scorers = filters, scorers

    @hookimpl
    def ironfree_filters(self):
        return self._filters

    @hookimpl
    def ironfree_scorers(self, args: Args):
        return self._scorers


def managed(*plugins):
    manager = PluginManager()
    for number, plugin in enumerate(plugins):
        manager.register(plugin, f"plugin-{number}")
    manager.collect()
    return manager


def test_gathers_what_plugins_offer():
    manager = managed(Plugin([Everywhere()], [Even()]))
    assert [f.name for f in manager.rules(Profile()).filters] == ["Everywhere"]
    assert [s.name for s in manager.rules(Profile()).scorers] == ["Even"]


def test_loads_installed_plugins():
    assert "NodeResourcesFit" in [f.name for f in PluginManager.load().rules(Profile()).filters]
    assert PluginManager.load(without=["defaults"]).rules(Profile()).filters == ()


def test_a_name_used_twice_names_both_plugins():
    with pytest.raises(PluginError, match=r"'plugin-0' and 'plugin-1' both offer 'Everywhere'"):
        managed(Plugin([Everywhere()]), Plugin([Everywhere()]))


def test_an_unknown_hook_is_refused():
    class Misspelt:
        @hookimpl
        def ironfree_filter(self):
            return []

    with pytest.raises(PluginError, match=r"'plugin-0'.*unknown hook 'ironfree_filter'"):
        managed(Misspelt())


def test_a_wrong_parameter_is_refused():
    class Wrong:
        @hookimpl
        def ironfree_filters(self, settings):
            return []

    with pytest.raises(PluginError, match=r"(?s)'plugin-0'.*settings"):
        managed(Wrong())


def test_a_wrong_annotation_is_refused():
    class Wrong:
        @hookimpl
        def ironfree_filters(self, args: list[str]):
            return []

    with pytest.raises(PluginError, match=r"declares args: list\[str\]"):
        managed(Wrong())


def test_a_filter_without_its_members_is_refused():
    with pytest.raises(PluginError, match=r"without filter, wakes_on|without wakes_on, filter"):
        managed(Plugin([Even()]))


def test_a_filter_with_other_parameters_is_refused():
    class Narrow(Everywhere):
        def filter(self, pod):
            return None

    with pytest.raises(PluginError, match=r"filter does not take"):
        managed(Plugin([Narrow()]))


def test_a_hook_that_raises_is_named():
    class Broken:
        @hookimpl
        def ironfree_scorers(self):
            raise OSError("no licence file")

    with pytest.raises(PluginError, match=r"'plugin-0': ironfree_scorers failed: no licence file"):
        managed(Broken())


def test_a_raising_filter_is_named():
    class Broken(Everywhere):
        def filter(self, pod, snapshot):
            raise ZeroDivisionError

    guarded = managed(Plugin([Broken()])).rules(Profile()).filters[0]
    with pytest.raises(PluginError, match=r"filter Everywhere of plugin 'plugin-0' failed"):
        guarded.filter(a_class(), cluster().freeze(1))
    assert (guarded.timing.answered.count, guarded.timing.failed.count) == (0, 1)


@pytest.mark.parametrize(
    "room", [np.ones(2, dtype=bool), np.ones(3, dtype=np.float64), np.ones((3, 1), dtype=bool)]
)
def test_an_answer_of_the_wrong_shape_is_refused(room):
    class Wrong(Everywhere):
        def filter(self, pod, snapshot):
            return Verdict(room, "no")

    guarded = managed(Plugin([Wrong()])).rules(Profile()).filters[0]
    snapshot = cluster(*(node(f"n{i}") for i in range(3))).freeze(1)
    with pytest.raises(PluginError, match=r"must be \(3,\)"):
        guarded.filter(a_class(), snapshot)


@pytest.mark.parametrize("value", [101.0, -1.0, float("nan"), float("inf")])
def test_a_score_out_of_range_is_refused(value):
    scorer = Even()
    scorer.value = value
    guarded = managed(Plugin([], [scorer])).rules(Profile()).scorers[0]
    snapshot = cluster(node("n")).freeze(1)
    zero = np.zeros(1, dtype=np.int64)
    with pytest.raises(PluginError, match=r"scores are 0 to 100"):
        guarded.score(a_class(), snapshot, zero, zero)


@pytest.mark.parametrize(
    "said",
    [
        Mutual(1, {0: 1.0}, np.zeros(2, dtype=np.int64)),
        Mutual(0, {-1: 1.0}, np.zeros(2, dtype=np.int64)),
        Mutual(0, {0: float("nan")}, np.zeros(2, dtype=np.int64)),
        Mutual(0, {0: 1.0}, np.zeros(3, dtype=np.int64)),
        Mutual(0, {0: 1.0}, np.zeros(2)),
        None,
    ],
)
def test_what_cannot_be_said_of_pairs_is_refused(said):
    class Sociable(Even):
        def mutual(self, pods, snapshot, rows):
            return [said]

    snapshot = cluster(node("a"), node("b")).freeze(1)
    guarded, mute = managed(Plugin([], [Sociable()])), managed(Plugin([], [Even()]))
    with pytest.raises(PluginError, match="scorer Even of plugin 'plugin-0'"):
        guarded.rules(Profile()).scorers[0].mutual([a_class()], snapshot, snapshot.all_rows)
    silent = mute.rules(Profile()).scorers[0]
    assert silent.mutual([a_class()], snapshot, snapshot.all_rows) == ()
