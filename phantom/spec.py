"""What a drawn smear holds and how it was stained, lit and photographed: values only.

In      a seed and a few numbers
Out     SmearSpec: everything `phantom.smear.draw` needs; the same spec gives the same bytes
The white cells are exact counts, so the truth of a drawing can be read from its spec.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import floor

import numpy as np

from domain.cells import Subtype, WbcClass

__all__ = [
    "STAINS",
    "DrawingRefused",
    "Fault",
    "Light",
    "SmearSpec",
    "Stain",
    "leukaemic_smear",
    "normal_smear",
    "spoiled",
    "stain_named",
]

Rgb = tuple[float, float, float]

# Scales at which the edges and granules are drawn sensibly; oil immersion gives about 0.1.
FINEST_UM_PER_PX = 0.05
COARSEST_UM_PER_PX = 0.25


class DrawingRefused(ValueError):
    """The spec asks for something that cannot be drawn; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Stain:
    """How a laboratory's Romanowsky stain looks through its camera.

    `background` is the colour of empty glass, 0..255. The others are optical densities per unit
    amount in R, G, B (Beer-Lambert: pixel = background * 10 ** -(sum of amount * density)).
    """

    background: Rgb
    haemoglobin: Rgb
    nucleus: Rgb
    blue: Rgb  # azure on RNA: cytoplasm of lymphocytes, monocytes, blasts, platelets
    eosin: Rgb  # eosinophil granules, and faintly the neutrophil's cytoplasm
    purple: Rgb  # azurophil and basophil granules


# Read off by eye from published fields of several laboratories; named for what one sees.
STAINS: dict[str, Stain] = {
    "cream": Stain(
        background=(254, 231, 204),
        haemoglobin=(0.088, 0.138, 0.088),
        nucleus=(0.52, 0.70, 0.22),
        blue=(0.24, 0.22, 0.04),
        eosin=(0.10, 0.36, 0.31),
        purple=(0.33, 0.62, 0.22),
    ),
    "grey": Stain(
        background=(206, 211, 203),
        haemoglobin=(0.060, 0.140, 0.125),
        nucleus=(0.36, 0.45, 0.02),
        blue=(0.14, 0.17, -0.02),
        eosin=(0.05, 0.31, 0.16),
        purple=(0.20, 0.42, 0.03),
    ),
    "cold": Stain(
        background=(243, 248, 255),
        haemoglobin=(0.160, 0.130, 0.060),
        nucleus=(0.37, 0.60, 0.06),
        blue=(0.33, 0.25, 0.01),
        eosin=(0.12, 0.30, 0.20),
        purple=(0.28, 0.55, 0.10),
    ),
    "rose": Stain(
        background=(244, 236, 240),
        haemoglobin=(0.075, 0.165, 0.115),
        nucleus=(0.45, 0.75, 0.21),
        blue=(0.30, 0.27, 0.05),
        eosin=(0.07, 0.36, 0.24),
        purple=(0.30, 0.62, 0.17),
    ),
}


def stain_named(name: str) -> Stain:
    """One of STAINS; DrawingRefused names them when there is none of that name."""
    if name not in STAINS:
        raise DrawingRefused(f"no stain is called {name!r}; take one of {', '.join(STAINS)}")
    return STAINS[name]


@dataclass(frozen=True, kw_only=True)
class Light:
    """The lamp over the whole field.

    vignette   loss at the corners, as a fraction
    gradient   change of brightness from left to right and from top to bottom, as fractions
    cast       factors of R, G, B
    exposure   1 is right; far above it the glass and then the cells burn out
    """

    exposure: float = 1.0
    vignette: float = 0.05
    gradient: tuple[float, float] = (0.02, -0.01)
    cast: Rgb = (1.0, 1.0, 1.0)


