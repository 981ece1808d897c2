"""One image on its way through the stages: its fields come in, its cells and its record come out."""

from collections.abc import Sequence
from math import ceil, sqrt
from statistics import fmean

from domain.cells import Cell, CellClass, Stage
from domain.image import (
    OUTSIDE_RANGE,
    Box,
    Field,
    ImageHeader,
    ImageReading,
    ScaleFrom,
    Verdict,
    Viability,
)
from inference.bundle import Bundle
from inference.cells import Found, Named, named
from inference.crops import Colour, background_of, border_colour_of, elongation
from inference.errors import UnfitField
from inference.fusion import final_class_of, marks_of
from inference.manifest import RedCells
from inference.outlines import outline_in_image
from inference.recorder import Recorder
from inference.scale import (
    Scale,
    red_cell_scale,
    spacing_problem,
    spacing_scale,
    unknown_scale,
)
from inference.stages.detection import Detection, detected
from inference.stages.viability import viable_p
from inference.stain_record import StainRecord
from inference.tensors import DECIMALS

__all__ = ["ImageRun"]

MOST_ENLARGED = 8.0  # a field is blown up no more for the detector: nothing would come of it
MOST_SCALED_PX = 200_000_000  # of one field at the detector's scale: 600 MB
MOST_ELONGATED = 20.0  # a field is no more times longer than wide
BORDER_PX = 1.0
MOST_OFF = 2.0  # red cells found at a trial scale are no more times larger or smaller than it says


