"""How each stage is trained: frozen values, one recipe a stage.

A recipe is part of a run's identity: a run that was started with another one is not gone on with.
Phases follow each other: the upper layers at a small input first, everything at full size last.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType

from domain.cells import Stage
from training.augment import Strength

__all__ = ["RECIPES", "Phase", "Recipe", "digest_of_recipe", "shortened"]

FULL_PX = 224  # what the networks of single cells are given in the service
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

# The leukaemia fields are small: every other laboratory's cells must look as coarse as theirs
COARSE = Strength(coarse=0.7, coarsest=3.5, blur=0.3)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """`items` pictures are drawn an epoch. `trained` are the beginnings of the parameters' names
    that learn; empty means all. `frozen_norms` keeps batch-norm statistics as they are."""

    epochs: int
    input_px: int
    batch: int
    items: int
    rate: float
    trained: tuple[str, ...] = ()
    frozen_norms: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`field_um` is the side of a crop, for stages that see one cell; where the recipe keeps `one_scale`
    it is that of the service's input, and a smaller input sees so much less of the field. `smoothing` is of the labels.
    `average` is the decay of the running mean of the weights, which is what is kept."""

    stage: Stage
    architecture: str
    phases: tuple[Phase, ...]
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    field_um: float = 22.4
    one_scale: bool = False
    weight_decay: float = 0.02
    warm_steps: int = 50
    smoothing: float = 0.0
    average: float = 0.995
    seed: int = 20260101
    strength: Strength = field(default_factory=Strength)

    def seen_um(self, input_px: int) -> float:
        """The side of a crop of so many pixels."""
        return self.field_um * input_px / FULL_PX if self.one_scale else self.field_um

    @property
    def epochs(self) -> int:
        return sum(p.epochs for p in self.phases)


def digest_of_recipe(recipe: Recipe) -> str:
    """Tells whether a started run may be gone on with."""
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()


def shortened(
    recipe: Recipe, *, epochs: int | None = None, items: int | None = None, batch: int | None = None
) -> Recipe:
    """The same recipe with other numbers for each phase, for a first look or a small collection."""
    phases = tuple(
        replace(p, epochs=epochs or p.epochs, items=items or p.items, batch=batch or p.batch)
        for p in recipe.phases
    )
    return replace(recipe, phases=phases)


RECIPES: Mapping[Stage, Recipe] = MappingProxyType(
    {
        Stage.VIABILITY: Recipe(
            stage=Stage.VIABILITY,
            architecture="plain-cnn",
            phases=(Phase(epochs=24, input_px=128, batch=32, items=1280, rate=4e-4),),
            mean=PLAIN[0],
            deviation=PLAIN[1],
            average=0.97,
            # milder stain: what burns a field out must stay a fault
            strength=Strength(
                mix=0.1, gain=(0.8, 1.25), offset=0.03, blur=0.0, coarse=0.0, noise=0.01
            ),
        ),
        Stage.DETECTION: Recipe(
            stage=Stage.DETECTION,
            architecture="yolov5n",
            phases=(
                Phase(epochs=9, input_px=320, batch=16, items=800, rate=1e-3),
                Phase(epochs=2, input_px=640, batch=4, items=320, rate=2e-4),
            ),
            mean=PLAIN[0],
            deviation=PLAIN[1],
            weight_decay=5e-4,
            strength=Strength(
                scale=(0.6, 1.7), blur=0.3, blur_px=1.2, coarse=0.4, coarsest=2.6, noise=0.02
            ),
        ),
        Stage.CELL_CLASS: Recipe(
            stage=Stage.CELL_CLASS,
            architecture="resnet34-unet",
            phases=(
                Phase(epochs=6, input_px=96, batch=32, items=960, rate=1e-3),
                Phase(epochs=1, input_px=224, batch=8, items=320, rate=1e-4),
                Phase(epochs=2, input_px=96, batch=32, items=960, rate=4e-4),
                Phase(epochs=1, input_px=224, batch=8, items=320, rate=1e-4),
            ),
            mean=IMAGENET[0],
            deviation=IMAGENET[1],
            field_um=52.3,
            one_scale=True,
        ),
        Stage.WBC_CLASS: Recipe(
            stage=Stage.WBC_CLASS,
            architecture="vit-base-patch16-224",
            phases=(
                Phase(epochs=5, input_px=112, batch=24, items=2880, rate=1.2e-5),
                Phase(epochs=1, input_px=224, batch=12, items=1440, rate=6e-6),
            ),
            mean=IMAGENET[0],
            deviation=IMAGENET[1],
            weight_decay=0.05,
            smoothing=0.05,
        ),
        Stage.MALIGNANCY: Recipe(
            stage=Stage.MALIGNANCY,
            architecture="resnet101",
            phases=(
                Phase(epochs=6, input_px=64, batch=48, items=3840, rate=1e-3),
                Phase(epochs=3, input_px=112, batch=24, items=2400, rate=4e-4),
                Phase(epochs=2, input_px=224, batch=12, items=960, rate=1.5e-4),
                Phase(epochs=4, input_px=224, batch=12, items=960, rate=3e-4),
            ),
            mean=IMAGENET[0],
            deviation=IMAGENET[1],
            smoothing=0.1,  # cells that inherit their field's label are often another
            strength=COARSE,
        ),
        Stage.SUBTYPE: Recipe(
            stage=Stage.SUBTYPE,
            architecture="densenet121",
            phases=(
                Phase(epochs=4, input_px=64, batch=48, items=1920, rate=8e-4),
                Phase(epochs=3, input_px=112, batch=24, items=1200, rate=4e-4),
                Phase(epochs=1, input_px=224, batch=12, items=600, rate=1e-4),
            ),
            mean=IMAGENET[0],
            deviation=IMAGENET[1],
            smoothing=0.1,
            strength=COARSE,
        ),
    }
)