NORMAL_MIX: tuple[tuple[WbcClass, float], ...] = (
    (WbcClass.NEUTROPHIL, 0.58),
    (WbcClass.LYMPHOCYTES, 0.29),
    (WbcClass.MONOCYTES, 0.07),
    (WbcClass.EOSINOPHIL, 0.03),
    (WbcClass.IMMATURE_NEUTROPHIL, 0.02),
    (WbcClass.BASOPHIL, 0.01),
)
BESIDE_BLASTS: tuple[tuple[WbcClass, float], ...] = (
    (WbcClass.LYMPHOCYTES, 0.55),
    (WbcClass.NEUTROPHIL, 0.25),
    (WbcClass.MONOCYTES, 0.08),
    (WbcClass.MYELOCYTE, 0.06),
    (WbcClass.IMMATURE_NEUTROPHIL, 0.06),
)
SUBTYPE_MIX: tuple[tuple[Subtype, float], ...] = (
    (Subtype.EARLY_PRE_B, 0.25),
    (Subtype.PRE_B, 0.6),
    (Subtype.PRO_B, 0.15),
)


@dataclass(frozen=True, kw_only=True)
class SmearSpec:
    """One smear.

    Raises DrawingRefused for sizes, scales, shares or counts outside what can be drawn.
    """

    seed: int
    width_px: int = 1024
    height_px: int = 768
    um_per_px: float = 0.1
    red_per_mm2: float = 10_500.0
    red_diameter_um: float = 7.5
    overlap: float = 0.2  # share of red cells that lie on their neighbours
    platelets_per_mm2: float = 600.0
    # Exact numbers in the field, each cell wholly inside it. They do not grow with the field.
    white_cells: tuple[tuple[WbcClass, int], ...] = (
        (WbcClass.NEUTROPHIL, 2),
        (WbcClass.LYMPHOCYTES, 1),
        (WbcClass.MONOCYTES, 1),
    )
    subtypes: tuple[tuple[Subtype, float], ...] = SUBTYPE_MIX  # weights among the blasts
    stain: Stain = field(default_factory=lambda: STAINS["cream"])
    light: Light = field(default_factory=Light)
    defocus_um: float = 0.0  # standard deviation of the blur beyond that of good optics
    noise: float = 1.5  # of the camera, standard deviation in grey levels on white

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise DrawingRefused(f"seed {self.seed} is negative; take 0 or more")
        if min(self.width_px, self.height_px) < 16:
            raise DrawingRefused(
                f"a field of {self.width_px} x {self.height_px} px holds no cell; take 16 px or more"
            )
        if not FINEST_UM_PER_PX <= self.um_per_px <= COARSEST_UM_PER_PX:
            raise DrawingRefused(
                f"{self.um_per_px} um/px cannot be drawn; "
                f"take {FINEST_UM_PER_PX} to {COARSEST_UM_PER_PX}"
            )
        if not 0 <= self.overlap <= 1:
            raise DrawingRefused(f"overlap {self.overlap} is no share; take 0 to 1")
        if not 4 <= self.red_diameter_um <= 10:
            raise DrawingRefused(
                f"red cells of {self.red_diameter_um} um cannot be drawn; take 4 to 10"
            )
        # Beyond 30,000 a square millimetre the film is many cells thick and no longer a monolayer.
        if not (0 <= self.red_per_mm2 <= 30_000 and 0 <= self.platelets_per_mm2 <= 30_000):
            raise DrawingRefused("cells per mm2 must lie between 0 and 30000")
        if not (self.defocus_um >= 0 and self.noise >= 0 and self.light.exposure > 0):
            raise DrawingRefused("defocus and noise are 0 or more, exposure is above 0")
        for kind, count in self.white_cells:
            if kind in (WbcClass.RED_BLOOD_CELL, WbcClass.PLATELET):
                raise DrawingRefused(f"{kind} is no white cell; it has a density of its own")
            if count < 0:
                raise DrawingRefused(f"{count} cells of {kind}; take 0 or more")
        if not self.subtypes or any(weight < 0 for _, weight in self.subtypes):
            raise DrawingRefused("subtypes need at least one weight, none below 0")
        if sum(weight for _, weight in self.subtypes) <= 0:
            raise DrawingRefused("the weights of the subtypes sum to 0; give one of them more")

    @property
    def area_mm2(self) -> float:
        return self.width_px * self.height_px * self.um_per_px**2 / 1e6

    @property
    def leukocytes(self) -> int:
        """White cells that a differential counts (nucleated red cells are outside it)."""
        return sum(n for k, n in self.white_cells if k is not WbcClass.NUCLEATED_RED_BLOOD_CELLS)

    @property
    def blasts(self) -> int:
        return sum(n for k, n in self.white_cells if k is WbcClass.BLAST_CELLS)


