"""What a laboratory brings: fields of its own, and some cells that somebody named.

In      a folder of fields; a folder CLASS/* of single cells, or a CSV file,x0,y0,x1,y1,class on the fields
Out     SiteField, LabelledCell: opened by the service's own reader, known by the hash of their pixels
Errors  DataError for a class that no stage has, an empty class folder, a line that is none, a box that
        is not in its field, one picture in two classes. What cannot be read is listed and left out
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_node.errors import DicomNodeError
from dicom_node.sources import PixelSource, open_any
from domain.cells import Malignancy, Stage, Subtype
from domain.image import Box, Field, ImageHeader, Pixels, UnreadablePixels
from inference.crops import Colour, background_of, border_colour_of
from inference.manifest import Manifest
from training.errors import DataError
from training.pictures import Picture, digest_of, pixels_of

__all__ = ["LabelledCell", "SiteField", "labelled_cells", "site_fields"]

COLUMNS = ("file", "x0", "y0", "x1", "y1", "class")
MOST_PX = 100_000_000  # of one field; larger ones are slides
NAMING = (Stage.WBC_CLASS, Stage.MALIGNANCY, Stage.SUBTYPE)
FIXED: Mapping[Stage, tuple[str, ...]] = {
    Stage.MALIGNANCY: tuple(Malignancy),
    Stage.SUBTYPE: tuple(Subtype),
}
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteField:
    """One field, as the cascade takes it. Its pixels are decoded when they are asked for.
    `um_per_px` is what the file states, else what the site states of all its pictures."""

    name: str  # of its file, within the folder
    source: PixelSource
    digest: str
    um_per_px: tuple[float, float] | None

    @property
    def header(self) -> ImageHeader:
        return replace(self.source.header, um_per_px=self.um_per_px)

    def fields(self) -> Iterator[Field]:
        """Its one field."""
        for field in self.source.fields():
            yield replace(field, um_per_px=self.um_per_px)

    def pixels(self) -> Pixels:
        """(H, W, 3) RGB."""
        return next(self.fields()).pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledCell:
    """One cell with its class in the words of `stage`. `picture` is the file that it is on; cells of
    one file are judged together. A cell `on_field` has the scale that its field is read at; another
    one without `um_per_px` is a picture that is taken for the stage's square."""

    stage: Stage
    label: str
    picture: str
    digest: str
    pixels: Pixels
    box: Box
    um_per_px: tuple[float, float] | None
    ground: Colour
    on_field: bool = False


