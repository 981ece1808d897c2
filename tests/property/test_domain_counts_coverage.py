"""How often the intervals hold the truth: exactly where that can be summed, by simulation elsewhere.

Blasts from 0 to 95 %, 100 to 1,000 cells. docs/reports.md says the figures of a longer run.
"""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from domain.counts import Against, Proportion, against, corrected_fraction

SIZES = (100, 200, 500, 1000)
FRACTIONS = tuple(n / 100 for n in range(0, 96, 5))
# sensitivity, specificity, cells of each kind in the bundle's own evaluation
CLASSIFIERS = ((0.98, 0.99, 300), (0.9, 0.9, 200), (0.98, 0.98, 100))


@cache
def limits(total: int) -> tuple[np.ndarray, np.ndarray]:
    proportions = [Proportion(k, total) for k in range(total + 1)]
    return np.array([p.low for p in proportions]), np.array([p.high for p in proportions])


@pytest.mark.parametrize("total", SIZES)
def test_exact_interval_holds_the_truth_in_95_of_100_counts_or_more(total):
    low, high = limits(total)
    for fraction in FRACTIONS:
        chance = binom.pmf(np.arange(total + 1), total, fraction)
        held = (low <= 100 * fraction) & (100 * fraction <= high)
        assert 0.95 <= chance[held].sum() <= 1 + 1e-9


@pytest.mark.parametrize("total", [100, 400])
@pytest.mark.parametrize("threshold", [5, 20])
def test_statement_at_a_threshold_is_wrong_in_2_5_of_100_counts_at_most(total, threshold):
    """Where the truth lies at the threshold itself, which is where it is wrong most often."""
    chance = binom.pmf(np.arange(total + 1), total, threshold / 100)
    said = [against(Proportion(k, total), threshold) for k in range(total + 1)]
    for side in (Against.ABOVE, Against.BELOW):
        assert chance[[s is side for s in said]].sum() <= 0.025


@pytest.mark.parametrize(("sensitivity", "specificity", "evaluated"), CLASSIFIERS)
def test_corrected_interval_holds_the_truth_though_the_classifier_errs(
    sensitivity, specificity, evaluated
):
    """Cells are told by an erring classifier whose errors are themselves only estimated."""
    random = np.random.default_rng(20261124)
    shares = []
    for total in (100, 1000):
        for fraction in (0.0, 0.02, 0.2, 0.5, 0.95):
            told = fraction * sensitivity + (1 - fraction) * (1 - specificity)
            counts = random.binomial(total, told, 400)
            right = random.binomial(evaluated, (sensitivity, specificity), (400, 2))
            held = 0
            for count, (positives, negatives) in zip(counts.tolist(), right.tolist(), strict=True):
                confusion = ((negatives, evaluated - negatives), (evaluated - positives, positives))
                c = corrected_fraction(Proportion(count, total), confusion)
                held += c.low - 1e-9 <= 100 * fraction <= c.high + 1e-9
            shares.append(held / 400)
    assert min(shares) > 0.915  # 95 % less three standard errors of 400 trials
    assert np.mean(shares) > 0.945


def test_corrected_point_lies_in_its_interval():
    for count in (0, 1, 5, 50, 99, 100):
        for confusion in (((95, 5), (0, 100)), ((60, 0), (3, 57)), ((30, 10), (10, 30))):
            c = corrected_fraction(Proportion(count, 100), confusion)
            assert 0 <= c.low <= c.percent <= c.high <= 100


def test_few_blasts_are_below_a_classifiers_resolution():
    confusion = ((280, 20), (12, 190))  # 6.7 % false positives
    assert corrected_fraction(Proportion(2, 214), confusion).below_resolution
    assert not corrected_fraction(Proportion(73, 204), confusion).below_resolution