class Fault(StrEnum):
    """What makes a field not viable."""

    DEFOCUSED = "defocused"
    OVEREXPOSED = "overexposed"
    EMPTY = "empty"


def normal_smear(
    seed: int,
    *,
    width_px: int = 1024,
    height_px: int = 768,
    um_per_px: float = 0.1,
    white_cells: int | None = None,
    stain: str = "cream",
) -> SmearSpec:
    """A healthy person's smear. Without a number, about 400 white cells a mm2, at least one."""
    bare = SmearSpec(
        seed=seed,
        width_px=width_px,
        height_px=height_px,
        um_per_px=um_per_px,
        white_cells=(),
        stain=stain_named(stain),
    )
    number = max(1, round(400 * bare.area_mm2)) if white_cells is None else white_cells
    return replace(bare, white_cells=_drawn_counts(seed, NORMAL_MIX, number))


def leukaemic_smear(
    seed: int,
    *,
    blast_fraction: float = 0.5,
    white_cells: int = 10,
    width_px: int = 1024,
    height_px: int = 768,
    um_per_px: float = 0.1,
    subtypes: tuple[tuple[Subtype, float], ...] = SUBTYPE_MIX,
    stain: str = "cold",
) -> SmearSpec:
    """A smear in which `blast_fraction` of `white_cells` (rounded to whole cells) are blasts."""
    if not 0 <= blast_fraction <= 1:
        raise DrawingRefused(f"blast fraction {blast_fraction} is no share; take 0 to 1")
    blasts = floor(white_cells * blast_fraction + 0.5)
    return SmearSpec(
        seed=seed,
        width_px=width_px,
        height_px=height_px,
        um_per_px=um_per_px,
        red_per_mm2=7_500.0,  # anaemia and thrombocytopenia go with it
        platelets_per_mm2=150.0,
        white_cells=(
            (WbcClass.BLAST_CELLS, blasts),
            *_drawn_counts(seed, BESIDE_BLASTS, white_cells - blasts),
        ),
        subtypes=subtypes,
        stain=stain_named(stain),
    )


def spoiled(spec: SmearSpec, fault: Fault) -> SmearSpec:
    """The same smear, photographed or prepared so badly that nobody could read it."""
    match fault:
        case Fault.DEFOCUSED:
            return replace(spec, defocus_um=2.5)
        case Fault.OVEREXPOSED:
            return replace(spec, light=replace(spec.light, exposure=2.6))
        case Fault.EMPTY:
            return replace(spec, red_per_mm2=0.0, platelets_per_mm2=0.0, white_cells=())


def _drawn_counts(
    seed: int, mix: Sequence[tuple[WbcClass, float]], number: int
) -> tuple[tuple[WbcClass, int], ...]:
    """`number` cells drawn from the mix (weights sum to 1), as they come by chance."""
    if seed < 0 or number < 0:
        raise DrawingRefused(f"seed {seed} and {number} white cells; take 0 or more of each")
    counts = np.random.default_rng([seed, 0]).multinomial(number, [w for _, w in mix])
    return tuple((k, int(n)) for (k, _), n in zip(mix, counts, strict=True) if n)
