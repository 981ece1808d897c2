"""Figures against examples counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.assemble import calibrated, reject_thresholds
from training.average_precision import FieldBoxes, detection_figures
from training.calibrate import of_malignancy
from training.metrics import (
    auc,
    auc_estimate,
    bootstrapped,
    figures_of,
    fitted_temperature,
    reliability_of,
    share,
    softened_p,
)


def test_training_figures_by_hand():
    truth = np.array([0, 0, 0, 1, 1, 2])
    told = np.array([0, 0, 1, 1, -1, 0])
    figures = figures_of(truth, told, ("a", "b", "c"))
    a, b, c = figures.classes
    assert (a.precision.value, a.recall.value, a.support) == (2 / 3, 2 / 3, 3)
    assert (b.precision.value, b.recall.value, b.f1) == (1 / 2, 1 / 2, 1 / 2)
    assert (c.precision.of, c.recall.value, c.f1) == (0, 0, 0)
    assert figures.accuracy.value == 3 / 6
    assert figures.confusion == ((2, 1, 0), (0, 1, 0), (1, 0, 0))
    assert figures.macro[1] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert figures.weighted[1] == pytest.approx((3 * 2 / 3 + 2 * 1 / 2) / 6)


def test_training_interval_is_clopper_and_pearsons():
    tenth = share(1, 10)
    assert (tenth.low, tenth.high) == pytest.approx((0.00253, 0.44502), abs=1e-5)
    assert (share(0, 5).low, share(5, 5).high) == (0.0, 1.0)
    assert share(0, 5).high == pytest.approx(1 - 0.025 ** (1 / 5))


def test_training_auc_counts_pairs_and_half_of_ties():
    assert auc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == (3 + 0.5) / 4
    assert np.isnan(auc(np.array([]), np.array([1.0])))


def test_training_calibration_error_by_hand():
    p = np.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.65, 0.35]])
    found = reliability_of(np.array([0, 1, 0, 0]), p)
    assert found.ece == pytest.approx(0.5 * 0.45 + 0.5 * 0.35)
    assert found.bins == ((0.65, 1.0, 2), (0.95, 0.5, 2))


def test_training_temperature_undoes_overconfidence():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (4000, 3))
    truth = np.array([rng.choice(3, p=row) for row in softened_p(logits, 1.0)])
    assert fitted_temperature(logits * 5, truth) == pytest.approx(5, rel=0.1)
    assert reliability_of(truth, softened_p(logits * 5, 5.0)).ece < 0.03


def test_training_bootstrap_is_seeded_and_holds_the_mean():
    values = np.arange(100.0)
    first = bootstrapped(lambda i: float(values[i].mean()), 100, seed=3)
    assert first == bootstrapped(lambda i: float(values[i].mean()), 100, seed=3)
    assert first[0] < 49.5 < first[1]


def test_training_threshold_leaves_the_accepted_ones_right():
    p = np.array([[0.9, 0.1]] * 80 + [[0.6, 0.4]] * 20)
    truth = np.array([0] * 80 + [0] * 10 + [1] * 10)
    found = reject_thresholds(p, truth, ("a", "b"))
    assert found["a"] == 0.9  # the lower ones are right in half the cases only
    assert found["b"] == 0.9  # nothing was told b: the threshold of all


def field(found, truth, ignored=()):
    return FieldBoxes(
        found=np.array(found, float).reshape(-1, 6),
        truth=np.array(truth, float).reshape(-1, 5),
        ignored=ignored,
    )


def test_training_average_precision_by_hand():
    """Hit, miss, hit on two true boxes: precision 1 up to recall .5, then 2/3."""
    found = [(0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 0), (20, 20, 30, 30, 0.7, 0)]
    truth = [(0, 0, 0, 10, 10), (0, 20, 20, 30, 30)]
    figures = detection_figures([field(found, truth)], classes=2, confidence=0.75)
    assert figures.ap50[0] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert figures.ap50[0] == figures.ap[0]  # the boxes fit exactly at every IoU
    assert np.isnan(figures.ap50[1])
    assert figures.map50 == figures.ap50[0]
    assert (figures.precision[0].count, figures.precision[0].of) == (1, 2)
    assert (figures.recall[0].count, figures.recall[0].of) == (1, 2)


def test_training_one_true_box_is_found_once():
    found = [(0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 0)]
    figures = detection_figures([field(found, [(0, 0, 0, 10, 10)])], classes=1, confidence=0.5)
    assert figures.precision[0].count == 1
    assert figures.precision[0].of == 2


def test_training_half_overlap_counts_at_half_only():
    found = [(0, 0, 10, 7, 0.9, 0)]  # IoU .7
    figures = detection_figures([field(found, [(0, 0, 0, 10, 10)])], classes=1, confidence=0.5)
    assert figures.ap50[0] == 1
    assert figures.ap[0] == pytest.approx(5 / 10)


def test_training_incomplete_labels_count_neither_way():
    found = [(0, 0, 10, 10, 0.9, 0)]
    figures = detection_figures([field(found, [], ignored=(0,))], classes=1, confidence=0.5)
    assert figures.precision[0].of == 0


def test_training_auc_interval_is_delongs():
    """Against the covariance of the placements, pair by pair."""
    rng = np.random.default_rng(5)
    higher, lower = rng.normal(1, 1, 30), np.round(rng.normal(0, 1, 40), 1)
    pairs = (higher[:, None] > lower) + 0.5 * (higher[:, None] == lower)
    variance = pairs.mean(axis=1).var(ddof=1) / 30 + pairs.mean(axis=0).var(ddof=1) / 40
    found, value = auc_estimate(higher, lower), pairs.mean()
    half = 1.96 * np.sqrt(variance) / (value * (1 - value))
    ends = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-half, half]))))
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=1e-3)


def test_training_auc_without_overlap_is_no_certainty():
    found = auc_estimate(np.array([3.0, 4.0, 5.0]), np.array([1.0, 2.0]))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025**0.5)
    assert auc_estimate(np.array([]), np.array([1.0])).low == 0


def test_training_bootstrap_draws_whole_groups():
    """Ten groups of twenty equal items know no more than ten items."""
    values = np.repeat(np.arange(10.0), 20)
    alone = bootstrapped(lambda i: float(values[i].mean()), 200)
    together = bootstrapped(lambda i: float(values[i].mean()), 200, groups=np.repeat(range(10), 20))
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])
    assert all(np.isnan(bootstrapped(lambda _i: float("nan"), 3)))


def test_training_macro_and_calibration_have_intervals_when_asked():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 300)
    told = np.where(rng.random(300) < 0.8, truth, (truth + 1) % 3)
    figures = figures_of(truth, told, ("a", "b", "c"), rounds=200)
    for mean, (low, high) in zip(figures.macro, figures.macro_intervals, strict=True):
        assert low < mean < high
    assert figures_of(truth, told, ("a", "b", "c")).macro_intervals == ()
    p = np.eye(3)[told] * 0.7 + 0.1
    reliability = reliability_of(truth, p, rounds=200)
    assert reliability.low <= reliability.ece <= reliability.high


@given(st.lists(st.integers(0, 1), min_size=2, max_size=8), st.integers(2, 4))
def test_training_average_precision_is_the_same_of_a_field_many_times(misses, times):
    """A field that is drawn more than once weighs so much more, and no class is favoured."""
    fields = [
        field(
            [(100 * miss, 0, 100 * miss + 10, 10, 0.9 - 0.1 * n, 0)],
            [(0, 0, 0, 10, 10)],
        )
        for n, miss in enumerate(misses)
    ]
    once = detection_figures(fields, classes=1, confidence=0.0)
    many = detection_figures(fields * times, classes=1, confidence=0.0)
    assert many.recall[0].value == pytest.approx(once.recall[0].value)
    if 1 not in misses:
        assert once.ap50[0] == many.ap50[0] == 1


def test_training_average_precision_has_intervals_over_fields():
    right = field([(0, 0, 10, 10, 0.9, 0)], [(0, 0, 0, 10, 10)])
    wrong = field([(50, 0, 60, 10, 0.9, 0)], [(0, 0, 0, 10, 10)])
    figures = detection_figures([right] * 10 + [wrong] * 10, classes=1, confidence=0.5, rounds=200)
    low, high = figures.map50_interval
    assert low < figures.map50 < high
    same = detection_figures([right] * 20, classes=1, confidence=0.5, rounds=50)
    assert same.ap50_intervals == ((1.0, 1.0),)
    none = detection_figures([right], classes=1, confidence=0.5)
    assert np.isnan(none.map_interval[0])


def test_training_malignancy_is_not_fitted_on_benign_cells_of_malignant_fields():
    """Half the cells of the malignant fields are benign and told so. They would make a sure and right
    network look unsure."""
    rng = np.random.default_rng(0)
    benign, blasts, field = 200, 200, 200
    truth = np.repeat([0, 1, 1], [benign, blasts, field])
    really = np.concatenate([truth[: benign + blasts], rng.integers(0, 2, field)])
    alone = np.repeat([False, True, False], [benign, blasts, field])
    noise = rng.normal(0, 1, len(truth))
    logits = np.stack([-2 * (2 * really - 1) + noise, 2 * (2 * really - 1) - noise], axis=1)
    found = of_malignancy(logits, truth, alone)
    inherited = calibrated(logits, truth, ("benign", "malignant"))
    assert found.temperature < inherited.temperature / 2
    told = softened_p(logits[:benign], found.temperature)[:, 0]
    assert (told >= found.reject_below["benign"]).mean() > 0.9
