"""A bundle's manifest: everything about six networks but their weights.

In      `manifest.json` of a bundle folder (the format is described in docs/bundle.md)
Out     Manifest: a frozen value in which nothing is missing, nothing unknown, and every number fits
Errors  ManifestError with every problem and its place, all at once
Light: no torch. Means, deviations, sizes, scales, class orders and thresholds stand here and nowhere
in the code, so that they cannot differ from what a network was trained with.
"""

import hashlib
import json
import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from domain.cells import (
    FURTHER_WBC_CLASSES,
    CellClass,
    Malignancy,
    Stage,
    Subtype,
    ViabilityClass,
    WbcClass,
)
from domain.identities import Sha256
from domain.image import Domain
from inference.errors import ManifestError

__all__ = [
    "FIGURES",
    "FORMAT",
    "MANIFEST_NAME",
    "CellClassStage",
    "Commissioned",
    "CropStage",
    "DetectionStage",
    "Gate",
    "Interpolation",
    "Manifest",
    "NamingStage",
    "RedCells",
    "StageEntry",
    "Stages",
    "Storage",
    "ViabilityStage",
    "parse_manifest",
    "read_manifest",
]

MANIFEST_NAME = "manifest.json"
FORMAT = (1, 1)  # major, minor: an unknown major is refused, of a newer minor the news is ignored
_MEND = "correct the manifest, or take the bundle again from where it came from"
MAX_MANIFEST_BYTES = 8 * 2**20  # a real one has a few kB; more is no manifest

# Stage 2's own order, that of the method: red, white, platelet
DETECTION_CLASSES = (CellClass.RED_BLOOD_CELL, CellClass.WHITE_BLOOD_CELL, CellClass.PLATELET)
TEN_WBC_CLASSES = tuple(c for c in WbcClass if c not in FURTHER_WBC_CLASSES)

# What inference.gate measures of a field, in the order of a gate's numbers
FIGURES = (
    "lightness of the ground",
    "red of the ground",
    "blue of the ground",
    "share of the field that is stained",
    "density of the darkest parts",
    "hue of the darkest parts (red light)",
    "hue of the darkest parts (blue light)",
    "density of the paler parts",
    "hue of the paler parts (red light)",
    "hue of the paler parts (blue light)",
    "spread of colours (green to red)",
    "spread of colours (blue to red)",
)

_log = logging.getLogger(__name__)

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
UmPerPx = Annotated[float, Field(ge=0.01, le=50)]


class Interpolation(StrEnum):
    """How pixels are resampled to a network's size."""

    AREA = "area"  # area average when shrinking, bilinear when enlarging
    BILINEAR = "bilinear"  # triangle filter, widened when shrinking


class Storage(StrEnum):
    """How a file keeps its weights."""

    FLOAT32 = "float32"
    INT8 = "int8"  # the large tensors in 8 bits, see inference.storage


