"""Names, uids and places of cohorts' pods."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.objects.cohort import MOST, PLACES, Lodging, berth, place_of
from scheduler.objects.names import SUFFIX_ALPHABET
from tests.store_values import cohort

EDGES = st.sampled_from([0, 1, PLACES // 2, PLACES - MOST, PLACES - 2, PLACES - 1])
STARTS = st.one_of(EDGES, st.integers(0, PLACES - 1))
SIZES = st.one_of(st.integers(1, 40), st.just(MOST))


@given(STARTS, SIZES)
def test_a_name_tells_the_ordinal(start, size):
    lot = cohort(size, start)
    names = [lot.name(each) for each in range(size)]
    assert len(set(names)) == size
    assert [lot.ordinal(name) for name in names] == list(range(size))
    assert lot.ordinal(lot.name(size)) is None
    assert lot.ordinal(lot.name(-1)) is None


@given(STARTS, st.text(st.sampled_from(SUFFIX_ALPHABET + "-a"), max_size=12))
def test_a_foreign_name_is_nobodys(start, name):
    lot = cohort(20, start)
    own = {lot.name(each) for each in range(20)}
    assert (lot.ordinal(name) is not None) == (name in own)
    assert (lot.ordinal("web-" + name) is not None) == ("web-" + name in own)


@given(st.text(st.sampled_from(SUFFIX_ALPHABET), min_size=5, max_size=5))
def test_each_suffix_has_a_place(suffix):
    place = place_of(suffix)
    assert cohort(1, place).name(0) == f"web-{suffix}"
    assert place_of(suffix + "b") is place_of(suffix[1:]) is place_of("a" + suffix[1:]) is None


@given(st.data())
def test_cohorts_overlap_if_they_share_a_name(data):
    start = data.draw(STARTS)
    other = (start + data.draw(st.integers(-50, 50))) % PLACES
    one, two = (cohort(data.draw(st.integers(1, 40)), each) for each in (start, other))
    common = {one.name(n) for n in range(one.size)} & {two.name(n) for n in range(two.size)}
    assert one.overlaps(two.start, two.size) == two.overlaps(one.start, one.size) == bool(common)


@given(st.integers(0, MOST - 1))
def test_a_uid_tells_the_berth(ordinal):
    lot = cohort(MOST)
    assert berth(lot.pod_uid(ordinal)) == (lot.uid, ordinal)
    assert len(lot.pod_uid(ordinal)) == 36


@given(st.integers(1, 70), st.data())
def test_who_is_gone_is_kept_as_bits(size, data):
    lodging = Lodging(cohort(size))
    gone = data.draw(st.sets(st.integers(0, size - 1)))
    for ordinal in gone:
        lodging.gone |= 1 << ordinal
    bits = lodging.gone_bits()
    assert (bits is None) == (not gone)
    assert int.from_bytes(bits or b"", "little") == lodging.gone
    assert [lodging.lives(n) for n in range(size)] == [n not in gone for n in range(size)]
    assert lodging.empty == (len(gone) == size)
    assert {pod.meta.name for pod in lodging.pods()} == {
        lodging.cohort.name(n) for n in range(size) if n not in gone
    }