def site_fields(
    folder: Path, *, um_per_px: float | None, tell: Tell
) -> tuple[list[SiteField], list[str]]:
    """In order of their names, the same picture once; and a line for each that is left out."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name the one that holds the laboratory's fields")
    fields: dict[str, SiteField] = {}
    left: list[str] = []
    files = _files(folder)
    for number, path in enumerate(files):
        tell("fields opened", number, len(files))
        name = str(path.relative_to(folder))
        try:
            source = open_any(path, image=0)
            reason = _unfit(source)
            one = None if reason else next(iter(source.fields()), None)
        except (UnreadablePixels, DicomNodeError, OSError) as error:
            reason, one = _line(error), None
        if reason or one is None:
            left.append(f"{name}: {reason or 'it holds no field'}")
            continue
        digest = _digest(path, one.pixels)
        if digest in fields:
            left.append(f"{name}: the same picture as {fields[digest].name}")
            continue
        stated = (um_per_px, um_per_px) if um_per_px else None
        scale = one.um_per_px or stated
        fields[digest] = SiteField(name=name, source=source, digest=digest, um_per_px=scale)
    return list(fields.values()), left


def labelled_cells(
    labels: Path,
    fields: Sequence[SiteField],
    *,
    manifest: Manifest,
    um_per_px: float | None,
    tell: Tell,
) -> tuple[list[LabelledCell], list[str]]:
    """In order, each once; and a line for each that is left out."""
    classes = {s: manifest.stages.of(s).classes for s in NAMING}
    if labels.is_dir():
        cells, left = _in_folders(labels, classes, um_per_px, tell)
    elif labels.is_file():
        cells, left = _in_table(labels, classes, fields)
    else:
        raise DataError(
            f"{labels} is not there; give a folder CLASS/*.png of single cells, or a CSV with the "
            f"columns {','.join(COLUMNS)}"
        )
    return _once(cells, left), left


def _in_folders(
    folder: Path, classes: Mapping[Stage, Sequence[str]], um_per_px: float | None, tell: Tell
) -> tuple[list[LabelledCell], list[str]]:
    """The names of all folders are looked at before any picture is."""
    subs = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not subs:
        raise DataError(
            f"{folder} holds no class folder; put each cell into one named as its class"
        )
    stages = [_stage_of(sub.name, classes, where=f"the folder {sub}") for sub in subs]
    files = [_files(sub) for sub in subs]
    for sub, inside in zip(subs, files, strict=True):
        if not inside:
            raise DataError(f"the class folder {sub} holds no picture; fill it or remove it")
    cells: list[LabelledCell] = []
    left: list[str] = []
    for stage, sub, inside in zip(stages, subs, files, strict=True):
        for number, path in enumerate(inside):
            tell(f"cells of {sub.name}", number, len(inside))
            name = f"{sub.name}/{path.relative_to(sub)}"
            try:
                source = open_any(path, image=0, single_cell=True)
                reason = _unfit(source)
                one = None if reason else next(iter(source.fields()), None)
            except (UnreadablePixels, DicomNodeError, OSError) as error:
                reason, one = _line(error), None
            if reason or one is None:
                left.append(f"{name}: {reason or 'it holds no picture'}")
                continue
            height, width = one.pixels.shape[:2]
            stated = (um_per_px, um_per_px) if um_per_px else None
            cells.append(
                LabelledCell(
                    stage=stage,
                    label=sub.name,
                    picture=name,
                    digest=_digest(path, one.pixels),
                    pixels=one.pixels,
                    box=Box(0, 0, width, height),
                    um_per_px=one.um_per_px or stated,
                    ground=border_colour_of(one.pixels),
                )
            )
    return cells, left


def _in_table(
    table: Path,
    classes: Mapping[Stage, Sequence[str]],
    fields: Sequence[SiteField],
) -> tuple[list[LabelledCell], list[str]]:
    by_name = {f.name: f for f in fields}
    rows = _rows(table)
    stages = [_stage_of(row["class"], classes, where=f"{table}, line {n}") for n, row in rows]
    cells: list[LabelledCell] = []
    left: dict[str, None] = {}
    opened: dict[str, tuple[Pixels, Colour]] = {}
    for (number, row), stage in zip(rows, stages, strict=True):
        field = by_name.get(row["file"])
        if field is None:
            left[f"{row['file']}: named in {table.name} and not among the fields"] = None
            continue
        if field.name not in opened:
            decoded = field.pixels()
            opened[field.name] = decoded, background_of(decoded)
        pixels, ground = opened[field.name]
        box = _box(row, pixels, where=f"{table}, line {number}")
        cells.append(
            LabelledCell(
                stage=stage,
                label=row["class"],
                picture=field.name,
                digest=field.digest,
                pixels=pixels,
                box=box,
                um_per_px=field.um_per_px,
                ground=ground,
                on_field=True,
            )
        )
    return cells, list(left)


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Each line's number and its fields."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{table} has no column {', '.join(missing)}; its first line must be "
                    f"{','.join(COLUMNS)}"
                )
            rows = [
                (reader.line_num, {c: (row[c] or "").strip() for c in COLUMNS}) for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a CSV in UTF-8 ({_line(error)})") from error
    if not rows:
        raise DataError(f"{table} names no cell; give a line for each")
    return rows


def _box(row: Mapping[str, str], pixels: Pixels, *, where: str) -> Box:
    try:
        box = Box(*(float(row[c]) for c in COLUMNS[1:5]))
    except ValueError as error:
        raise DataError(f"{where}: x0, y0, x1, y1 must be numbers of pixels") from error
    height, width = pixels.shape[:2]
    if not (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height):
        raise DataError(f"{where}: the box is not inside its field of {width} x {height} pixels")
    return box


def _stage_of(name: str, classes: Mapping[Stage, Sequence[str]], *, where: str) -> Stage:
    for stage, names in classes.items():
        if name in names:
            return stage
    known = "; ".join(f"stage {s.number}: {', '.join(n)}" for s, n in classes.items())
    raise DataError(f"{where} names no class of this bundle ('{name}'); {known}")


def _once(cells: Iterable[LabelledCell], left: list[str]) -> list[LabelledCell]:
    """Each cell once a stage. Raises DataError where it has two classes there."""
    kept: dict[tuple[Stage, str, Box], LabelledCell] = {}
    for cell in cells:
        key = (cell.stage, cell.digest, cell.box)
        first = kept.setdefault(key, cell)
        if first.label != cell.label:
            raise DataError(
                f"{first.picture} and {cell.picture} are the same cell, once {first.label} and once "
                f"{cell.label}; keep the right one"
            )
        if first is not cell:
            left.append(f"{cell.picture}: the same cell as {first.picture}")
    return list(kept.values())


def _unfit(source: PixelSource) -> str:
    """Why this is not one field in colour; empty when it is."""
    header = source.header
    if header.refusal:
        return header.refusal
    if header.monochrome:
        return "it is monochrome, and a stained smear is read in colour"
    if header.frames != 1 or header.width_px * header.height_px > MOST_PX:
        return "it is a slide or a series; give single fields of it"
    return ""


def _digest(path: Path, pixels: Pixels) -> str:
    """As training names pictures, so that a cell that was trained on is known again."""
    read = pixels_of(Picture(path=path, laboratory=""))
    return digest_of(pixels if read is None else read)


def _files(folder: Path) -> list[Path]:
    found = (p for p in folder.rglob("*") if p.is_file())
    return sorted(
        p for p in found if not any(s.startswith(".") for s in p.relative_to(folder).parts)
    )


def _line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())