class _Value(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class StageEntry(_Value):
    """What every stage has. `mean` and `deviation` are of RGB in 0..1."""

    architecture: str
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.safetensors$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    storage: Storage
    classes: tuple[str, ...]
    input_px: int
    mean: tuple[Share, Share, Share]
    deviation: tuple[Positive, Positive, Positive]
    interpolation: Interpolation

    @property
    def thresholds(self) -> tuple[tuple[str, float], ...]:
        """Every number that decides, by name, as it goes into the records."""
        raise NotImplementedError


class ViabilityStage(StageEntry):
    """Stage 1: `threshold` is the probability of *viable* from which a field is read."""

    architecture: Literal["plain-cnn"]
    input_px: Literal[128]
    temperature: Positive
    threshold: Share

    @property
    def thresholds(self) -> tuple[tuple[str, float], ...]:
        return (("temperature", self.temperature), ("viable", self.threshold))


class DetectionStage(StageEntry):
    """Stage 2. Fields are read at `um_per_px`, in tiles of `input_px` that overlap by `overlap_px`.

    `size_um` are the sides that a box may have; `max_per_tile` keeps the most confident.
    """

    architecture: Literal["yolov5n", "yolov5s"]
    input_px: Literal[640]
    um_per_px: UmPerPx
    confidence: Share
    iou: Share
    max_per_tile: Annotated[int, Field(ge=1, le=3000)]
    overlap_px: Annotated[int, Field(ge=0, le=320)]
    size_um: tuple[Positive, Positive]

    @property
    def thresholds(self) -> tuple[tuple[str, float], ...]:
        return (
            ("confidence", self.confidence),
            ("iou", self.iou),
            ("max_per_tile", float(self.max_per_tile)),
            ("smallest_um", self.size_um[0]),
            ("largest_um", self.size_um[1]),
        )


class CropStage(StageEntry):
    """A stage that sees one cell: a square of `field_um` micrometres round the box centre."""

    input_px: Literal[224]
    field_um: Annotated[float, Field(ge=5, le=200)]
    temperature: Positive


class CellClassStage(CropStage):
    """Stage 3."""

    architecture: Literal["resnet34-unet"]

    @property
    def thresholds(self) -> tuple[tuple[str, float], ...]:
        return (("temperature", self.temperature),)


class NamingStage(CropStage):
    """Stages 4 to 6: a cell whose best class has less probability than `reject_below` has for that
    class is unclassified."""

    reject_below: dict[str, Share]

    @property
    def thresholds(self) -> tuple[tuple[str, float], ...]:
        return (
            ("temperature", self.temperature),
            *((f"reject_below.{name}", self.reject_below[name]) for name in self.classes),
        )

    @model_validator(mode="after")
    def _one_threshold_a_class(self) -> Self:
        if set(self.reject_below) != set(self.classes):
            raise ValueError("reject_below must name exactly the stage's classes")
        return self


class WbcClassStage(NamingStage):
    """Stage 4."""

    architecture: Literal["vit-base-patch16-224"]


class MalignancyStage(NamingStage):
    """Stage 5."""

    architecture: Literal["resnet101"]


class SubtypeStage(NamingStage):
    """Stage 6."""

    architecture: Literal["densenet121"]


class Stages(_Value):
    """The six, each under its name."""

    viability: ViabilityStage
    detection: DetectionStage
    cell_class: CellClassStage
    wbc_class: WbcClassStage
    malignancy: MalignancyStage
    subtype: SubtypeStage

    def of(self, stage: Stage) -> StageEntry:
        entry: StageEntry = getattr(self, stage.value)
        return entry


class RedCells(_Value):
    """When the detector's red cells may give the scale: at least `min_cells` of at least
    `min_confidence` that no border cuts, found at one of the trial scales."""

    min_confidence: Share
    min_cells: Annotated[int, Field(ge=3)]
    trial_um_per_px: Annotated[tuple[UmPerPx, ...], Field(min_length=1, max_length=8)]


class Gate(_Value):
    """What the fields look like that the bundle was made for: centre and covariance of FIGURES, and the
    distances above which a field is flagged, and not read at all."""

    centre: Annotated[tuple[float, ...], Field(min_length=len(FIGURES), max_length=len(FIGURES))]
    spread: Annotated[
        tuple[
            Annotated[tuple[float, ...], Field(min_length=len(FIGURES), max_length=len(FIGURES))],
            ...,
        ],
        Field(min_length=len(FIGURES), max_length=len(FIGURES)),
    ]
    flag_above: Positive
    refuse_above: Positive

    @model_validator(mode="after")
    def _is_a_distance(self) -> Self:
        spread = np.array(self.spread)
        if not np.allclose(spread, spread.T, rtol=1e-6, atol=0):
            raise ValueError("spread is not symmetric")
        if np.linalg.eigvalsh(spread)[0] <= 0:
            raise ValueError("spread is no covariance (not positive definite)")
        if self.flag_above >= self.refuse_above:
            raise ValueError("flag_above is not below refuse_above")
        return self


class Commissioned(_Value):
    """At which laboratory the bundle was fitted, on which day, and the hash of the manifest that it
    was derived from."""

    site: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    date: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
    parent: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(_Value):
    """See docs/bundle.md; `training_data` and `metrics` are the trainer's own JSON."""

    format: str
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}$")]
    untrained: bool
    licence: Annotated[str, Field(min_length=1, max_length=200)]
    domains: Annotated[tuple[Domain, ...], Field(min_length=1)]
    um_per_px: UmPerPx
    um_per_px_range: tuple[UmPerPx, UmPerPx] | None = None
    red_cells: RedCells | None = None
    stages: Stages
    reject_rate: Share | None = None
    confusion: (
        tuple[
            tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]],
            tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]],
        ]
        | None
    ) = None
    gate: Gate | None = None
    commissioned: Commissioned | None = None
    training_data: tuple[JsonValue, ...] = ()
    metrics: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("domains")
    @classmethod
    def _known_domains(cls, domains: tuple[Domain, ...]) -> tuple[Domain, ...]:
        if Domain.UNKNOWN in domains or len(set(domains)) != len(domains):
            raise ValueError("name each domain once, and not 'unknown'")
        return domains

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [
            f"stage {stage.number}, classes: {_classes_problem(stage, entry.classes)}"
            for stage in Stage
            if _classes_problem(stage, (entry := self.stages.of(stage)).classes)
        ]
        files = [self.stages.of(stage).file for stage in Stage]
        if len(set(files)) != len(files):
            problems.append("two stages name the same file")
        if self.stages.detection.size_um[0] >= self.stages.detection.size_um[1]:
            problems.append("stage 2, size_um: the smallest is not below the largest")
        if self.um_per_px_range and self.um_per_px_range[0] >= self.um_per_px_range[1]:
            problems.append("um_per_px_range: the lower end is not below the upper")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def read_manifest(folder: Path) -> tuple[Manifest, Sha256]:
    """The manifest of a bundle folder and the SHA-256 of its bytes. Raises ManifestError."""
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ManifestError(
            f"bundle '{folder.name}': no {MANIFEST_NAME} can be read in {folder} "
            f"({error.strerror}); name a bundle folder, or make one with leukonode models "
            "init-untrained"
        ) from error
    return parse_manifest(data, name=folder.name), Sha256(hashlib.sha256(data).hexdigest())