class ImageRun:
    """Reads the fields of one image, lot by lot. Changes as it goes; used once."""

    def __init__(
        self, header: ImageHeader, *, index: int, bundle: Bundle, recorder: Recorder
    ) -> None:
        self.cells: list[Cell] = []
        self.fields_seen = 0
        self.stopped = ""  # why a stage's failure ended the reading
        self._header = header
        self._index = index
        self._bundle = bundle
        self._recorder = recorder
        self._scale: Scale | None = None
        self._viable_p: list[float] = []
        self._read = 0
        self._refused = 0
        self._stain = StainRecord(bundle.manifest.gate)
        self._core_area = 0.0
        self._stages = bundle.manifest.stages
        self._aspect = header.pixel_aspect or 1.0
        self._unknown = unknown_scale(bundle.info.um_per_px, pixel_aspect=self._aspect)
        self._warnings: dict[str, None] = {}

    def read(self, lot: Sequence[Field]) -> None:
        """One field, or several single-cell fields. Raises UnfitField, with the cells of
        the fields before it kept."""
        self.fields_seen += len(lot)
        self._core_area += sum(f.core_px.width * f.core_px.height for f in lot)
        found = self._single_cells(lot) if lot[0].single_cell else self._field(lot[0])
        if found is None:
            return
        names = named(found, bundle=self._bundle, recorder=self._recorder)
        if names is None:
            self.stopped = (
                f"{len(found)} cells were found and could not be told apart (stage 3 failed)"
            )
            return
        self._read += len(lot)
        self.cells += [self._cell(f, name) for f, name in zip(found, names, strict=True)]

    @property
    def fields_left(self) -> int:
        """How many fields are still to come, as far as the header and the fields so far tell."""
        image = float(self._header.width_px * self._header.height_px)
        each = self._core_area / self.fields_seen if self.fields_seen else image
        if each >= image:  # every frame is a field
            return max(0, self._header.frames - self.fields_seen)
        return max(0, ceil((image - self._core_area) / each)) if each else 0

    @property
    def fields_read(self) -> int:
        """Fields whose cells are counted."""
        return self._read

    def cut_short(self, reason: str) -> None:
        """The next field could not be had: what was read before it stands, with a warning."""
        left = self.fields_left
        unread = f"; about {left} fields were not read" if left else ""
        self._warn(f"reading ended after {self.fields_seen} fields: {reason}{unread}")

    def reading(self, *, fields_left: int) -> ImageReading:
        """The image's record."""
        scale = self._scale
        return ImageReading(
            header=self._header,
            viability=self._viability(),
            um_per_px=scale.um_per_px if scale and scale.known else None,
            scale_from=scale.source if scale else ScaleFrom.UNKNOWN,
            fields_read=self._read,
            fields_refused=self._refused,
            fields_left=fields_left,
            not_evaluable=self._not_evaluable(),
            warnings=(
                *(scale.warnings if scale else ()),
                *self._stain.warnings(self.fields_seen),
                *self._warnings,
            ),
        )

    def _viability(self) -> Viability:
        if not self._viable_p:
            return Viability(p=None, verdict=Verdict.NOT_ASSESSED)
        verdict = Verdict.VIABLE if self._refused < len(self._viable_p) else Verdict.NON_VIABLE
        return Viability(p=round(fmean(self._viable_p), DECIMALS), verdict=verdict)

    def _not_evaluable(self) -> str:
        if self._stain.all_refused and not self.cells:
            return self._stain.reason
        if self._read:
            return ""
        if self.stopped:
            return self.stopped
        if self._refused:
            wanted = self._stages.viability.threshold
            return (
                f"it is not viable (probability of viable {fmean(self._viable_p):.2f}, "
                f"{wanted:.2f} wanted)"
            )
        return self._stain.reason or "it holds no field to read"

    def _single_cells(self, lot: Sequence[Field]) -> list[Found]:
        """Each field is one cell: stages 1 and 2 have nothing to say."""
        return [self._single_cell(field) for field in lot]

    def _single_cell(self, field: Field) -> Found:
        height, width = field.pixels.shape[:2]
        if field.um_per_px is not None:
            scale = self._stated(field, field.um_per_px)
        else:
            # read as it is: the frame is all there is to see, and fills the square
            scale = unknown_scale(
                self._stages.wbc_class.field_um / max(height, width), pixel_aspect=self._aspect
            )
        _check_shape(field, scale)
        self._keep_scale(scale)
        return Found(
            field=field,
            um_per_px=scale.um_per_px,
            background=border_colour_of(field.pixels),
            box=Box(0, 0, width, height),
            p=1.0,
        )

    def _field(self, field: Field) -> list[Found] | None:
        """Stages 1 and 2; None when the field is no smear that the bundle knows or not viable, or one
        of the two failed."""
        background = background_of(field.pixels)
        scale = self._stated(field, field.um_per_px) if field.um_per_px else self._scale
        _check_shape(field, scale or self._unknown)
        if not self._stain.admits(field, background):
            return None
        if not self._viable(field, scale or self._unknown, background):
            return None
        if scale is None or not scale.known:
            scale = self._measured(field, background) or self._unknown
        detections = self._detected(field, scale.um_per_px, background)
        if detections is None:
            return None
        self._keep_scale(scale)
        found = [
            Found(
                field=field,
                um_per_px=scale.um_per_px,
                background=background,
                box=detection.box,
                p=detection.p,
            )
            for detection in detections
        ]
        whole = [f for f in found if self._counts_here(f)]
        return sorted(whole, key=lambda f: (self._in_image(f).y0, self._in_image(f).x0))

    def _viable(self, field: Field, scale: Scale, background: Colour) -> bool:
        entry = self._stages.viability
        p = self._recorder.attempt(
            Stage.VIABILITY,
            lambda: viable_p(
                field.pixels,
                um_per_px=scale.um_per_px,
                background=background,
                network=self._bundle.networks[Stage.VIABILITY],
                entry=entry,
            ),
            items=1,
        )
        if p is None:
            self.stopped = "whether it is viable could not be told (stage 1 failed)"
            return False
        self._viable_p.append(p)
        if p >= entry.threshold:
            return True
        self._refused += 1
        return False

    def _detected(
        self, field: Field, um_per_px: tuple[float, float], background: Colour
    ) -> tuple[Detection, ...] | None:
        found = self._recorder.attempt(
            Stage.DETECTION,
            lambda: detected(
                field.pixels,
                um_per_px=um_per_px,
                background=background,
                network=self._bundle.networks[Stage.DETECTION],
                entry=self._stages.detection,
            ),
            items=1,
        )
        if found is None:
            self.stopped = "its cells could not be detected (stage 2 failed)"
        return found

    def _measured(self, field: Field, background: Colour) -> Scale | None:
        """The scale that the field's own red cells give: first at the trial where they cover the most
        of it, then once more at the scale found there.

        Covering and not counting decides, because a field that is read far too large is full of
        small things that look like red cells; what is found at a trial must also have about the
        size that the trial takes red cells for."""
        rule = self._bundle.manifest.red_cells
        if rule is None:
            return None
        best: tuple[float, Scale | None] = (0.0, None)
        for trial in rule.trial_um_per_px:
            if self._too_coarse(field, (trial, trial * self._aspect)):
                continue
            red = self._red_cells(field, (trial, trial * self._aspect), background, rule)
            scale = self._scale_of(red, rule)
            covered = sum(b.width * b.height for b in red)
            if scale and covered > best[0] and _near(scale.um_per_px, trial * sqrt(self._aspect)):
                best = covered, scale
        scale = best[1]
        if scale is None or self._too_coarse(field, scale.um_per_px):
            return None
        again = self._scale_of(self._red_cells(field, scale.um_per_px, background, rule), rule)
        if again is None or self._too_coarse(field, again.um_per_px):
            return scale
        return again

    def _scale_of(self, red: Sequence[Box], rule: RedCells) -> Scale | None:
        return red_cell_scale(red, at_least=rule.min_cells, pixel_aspect=self._header.pixel_aspect)

    def _red_cells(
        self, field: Field, um_per_px: tuple[float, float], background: Colour, rule: RedCells
    ) -> list[Box]:
        """Boxes of those that no border cuts."""
        height, width = field.pixels.shape[:2]
        inner = Box(BORDER_PX, BORDER_PX, width - BORDER_PX, height - BORDER_PX)
        return [
            d.box
            for d in self._detected(field, um_per_px, background) or ()
            if d.cell_class is CellClass.RED_BLOOD_CELL
            and d.p >= rule.min_confidence
            and inner.x0 <= d.box.x0
            and inner.y0 <= d.box.y0
            and d.box.x1 <= inner.x1
            and d.box.y1 <= inner.y1
        ]

    def _stated(self, field: Field, um_per_px: tuple[float, float]) -> Scale:
        """Raises UnfitField where the spacing is no microscope's, or far too coarse."""
        problem = spacing_problem(um_per_px) or self._too_coarse(field, um_per_px)
        if problem:
            raise UnfitField(problem)
        return spacing_scale(um_per_px)

    def _too_coarse(self, field: Field, um_per_px: tuple[float, float]) -> str:
        """Why the field cannot be brought to the detector's scale; empty when it can."""
        height, width = field.pixels.shape[:2]
        read_at = self._stages.detection.um_per_px
        larger = um_per_px[0] / read_at, um_per_px[1] / read_at
        if (
            max(larger) <= MOST_ENLARGED
            and larger[0] * width * larger[1] * height <= MOST_SCALED_PX
        ):
            return ""
        return (
            f"its pixels are too coarse for it ({max(um_per_px):g} um; this bundle reads at "
            f"{read_at:g} um)"
        )

    def _keep_scale(self, scale: Scale) -> None:
        """The first known scale is the image's; fields read before it are told of."""
        if self._scale is not None and scale.known and not self._scale.known and self._read:
            self._warn(f"{self._read} fields were read before a scale could be measured")
        if self._scale is None or (scale.known and not self._scale.known):
            self._scale = scale
        wanted = self._bundle.manifest.um_per_px_range
        if scale.known and wanted and not all(wanted[0] <= v <= wanted[1] for v in scale.um_per_px):
            self._warn(f"{OUTSIDE_RANGE} ({wanted[0]:g} to {wanted[1]:g} um per pixel)")

    def _counts_here(self, found: Found) -> bool:
        """Whether the cell is this field's, and no earlier field has shown it."""
        box = self._in_image(found)
        if box.width < 1 or box.height < 1 or not found.field.core_px.holds(*box.centre):
            return False
        core, iou = found.field.core_px, self._stages.detection.iou
        if core.x0 <= box.x0 and core.y0 <= box.y0 and box.x1 <= core.x1 and box.y1 <= core.y1:
            return True
        return not any(
            _overlap(box, cell.box_px) > iou
            for cell in self.cells
            if cell.frame == found.field.frame
        )

    def _in_image(self, found: Found) -> Box:
        """The box in pixels of the image as it came, clipped to it."""
        (x, y), box = found.field.origin_px, found.box
        width, height = self._header.width_px, self._header.height_px
        return Box(
            round(min(max(box.x0 + x, 0), width), 2),
            round(min(max(box.y0 + y, 0), height), 2),
            round(min(max(box.x1 + x, 0), width), 2),
            round(min(max(box.y1 + y, 0), height), 2),
        )

    def _cell(self, found: Found, name: Named) -> Cell:
        box, image = self._in_image(found), self._header
        at_border = not found.field.single_cell and (
            box.x0 < BORDER_PX
            or box.y0 < BORDER_PX
            or box.x1 > image.width_px - BORDER_PX
            or box.y1 > image.height_px - BORDER_PX
        )
        return Cell(
            number=0,  # given when all images are read
            image=self._index,
            frame=found.field.frame,
            box_px=box,
            detection_p=found.p,
            cell_class=name.cell_class,
            cell_class_p=name.cell_class_p,
            wbc_class=name.wbc_class,
            wbc_class_p=name.wbc_class_p,
            malignancy=name.malignancy,
            malignancy_p=name.malignancy_p,
            subtype=name.subtype,
            subtype_p=name.subtype_p,
            final_class=final_class_of(name.cell_class, name.wbc_class, name.malignancy),
            marks=marks_of(
                wbc_class=name.wbc_class,
                malignancy=name.malignancy,
                subtype=name.subtype,
                at_border=at_border,
            ),
            outline_px=outline_in_image(
                name.outline,
                origin_px=found.field.origin_px,
                size_px=(image.width_px, image.height_px),
            ),
        )

    def _warn(self, warning: str) -> None:
        self._warnings[warning] = None


def _near(um_per_px: tuple[float, float], trial: float) -> bool:
    return trial / MOST_OFF <= sqrt(um_per_px[0] * um_per_px[1]) <= trial * MOST_OFF


def _check_shape(field: Field, scale: Scale) -> None:
    longer = elongation(field.pixels, scale.um_per_px)
    if longer > MOST_ELONGATED:
        raise UnfitField(
            f"it is {longer:.0f} times longer than wide (at most {MOST_ELONGATED:.0f} is read)"
        )


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (a.width * a.height + b.width * b.height - both)
