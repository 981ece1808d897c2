"""Weights in 8 bits: half a step at most, the same bytes again, and nothing read that is not whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.storage import LEAST_ELEMENTS, is_packed, packed, relative_error, unpacked

WIDE = LEAST_ELEMENTS // 2


def weights(seed, rows, spread):
    rng = torch.Generator().manual_seed(seed)
    tensor = torch.randn(rows, WIDE // 2, 2, generator=rng)
    return tensor * 10.0 ** (torch.rand(rows, 1, 1, generator=rng) * 2 * spread - spread)


states = st.builds(
    weights,
    st.integers(0, 2**31),
    st.integers(2, 5),
    st.floats(0, 15),  # decades over which the rows' sizes are spread
)


def test_inference_storage_example():
    kernel = torch.tensor([[-1.27, 0.01, 0.5], [0.0, 0.0, 0.0]]).repeat(1, WIDE)
    stored = packed({"a.weight": kernel, "a.bias": torch.ones(2), "n": torch.tensor(3)})
    assert {n: t.dtype for n, t in stored.items()} == {
        "a.weight.int8": torch.int8,
        "a.weight.scale": torch.float32,
        "a.bias": torch.float32,
        "n": torch.int64,
    }
    assert stored["a.weight.int8"][0, :3].tolist() == [-127, 1, 50]
    assert stored["a.weight.scale"].tolist() == pytest.approx([0.01, 1])
    again = unpacked(stored)
    assert again["a.weight"][0, :3].tolist() == pytest.approx([-1.27, 0.01, 0.5], rel=1e-4)
    assert not again["a.weight"][1].any()
    assert torch.equal(again["a.bias"], torch.ones(2))


@given(states)
@settings(max_examples=40, deadline=None)
def test_inference_storage_is_off_by_half_a_step_at_most(tensor):
    stored = packed({"w": tensor})
    off = (unpacked(stored)["w"].double() - tensor.double()).abs()
    half = stored["w.scale"].double()[:, None, None] / 2
    assert bool((off <= half * (1 + 1e-12)).all())


@given(states)
@settings(max_examples=40, deadline=None)
def test_inference_storage_of_what_was_stored_is_the_same_bytes(tensor):
    once = packed({"w": tensor})
    twice = packed(unpacked(once))
    assert all(torch.equal(once[n], twice[n]) for n in once)


def test_inference_storage_takes_the_largest_and_the_smallest_floats():
    largest = torch.full((2, WIDE), torch.finfo(torch.float32).max)
    tiny = torch.full((2, WIDE), torch.finfo(torch.float32).tiny)
    again = unpacked(packed({"a": largest, "b": tiny}))
    assert bool(again["a"].isfinite().all())
    assert relative_error({"a": largest}, packed({"a": largest})) < 1e-4
    assert not again["b"].any()  # below any number that a network could tell from nothing


def test_inference_storage_error_is_that_of_the_worst_tensor():
    even = torch.ones(2, WIDE)
    mixed = torch.full((2, WIDE), 0.004)
    mixed[:, 0] = 1  # steps of 1 / 127: the small ones become 0.00787
    state = {"even": even, "mixed": mixed, "bias": torch.ones(3)}
    norm = (WIDE * 0.004**2 + 1) ** 0.5
    expected = (WIDE**0.5) * (1 / 127 - 0.004) / norm
    assert relative_error(state, packed(state)) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    ("shape", "floating", "stored"),
    [
        ((64, 64), True, True),
        ((64, 63), True, False),
        ((1, 197, 768), True, False),  # one scale for a whole table
        ((10_000,), True, False),
        ((64, 64), False, False),
    ],
)
def test_inference_storage_rule(shape, floating, stored):
    assert is_packed(shape, floating=floating) is stored


def steps(rows=2):
    return torch.ones(rows, WIDE, dtype=torch.int8)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"w.int8": steps()}, "w.int8 has no w.scale"),
        ({"w.scale": torch.ones(2)}, "w.scale has no w.int8"),
        ({"w.int8": steps(), "w.scale": torch.ones(3)}, "needs 2 scales"),
        ({"w.int8": steps(), "w.scale": torch.ones(2, 1)}, "needs 2 scales"),
        ({"w.int8": steps(), "w.scale": torch.ones(2).double()}, "in floating point"),
        ({"w.int8": steps(), "w.scale": torch.ones(2).int()}, "in floating point"),
        ({"w.int8": steps(), "w.scale": torch.tensor([1, 0.0])}, "not finite and positive"),
        ({"w.int8": steps(), "w.scale": torch.tensor([1, -1.0])}, "not finite and positive"),
        ({"w.int8": steps(), "w.scale": torch.tensor([1, float("nan")])}, "not finite"),
        ({"w.int8": steps(), "w.scale": torch.tensor([1, float("inf")])}, "not finite"),
        ({"w.int8": steps().float(), "w.scale": torch.ones(2)}, "no int8 tensor"),
        ({"w.int8": steps()[0], "w.scale": torch.ones(WIDE)}, "of two or more dimensions"),
        ({"w.int8": steps(), "w.scale": torch.ones(2), "w": torch.ones(2)}, "stands there twice"),
    ],
)
def test_inference_storage_refuses_what_is_not_whole(tensors, said):
    with pytest.raises(ValueError, match=said):
        unpacked(tensors)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"w": torch.full((2, WIDE), float("nan"))}, "w holds NaN"),
        ({"w": torch.ones(2, WIDE).double()}, "only float32"),
        ({"w.scale": torch.ones(2)}, "would be taken for a part"),
    ],
)
def test_inference_storage_packs_only_what_it_can_give_back(state, said):
    with pytest.raises(ValueError, match=said):
        packed(state)
