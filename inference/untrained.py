"""A bundle with fixed-seed weights, for the time before trained ones exist.

It shows that the whole road works and nothing else: `untrained` is true in its manifest, and every
report made with it says so. Nothing in it is fitted to any picture but the ground level of each
last layer, which is set on drawn discs so that every class can occur and every stage has work.
The same seed gives the same bytes on the same machine and libraries.
"""

import gc
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from domain.analysis import BundleInfo
from domain.cells import CellClass, Malignancy, Stage, Subtype, ViabilityClass
from domain.image import Box, Domain
from inference.bundle import read_bundle_info
from inference.engine import steady
from inference.errors import BundleExists
from inference.manifest import (
    DETECTION_CLASSES,
    MANIFEST_NAME,
    TEN_WBC_CLASSES,
    Manifest,
    StageEntry,
    parse_manifest,
)
from inference.networks.build import network_of
from inference.stages.cell_class import pooled
from inference.tensors import tensor_of

__all__ = ["init_untrained"]

SEED = 20240901
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
GROUNDS = 4
SPREAD = 1.5  # standard deviation of the logits over drawn pictures: classes vary, none is certain


def init_untrained(
    folder: Path,
    *,
    seed: int = SEED,
    detector: str = "yolov5n",
    progress: Callable[[str, int, int], None] | None = None,
) -> BundleInfo:
    """Write manifest.json, six safetensors files and MODEL_CARD.md into `folder`, all or nothing.

    `progress(what, done, of)` is called for each stage. Raises BundleExists where there is a
    folder with something in it, ManifestError for a detector that does not exist.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleExists(f"{folder} exists and is not empty; name a new folder")
    if seed < 0:
        raise ValueError(f"a seed is 0 or more, not {seed}")
    document = _document(seed=seed, detector=detector)
    manifest = parse_manifest(json.dumps(document).encode(), name=document["id"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for stage in Stage:
            if progress is not None:
                progress(stage.value, stage.number - 1, len(Stage))
            entry = manifest.stages.of(stage)
            _write_weights(made / entry.file, stage=stage, entry=entry, seed=seed)
            with (made / entry.file).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            document["stages"][stage.value]["sha256"] = digest
        text = json.dumps(document, indent=2) + "\n"
        (made / MANIFEST_NAME).write_text(text, encoding="utf-8")
        (made / "MODEL_CARD.md").write_text(_card(manifest), encoding="utf-8")
        for written in made.iterdir():
            written.chmod(0o644)
        made.chmod(0o755)
        try:
            made.rename(folder)  # onto nothing or an empty folder
        except OSError as error:
            if folder.exists():
                raise BundleExists(
                    f"{folder} was made by someone else meanwhile; use that"
                ) from error
            raise
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    if progress is not None:
        progress("written", len(Stage), len(Stage))
    return read_bundle_info(folder)


def _document(*, seed: int, detector: str) -> dict[str, Any]:
    """The manifest, with nothing yet known of the files. Thresholds are chosen so that all stages
    run on ordinary images: every field is viable, the best boxes of each tile are taken for cells,
    and only the least certain cells are rejected. The detector measures no red cells."""

    def entry(stage: Stage, architecture: str, classes: tuple[str, ...], **more: Any) -> Any:
        return {
            "architecture": architecture,
            "file": f"{stage.number}-{stage.value.replace('_', '-')}.safetensors",
            "sha256": "0" * 64,
            "storage": "float32",
            "classes": [str(c) for c in classes],
            "input_px": 224,
            "mean": IMAGENET_MEAN,
            "deviation": IMAGENET_DEVIATION,
            "interpolation": "area",
            **more,
        }

    def naming(
        stage: Stage, architecture: str, classes: tuple[str, ...], reject_below: float
    ) -> Any:
        rejects = {str(c): reject_below for c in classes}
        more = {"field_um": 22.4, "temperature": 1.0, "reject_below": rejects}
        return entry(stage, architecture, classes, **more)

    plain = {"mean": (0.0, 0.0, 0.0), "deviation": (1.0, 1.0, 1.0)}
    return {
        "format": "1.0",
        "id": f"untrained-{detector}-{seed}",
        "version": "1",
        "untrained": True,
        "licence": "CC0-1.0",
        "domains": [Domain.SMEAR.value, Domain.IFC_BRIGHTFIELD.value],
        "um_per_px": 0.1,
        "stages": {
            "viability": entry(
                Stage.VIABILITY,
                "plain-cnn",
                tuple(ViabilityClass),
                input_px=128,
                temperature=1.0,
                threshold=0.0,
                **plain,
            ),
            "detection": entry(
                Stage.DETECTION,
                detector,
                DETECTION_CLASSES,
                input_px=640,
                um_per_px=0.2,
                confidence=0.0,
                iou=0.3,
                max_per_tile=24,
                overlap_px=128,
                size_um=(1.5, 30.0),
                **plain,
            ),
            "cell_class": entry(
                Stage.CELL_CLASS,
                "resnet34-unet",
                tuple(CellClass),
                field_um=22.4,
                temperature=1.0,
            ),
            "wbc_class": naming(Stage.WBC_CLASS, "vit-base-patch16-224", TEN_WBC_CLASSES, 0.15),
            "malignancy": naming(Stage.MALIGNANCY, "resnet101", tuple(Malignancy), 0.52),
            "subtype": naming(Stage.SUBTYPE, "densenet121", tuple(Subtype), 0.36),
        },
    }


def _write_weights(file: Path, *, stage: Stage, entry: StageEntry, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), steady(threads=1):
        torch.manual_seed(seed + stage.number)
        with torch.inference_mode(mode=False):
            network = network_of(stage, entry)
        network.eval().requires_grad_(requires_grad=False)
        _set_ground_level(network, stage=stage, entry=entry, seed=seed)
        save_file({n: t.contiguous() for n, t in network.state_dict().items()}, file)
    del network
    gc.collect()  # the largest network has a third of a gigabyte, and the next one comes


def _set_ground_level(network: nn.Module, *, stage: Stage, entry: StageEntry, seed: int) -> None:
    """Make the last layer's answers differ from cell to cell.

    A random network answers nearly the same to every crop of a picture, because it sees little but
    the colour of the ground. What the last layer sees is taken down for drawn pictures of a few
    grounds; its weights lose the directions in which grounds differ, and are turned up.
    """
    if stage is Stage.DETECTION:
        _set_box_sizes(network)
        return
    last = _last_layer(network, stage)
    pictures = tensor_of(_pictures(entry.input_px, seed=seed), entry)
    flat = _seen_by(last, network, stage, pictures)
    seen = flat.reshape(GROUNDS, -1, flat.shape[1])  # (G, C, D): by ground, by picture
    directions, _ = torch.linalg.qr(seen.mean(dim=1).T)  # (D, G)
    weight = last.weight.flatten(1)  # (K, D): a 1x1 convolution has two more dimensions
    weight = weight - weight @ directions @ directions.T
    spread = (seen.flatten(0, 1) @ weight.T).std(dim=0).mean()
    last.weight.copy_((weight * (SPREAD / spread)).view_as(last.weight))
    last.bias.zero_()
    if stage is Stage.CELL_CLASS:  # enough white cells for the stages after it
        last.bias[tuple(CellClass).index(CellClass.WHITE_BLOOD_CELL)] = SPREAD


def _set_box_sizes(network: nn.Module) -> None:
    """Boxes of about the size of cells, from the finest of the head's three maps.

    Each side's distance is the mean of a softmax over 16 bins; a bias that peaks at bin 2.5 of the
    map with stride 8 gives 20 px, 4 um at 0.2 um/px; the coarser maps are told to find nothing.
    """
    head: Any = network.get_submodule("model.24")
    bins = torch.arange(16, dtype=torch.float32)
    for level, (boxes, classes) in enumerate(zip(head.cv2, head.cv3, strict=True)):
        boxes[-1].bias.copy_((-((bins - 2.5) ** 2) / 4).repeat(4))
        boxes[-1].weight.mul_(4.0)
        classes[-1].bias.fill_(0.0 if level == 0 else -8.0)


def _last_layer(network: nn.Module, stage: Stage) -> Any:
    names = {
        Stage.VIABILITY: "classifier.4",
        Stage.CELL_CLASS: "head",
        Stage.WBC_CLASS: "classifier",
        Stage.MALIGNANCY: "fc",
        Stage.SUBTYPE: "classifier.3",
    }
    return network.get_submodule(names[stage])


def _seen_by(last: nn.Module, network: nn.Module, stage: Stage, pictures: Tensor) -> Tensor:
    """(N, 3, S, S) -> (N, D): what enters the last layer, of a map its mean over the middle.

    On the way batch norms take over the pictures' statistics; without any a random network fades
    out.
    """
    entered: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # the statistics become those of this one batch
    network(pictures)
    hook.remove()
    for norm in norms:
        norm.eval()
        norm.momentum = 0.1
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.zero_()
    if stage is not Stage.CELL_CLASS:
        return entered[0]
    size = float(pictures.shape[-1])
    middle = Box(size / 4, size / 4, size * 3 / 4, size * 3 / 4)
    return pooled(entered[0], [middle] * len(pictures), shrunk=0.5)


def _pictures(size: int, *, seed: int) -> npt.NDArray[np.uint8]:
    """(G x 2, S, S, 3): on each of a few light grounds two pictures of discs in the colours and
    sizes of cells, a paler or darker one in the middle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    pictures = np.empty((GROUNDS, 2, size, size, 3), dtype=np.float64)
    for ground in range(GROUNDS):
        pictures[ground] = rng.uniform((180, 170, 175), (245, 235, 240))
        red = rng.uniform((170, 110, 120), (225, 175, 190))
        for picture in pictures[ground]:
            for _ in range(rng.integers(1, 8)):
                distance = np.hypot(x - rng.uniform(), y - rng.uniform())
                picture[distance < rng.uniform(0.1, 0.2)] = red
            distance = np.hypot(x - 0.5, y - 0.5)
            outer = rng.uniform(0.05, 0.4)
            picture[distance < outer] = rng.uniform((140, 110, 150), (215, 180, 215))
            picture[distance < outer * rng.uniform(0, 0.9)] = rng.uniform(70, 160, size=3)
    pictures += rng.normal(0, 3, size=pictures.shape)
    flat = pictures.reshape(-1, size, size, 3)
    return np.clip(np.rint(flat), 0, 255).astype(np.uint8)


def _card(manifest: Manifest) -> str:
    stages = "\n".join(
        f"| {stage.number} {stage.value} | {entry.architecture} | {', '.join(entry.classes)} |"
        for stage in Stage
        for entry in [manifest.stages.of(stage)]
    )
    return f"""# {manifest.id}

**Untrained.** The weights of this bundle are random numbers from a fixed seed. It was trained on
nothing, it recognises nothing, and every number made with it is meaningless. It exists so that a
site can try the way of an image through the service before it has trained networks, and every page
of every report made with it says UNTRAINED MODELS.

Not for any clinical or research reading of an image.

| stage | network | classes |
|---|---|---|
{stages}

Thresholds are chosen so that every stage has something to do: each field counts as viable, the
detector's best boxes of each tile count as cells, and few cells are rejected. The last layers are
scaled on drawn discs, so that all classes occur.
"""
