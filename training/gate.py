"""The gate of a bundle: fitted on fields of several laboratories, judged on ones that were left out.

In      the folder of the public collection, or pictures with what their laboratory is
Out     GateFit: the gate for the manifest, and what it costs and catches
Errors  DataError where there are fewer than three laboratories

Every laboratory weighs alike, whatever the number of its fields. The centre is the mean of the laboratories'
medians; the spread is the mean of their covariances (without their outermost twentieth) plus the
covariance of their medians, so that a further laboratory is expected to differ as these do.
`flag_above` is the distance that 1 % of the fields of `val` exceed. `refuse_above` is the one that 2 % exceed
when their own laboratory was left out of the fit: what new laboratories look like is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.crops import background_of
from inference.gate import likeness, look_of
from inference.manifest import FIGURES, Gate
from training.collection import boxed_fields, leukaemia_fields, pointed_fields
from training.drawings import VAL_SEED, drawn_smears
from training.errors import DataError
from training.pictures import Picture, Split, pixels_of

__all__ = [
    "FieldLook",
    "GateFit",
    "GateRates",
    "collection_looks",
    "fit_gate",
    "looks_of",
    "rates_of",
]

FALSE_ALARMS = 0.01  # of the fields of known laboratories, flagged
REFUSED_NEW = 0.02  # of the fields of laboratories that the fit did not see, refused
OUTERMOST = 0.05  # of a laboratory's fields, left out of its covariance
LEAST = 1e-5  # variance added to every figure
FEWEST = 3  # laboratories
OWN_VAL = 20  # fields of `val` from which a laboratory is judged on them alone
DRAWN = "drawn smears"
DRAWN_COUNT = 16  # of each side


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldLook:
    """One field: its set, its side, its figures."""

    laboratory: str
    split: Split
    look: npt.NDArray[np.float64]  # (12,)


@dataclass(frozen=True, kw_only=True)
class GateRates:
    """Shares of fields that are flagged (refused ones among them), and refused."""

    fields: int
    flagged: float
    refused: float


@dataclass(frozen=True, kw_only=True)
class GateFit:
    """`known` by laboratory on its own `val`; `left_out` by laboratory, all its fields, by a gate of the
    same limits whose centre and spread never saw it."""

    gate: Gate
    known: Mapping[str, GateRates]
    left_out: Mapping[str, GateRates]


def collection_looks(root: Path) -> list[FieldLook]:
    """All good fields of the public collection, and drawn smears, that the gate is to let in."""
    fields = [*boxed_fields(root), *leukaemia_fields(root), *pointed_fields(root)]
    drawn = [
        FieldLook(laboratory=DRAWN, split=split, look=look)
        for split, seed in ((Split.TRAIN, VAL_SEED + 1000), (Split.VAL, VAL_SEED))
        for smear in drawn_smears(DRAWN_COUNT, first_seed=seed)
        if (look := look_of(smear.pixels, ground=background_of(smear.pixels))) is not None
    ]
    return [*looks_of(fields), *drawn]


def looks_of(pictures: Iterable[Picture]) -> list[FieldLook]:
    """Pictures that cannot be decoded, and those with nothing on them, are left out."""
    looks = []
    for picture in pictures:
        pixels = pixels_of(picture)
        look = None if pixels is None else look_of(pixels, ground=background_of(pixels))
        if look is not None:
            looks.append(FieldLook(laboratory=picture.laboratory, split=picture.split, look=look))
    return looks


def fit_gate(fields: Sequence[FieldLook], *, only_fitted: Sequence[str] = (DRAWN,)) -> GateFit:
    """`only_fitted` are sets that are no laboratory of their own: never left out."""
    by = {name: [f for f in fields if f.laboratory == name] for name in _names(fields)}
    if len(by) < FEWEST:
        raise DataError(
            f"a gate is fitted on fields of at least {FEWEST} laboratories, not of {len(by)}"
        )
    centre, spread = _shape(by)
    judged = {name: _distances(_judged_on(own), centre, spread) for name, own in by.items()}
    flag_above = _exceeded_by(judged, FALSE_ALARMS)
    new = {
        name: _distances(own, *_shape({n: o for n, o in by.items() if n != name}))
        for name, own in by.items()
        if name not in only_fitted
    }
    refuse_above = max(_exceeded_by(new, REFUSED_NEW), round(flag_above + 0.01, 2))
    return GateFit(
        gate=Gate(
            centre=tuple(centre.tolist()),
            spread=tuple(tuple(row) for row in spread.tolist()),
            flag_above=flag_above,
            refuse_above=refuse_above,
        ),
        known={n: _rates(d, flag_above, refuse_above) for n, d in judged.items()},
        left_out={n: _rates(d, flag_above, refuse_above) for n, d in new.items()},
    )


def rates_of(fields: Sequence[FieldLook], gate: Gate) -> dict[str, GateRates]:
    """By set: what the gate makes of other pictures."""
    centre, spread = np.array(gate.centre), np.array(gate.spread)
    return {
        name: _rates(
            _distances([f for f in fields if f.laboratory == name], centre, spread),
            gate.flag_above,
            gate.refuse_above,
        )
        for name in _names(fields)
    }


def _names(fields: Iterable[FieldLook]) -> list[str]:
    return sorted({f.laboratory for f in fields})


def _shape(
    by: Mapping[str, Sequence[FieldLook]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Centre and spread of the side `train`, or of all fields of a set that has no such side."""
    medians, within = [], []
    for own in by.values():
        learned = [f for f in own if f.split is Split.TRAIN] or own
        looks = np.array([f.look for f in learned])
        median = np.median(looks, axis=0)
        off = looks - median
        far = (np.square(off) / (off.var(axis=0) + LEAST)).sum(axis=1)
        inner = off[far <= np.quantile(far, 1 - OUTERMOST)]
        medians.append(median)
        within.append(inner.T @ inner / max(1, len(inner) - 1))
    between = np.cov(np.array(medians).T)
    spread = np.mean(np.array(within), axis=0) + between + LEAST * np.eye(len(FIGURES))
    centre: npt.NDArray[np.float64] = np.round(np.array(medians).mean(axis=0), 6)
    even: npt.NDArray[np.float64] = np.round((spread + spread.T) / 2, 8)
    return centre, even


def _judged_on(own: Sequence[FieldLook]) -> Sequence[FieldLook]:
    val = [f for f in own if f.split is Split.VAL]
    return val if len(val) >= OWN_VAL else own


def _distances(
    fields: Sequence[FieldLook],
    centre: npt.NDArray[np.float64],
    spread: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """As the service measures them."""
    gate = Gate(
        centre=tuple(centre.tolist()),
        spread=tuple(tuple(row) for row in spread.tolist()),
        flag_above=1.0,
        refuse_above=2.0,
    )
    return np.array([likeness(f.look, gate).distance for f in fields])


def _exceeded_by(by: Mapping[str, npt.NDArray[np.float64]], share: float) -> float:
    """The smallest distance that no more than this share exceeds, each laboratory weighing alike."""
    distances = np.concatenate(list(by.values()))
    weights = np.concatenate([np.full(len(d), 1 / (len(d) * len(by))) for d in by.values()])
    order = np.argsort(distances, kind="stable")
    reached = np.cumsum(weights[order])
    return float(distances[order][np.searchsorted(reached, 1 - share - 1e-12)])


def _rates(distances: npt.NDArray[np.float64], flag: float, refuse: float) -> GateRates:
    return GateRates(
        fields=len(distances),
        flagged=round(float((distances > flag).mean()), 4),
        refused=round(float((distances > refuse).mean()), 4),
    )
