"""Batch norms between the laboratories that a network was trained in and the one where it stands.

In      a network, inputs of the site's cells, the share of the statistics that is to be the site's
Out     the network's batch norms, their mean and variance those of the mixture of both
Source  Schneider et al. 2020, "Improving robustness against common corruptions by covariate shift
        adaptation"; a mixture's variance holds also the distance of the two means
Each layer is measured behind layers that are mixed already, as it will stand when the network reads.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["kept_norms", "mix_norms"]

Measure = Callable[[nn.Module, tuple[Tensor, ...]], None]


def mix_norms(network: nn.Module, batches: Iterable[Tensor], *, share: float) -> None:
    """Changes the network, which is in eval mode. Every batch weighs the same, so give equal ones;
    call within torch.inference_mode or no_grad."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    parents = [_statistics(m) for m in norms]
    sums = [tuple(torch.zeros_like(v, dtype=torch.float64) for v in p) for p in parents]
    seen = 0

    def hook(index: int) -> Measure:
        def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            mean = inputs[0].double().mean(dim=(0, 2, 3))
            square = inputs[0].double().square().mean(dim=(0, 2, 3))
            sums[index][0].add_(mean)
            sums[index][1].add_(square)
            _set(norm, _mixed(parents[index], (mean, square - mean**2), share))

        return measure

    hooks = [norm.register_forward_pre_hook(hook(i)) for i, norm in enumerate(norms)]
    try:
        for batch in batches:
            network(batch)
            seen += 1
    finally:
        for one in hooks:
            one.remove()
        for norm, parent in zip(norms, parents, strict=True):
            _set(norm, parent)
    if not seen:
        raise ValueError("no batch was given to measure")
    for norm, parent, (sum_, squares) in zip(norms, parents, sums, strict=True):
        mean = sum_ / seen
        variance = (squares / seen - mean**2).clamp_min(0)
        _set(norm, _mixed(parent, (mean, variance), share))


@contextmanager
def kept_norms(network: nn.Module) -> Iterator[None]:
    """Whatever is done to the batch norms inside is undone."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [_statistics(m) for m in norms]
    try:
        yield
    finally:
        for norm, statistics in zip(norms, before, strict=True):
            _set(norm, statistics)


def _mixed(
    parent: tuple[Tensor, Tensor], site: tuple[Tensor, Tensor], share: float
) -> tuple[Tensor, Tensor]:
    (m0, v0), (m1, v1) = ((m.double(), v.double()) for m, v in (parent, site))
    mean = (1 - share) * m0 + share * m1
    variance = (1 - share) * (v0 + (m0 - mean) ** 2) + share * (v1 + (m1 - mean) ** 2)
    return mean, variance


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a batch norm of the network keeps no statistics")
    return mean.clone(), variance.clone()


def _set(norm: nn.Module, statistics: tuple[Tensor, Tensor]) -> None:
    for name, value in zip(("running_mean", "running_var"), statistics, strict=True):
        own = norm.get_buffer(name)
        norm.register_buffer(name, value.to(own.dtype))
