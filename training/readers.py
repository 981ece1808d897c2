"""Labelled pictures from the forms in which people keep them.

    image folders    DIR/<class>/*.jpg, or DIR/train/<class>/... and DIR/val/<class>/...
    YOLO             DIR/images/*.jpg and DIR/labels/*.txt (`class cx cy w h`, shares of the picture)
    Pascal VOC       DIR/**/*.xml beside or instead of the txt files

Out     Pictures, in order of their names, split as the folders say or not yet
Errors  DataError: unknown class folder, empty class, a label line that is none; all before anything
        is trained or written
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from PIL import Image

from domain.cells import CellClass
from domain.image import Box
from training.errors import DataError
from training.pictures import LabelledBox, Picture, Shows, Split
from training.splits import divided

__all__ = ["PICTURE_ENDINGS", "image_folders", "size_of", "voc_boxes", "yolo_boxes", "yolo_field"]

PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})
# Collections of blood smears number the white cell first
YOLO_ORDER = (CellClass.WHITE_BLOOD_CELL, CellClass.RED_BLOOD_CELL, CellClass.PLATELET)
VOC_NAMES: Mapping[str, CellClass] = {
    "wbc": CellClass.WHITE_BLOOD_CELL,
    "rbc": CellClass.RED_BLOOD_CELL,
    "platelet": CellClass.PLATELET,
    "platelets": CellClass.PLATELET,
    **{c.value: c for c in CellClass},
}
MOST_XML_BYTES = 4 * 2**20


def image_folders(
    folder: Path,
    *,
    classes: Sequence[str],
    um_per_px: tuple[float, float] | None = None,
    shows: Shows = Shows.CELL,
) -> list[Picture]:
    """A folder a class, named as the stage names it. Raises DataError for a folder of another
    name, or without any picture."""
    parted = [side for side in (Split.TRAIN, Split.VAL) if (folder / side).is_dir()]
    roots = [(folder / side, side) for side in parted] or [(folder, Split.TRAIN)]
    found: list[Picture] = []
    for root, side in roots:
        for sub in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
            if sub.name not in classes:
                raise DataError(
                    f"the folder {sub} is no class of this stage; its classes are "
                    f"{', '.join(classes)}"
                )
            found += [
                Picture(
                    path=path,
                    laboratory=folder.name,
                    shows=shows,
                    label=sub.name,
                    split=side,
                    um_per_px=um_per_px,
                )
                for path in _pictures_in(sub)
            ]
            if not any(p.label == sub.name for p in found):
                raise DataError(f"the class folder {sub} holds no picture; fill it or remove it")
    return found if parted else divided(found)


def yolo_boxes(folder: Path, *, order: Sequence[CellClass] = YOLO_ORDER) -> list[Picture]:
    """`images/` and `labels/` of the same names; a picture without a label file is left out."""
    parted = [side for side in (Split.TRAIN, Split.VAL) if (folder / side / "images").is_dir()]
    roots = [(folder / side, side) for side in parted] or [(folder, Split.TRAIN)]
    found = []
    for root, side in roots:
        for path in _pictures_in(root / "images"):
            labels = root / "labels" / f"{path.stem}.txt"
            if labels.is_file():
                picture = yolo_field(path, labels, laboratory=folder.name, order=order)
                found.append(replace(picture, split=side))
    if not found:
        raise DataError(f"{folder} holds no picture with a label file; give images/ and labels/")
    return found if parted else divided(found)


def yolo_field(
    path: Path, labels: Path, *, laboratory: str, order: Sequence[CellClass] = YOLO_ORDER
) -> Picture:
    """One picture with the boxes of its label file. Raises DataError at a line that is none."""
    size = size_of(path)
    if size is None:
        return Picture(path=path, laboratory=laboratory)
    width, height = size
    boxes = []
    for number, line in enumerate(labels.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            index, x, y, w, h = line.split()
            kind = order[int(index)]
            cx, cy, bw, bh = (
                float(x) * width,
                float(y) * height,
                float(w) * width,
                float(h) * height,
            )
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{labels}, line {number}: 'class cx cy w h' wanted, class 0 to {len(order) - 1}"
            ) from error
        box = Box(cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2)
        boxes.append(LabelledBox(box=_clipped(box, width, height), cell_class=kind))
    return Picture(path=path, laboratory=laboratory, boxes=tuple(boxes))


def voc_boxes(folder: Path) -> list[Picture]:
    """Pascal VOC: one xml a picture, found anywhere below; the picture has the same stem and lies
    beside it or in `images/` or `JPEGImages/`. Raises DataError for an object of unknown name."""
    found = []
    for xml in sorted(folder.rglob("*.xml")):
        places = (
            xml.parent,
            folder / "images",
            folder / "JPEGImages",
            xml.parent.parent / "images",
        )
        paths = [p for d in dict.fromkeys(places) for p in _pictures_in(d) if p.stem == xml.stem]
        if paths:
            boxes = _voc_objects(xml)
            found.append(Picture(path=paths[0], laboratory=folder.name, boxes=boxes))
    if not found:
        raise DataError(f"{folder} holds no xml with a picture of the same name")
    return divided(found)


def _voc_objects(xml: Path) -> tuple[LabelledBox, ...]:
    text = xml.read_bytes()
    if len(text) > MOST_XML_BYTES or b"<!ENTITY" in text:
        raise DataError(f"{xml} is no label file of Pascal VOC")
    try:
        root = ET.fromstring(text)  # noqa: S314  # entities were refused above
        boxes = []
        for item in root.iter("object"):
            name = (item.findtext("name") or "").strip().lower()
            if name not in VOC_NAMES:
                raise DataError(f"{xml}: unknown object '{name}'; one of {', '.join(VOC_NAMES)}")
            edges = [
                float(item.findtext(f"bndbox/{e}") or "") for e in ("xmin", "ymin", "xmax", "ymax")
            ]
            boxes.append(LabelledBox(box=Box(*edges), cell_class=VOC_NAMES[name]))
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"{xml} is no label file of Pascal VOC ({error})") from error
    return tuple(boxes)


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in PICTURE_ENDINGS and p.is_file()
    )


def size_of(path: Path) -> tuple[int, int] | None:
    """(width, height), from the file's head; None where it has none."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, Image.DecompressionBombError):
        return None


def _clipped(box: Box, width: int, height: int) -> Box:
    return Box(max(0.0, box.x0), max(0.0, box.y0), min(width, box.x1), min(height, box.y1))