def parse_manifest(data: bytes, *, name: str) -> Manifest:
    """A manifest from its bytes; `name` is what messages call the bundle. Raises ManifestError."""
    document = _document(data, name=name)
    minor_is_newer = _refuse_other_formats(document, name=name)
    try:
        return Manifest.model_validate_json(json.dumps(document))
    except ValidationError as error:
        unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
        if not (minor_is_newer and unknown):
            raise ManifestError.of(name, _problems(error), mend=_MEND) from error
    for place in unknown:
        _log.warning("bundle '%s': %s is of a newer format and is ignored", name, _place(place))
        _remove(document, place)
    try:
        return Manifest.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise ManifestError.of(name, _problems(error), mend=_MEND) from error


def _document(data: bytes, *, name: str) -> dict[str, Any]:
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError.of(name, [f"{MANIFEST_NAME} is larger than any manifest"], mend=_MEND)
    try:
        document = json.loads(data, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ManifestError.of(
            name, [f"{MANIFEST_NAME} is no valid JSON ({error})"], mend=_MEND
        ) from error
    if not isinstance(document, dict):
        raise ManifestError.of(name, [f"{MANIFEST_NAME} is no JSON object"], mend=_MEND)
    return document


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return dict(pairs)


def _no_constant(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _refuse_other_formats(document: dict[str, Any], *, name: str) -> bool:
    """True when the minor version is newer than ours. Raises ManifestError on another major."""
    written = document.get("format")
    parts = written.split(".") if isinstance(written, str) else []
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and len(p) < 6 for p in parts):
        raise ManifestError.of(
            name, [f"format: '{FORMAT[0]}.{FORMAT[1]}' wanted, {written!r} found"], mend=_MEND
        )
    major, minor = int(parts[0]), int(parts[1])
    if major != FORMAT[0]:
        raise ManifestError(
            f"bundle '{name}': format {written} is unknown, this program reads "
            f"{FORMAT[0]}.x; use the program version that the bundle was made for"
        )
    return minor > FORMAT[1]


def _classes_problem(stage: Stage, classes: tuple[str, ...]) -> str:
    """Why this class list does not fit the stage; empty when it does."""
    fixed: dict[Stage, tuple[str, ...]] = {
        Stage.VIABILITY: tuple(ViabilityClass),
        Stage.DETECTION: DETECTION_CLASSES,
        Stage.CELL_CLASS: tuple(CellClass),
        Stage.MALIGNANCY: tuple(Malignancy),
        Stage.SUBTYPE: tuple(Subtype),
    }
    if stage is Stage.WBC_CLASS:
        further = tuple(c for c in FURTHER_WBC_CLASSES if c in classes)
        wanted: tuple[str, ...] = TEN_WBC_CLASSES + further
    else:
        wanted = fixed[stage]
    return "" if classes == wanted else f"wanted in this order {[*map(str, wanted)]}"


def _problems(error: ValidationError) -> list[str]:
    problems = []
    for item in error.errors():
        place, said = _place(item["loc"]), item["msg"].removeprefix("Value error, ")
        problems.append(f"{place}: {said}" if place else said)
    return problems


def _place(loc: tuple[int | str, ...]) -> str:
    """`('stages', 'wbc_class', 'mean', 1)` as `stage 4, mean[1]`."""
    words, rest = [], list(loc)
    if len(rest) > 1 and rest[0] == "stages" and rest[1] in set(Stage):
        words.append(f"stage {Stage(rest[1]).number}")
        rest = rest[2:]
    path = ""
    for part in rest:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return ", ".join([*words, path] if path else words)


def _remove(document: Any, place: tuple[int | str, ...]) -> None:
    for part in place[:-1]:
        document = document[part]
    del document[place[-1]]
