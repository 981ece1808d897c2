from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from domain.cells import LEUKOCYTES, LYMPHOID, Cell, CellClass, Malignancy, Subtype, WbcClass
from domain.counts import AdequacyLimits, Proportion, numbers_of
from domain.image import Box

ALL = tuple(c.value for c in WbcClass)


@st.composite
def cells(draw) -> list[Cell]:
    made = []
    for number in range(1, draw(st.integers(0, 60)) + 1):
        kind = draw(st.sampled_from(CellClass))
        wbc = malignancy = subtype = None
        final = kind.value
        if kind is CellClass.WHITE_BLOOD_CELL:
            wbc = draw(st.sampled_from([*ALL, "unclassified"]))
            final = wbc
            if wbc in LYMPHOID:
                malignancy = draw(st.sampled_from([*Malignancy, "unclassified"]))
                final = "unclassified" if malignancy == "unclassified" else wbc
            if malignancy == Malignancy.MALIGNANT:
                subtype = draw(st.sampled_from([*Subtype, "unclassified"]))
        made.append(
            Cell(
                number=number,
                image=0,
                frame=1,
                box_px=Box(0, 0, 1, 1),
                detection_p=1.0,
                cell_class=kind,
                cell_class_p=(0, 0, 1),
                wbc_class=wbc,
                malignancy=malignancy,
                subtype=subtype,
                final_class=final,
            )
        )
    return made


@given(cells(), st.randoms())
def test_sums_are_sums_and_order_changes_nothing(some, random):
    n = numbers_of(some, wbc_classes=ALL, limits=AdequacyLimits())
    assert sum(c for _, c in n.counts) == len(some)
    assert sum(r.proportion.count for r in n.differential) == n.leukocytes
    assert {r.name for r in n.differential} == set(LEUKOCYTES)
    unnamed = sum(c.is_blast and c.subtype == "unclassified" for c in some)
    assert sum(s.proportion.count for s in n.subtypes) + unnamed == n.blasts.count
    if n.blast_bounds:
        low, high = n.blast_bounds
        assert 0 <= low <= high <= 100
        if n.blasts.percent is not None:
            assert low <= n.blasts.percent <= high
    shuffled = list(some)
    random.shuffle(shuffled)
    assert numbers_of(shuffled, wbc_classes=ALL, limits=AdequacyLimits()) == n


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_is_exact(pair):
    """Clopper and Pearson: the limits are where either tail of the binomial holds 2.5 %."""
    k, n = pair
    p = Proportion(k, n)
    assert 0 <= p.low <= p.percent <= p.high <= 100
    if k > 0:
        assert abs(binom.sf(k - 1, n, p.low / 100) - 0.025) < 1e-6
    if k < n:
        assert abs(binom.cdf(k, n, p.high / 100) - 0.025) < 1e-6
