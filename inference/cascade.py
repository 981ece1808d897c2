"""From images to an analysis: six stages in order, each image for itself.

In      sources: for each image its header and an iterator of fields, in the order of the report
Out     Analysis: a value with every cell, every probability, and all that went into it
Refuses nothing that is in an image: what cannot be read, is not viable, or is of a domain that the
        bundle does not cover becomes an image that is *not evaluable*, with the reason; a stage
        that fails becomes a StageFailure, and what was found before it stays; pixels that cannot be
        decoded become one of no stage, and the fields before them stay
The same bytes and the same bundle give the same analysis (but for the seconds) on the same engine
and processor: nothing is random, and no clock decides.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from domain.analysis import Analysis, StageFailure
from domain.cells import Cell
from domain.image import (
    Domain,
    Field,
    ImageHeader,
    ImageReading,
    ScaleFrom,
    UnreadablePixels,
    Verdict,
    Viability,
)
from inference.bundle import Bundle
from inference.engine import engine_name, processor_name, steady
from inference.errors import UnfitField
from inference.image_run import ImageRun
from inference.recorder import Recorder
from inference.scale import spacing_problem

__all__ = ["FieldSource", "Options", "analyse"]

SINGLE_CELLS_AT_ONCE = 32

Progress = Callable[[str, int, int], None]


class FieldSource(Protocol):
    """One image: what is known of it, and its fields one after the other."""

    @property
    def header(self) -> ImageHeader: ...

    def fields(self) -> Iterator[Field]:
        """May raise domain.image.UnreadablePixels, at once or between fields."""
        ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is asked for.

    An image of many fields is read until `leukocytes_wanted` are counted in the whole analysis,
    unless `stop_when_enough` is False; each image has at least one field read. `software` goes
    into the analysis, e.g. "leukonode 0.1.0".
    """

    software: str
    leukocytes_wanted: int = 200
    stop_when_enough: bool = True


def analyse(
    sources: Sequence[FieldSource],
    *,
    bundle: Bundle,
    options: Options,
    progress: Progress | None = None,
) -> Analysis:
    """Read the images; `progress(what, done, of)` is called after each field."""
    recorder = Recorder(bundle.info, engine=engine_name())
    images: list[ImageReading] = []
    cells: list[Cell] = []
    unread: list[StageFailure] = []
    with steady(threads=bundle.threads):
        for index, source in enumerate(sources):
            told = _telling(progress, f"image {index + 1} of {len(sources)}")
            reading, found, problem = _read_image(
                source,
                index=index,
                bundle=bundle,
                recorder=recorder,
                enough=_enough(cells, options),
                progress=told,
            )
            images.append(reading)
            cells += found
            if problem:
                unread.append(StageFailure(stage=None, reason=f"image {index + 1}: {problem}"))
        processor = processor_name()
    return Analysis(
        bundle=bundle.info,
        images=tuple(images),
        cells=tuple(replace(cell, number=n) for n, cell in enumerate(cells, start=1)),
        stages=recorder.records,
        engine=engine_name(),
        processor=processor,
        software=options.software,
        leukocytes_wanted=options.leukocytes_wanted,
        failures=(*recorder.failures, *unread),
    )


def _read_image(
    source: FieldSource,
    *,
    index: int,
    bundle: Bundle,
    recorder: Recorder,
    enough: Callable[[Sequence[Cell]], bool],
    progress: Callable[[int, int], None],
) -> tuple[ImageReading, tuple[Cell, ...], str]:
    """The image, its cells, and what of it should have been read and could not be, or nothing."""
    header = source.header
    reason = _refusal(header, bundle)
    if reason:
        return _not_evaluable(header, reason), (), ""
    run = ImageRun(header, index=index, bundle=bundle, recorder=recorder)
    left, problem = 0, ""
    try:
        for lot in _lots(source.fields()):
            run.read(lot)
            progress(run.fields_seen, run.fields_seen + run.fields_left)
            if run.stopped:
                break
            if enough(run.cells):
                # an estimate on a slide; no field is decoded to see whether there is one
                left = run.fields_left
                break
    except (UnreadablePixels, UnfitField) as error:
        if run.fields_read:
            run.cut_short(str(error))
            problem = f"it could not be read to its end ({error})"
        elif isinstance(error, UnfitField):  # whole, and not for this bundle
            return _not_evaluable(header, str(error)), (), ""
        else:
            return _not_evaluable(header, str(error)), (), f"it could not be decoded ({error})"
    return run.reading(fields_left=left), tuple(run.cells), problem


def _refusal(header: ImageHeader, bundle: Bundle) -> str:
    """Why no network may see the image; empty when they may."""
    if header.refusal:
        return header.refusal
    if header.domain not in bundle.info.domains:
        covered = ", ".join(bundle.info.domains)
        return (
            f"its domain ({header.domain}) is not covered by bundle '{bundle.info.id}' ({covered})"
        )
    if header.monochrome and header.domain is Domain.SMEAR:
        return "it is monochrome, and a stained smear is read in colour"
    return spacing_problem(header.um_per_px)


def _not_evaluable(header: ImageHeader, reason: str) -> ImageReading:
    """An image that was refused before stage 1, or whose pixels could not all be had."""
    return ImageReading(
        header=header,
        viability=Viability(p=None, verdict=Verdict.NOT_ASSESSED),
        um_per_px=None,
        scale_from=ScaleFrom.UNKNOWN,
        fields_read=0,
        fields_refused=0,
        not_evaluable=reason,
    )


def _lots(fields: Iterable[Field]) -> Iterator[list[Field]]:
    """Fields one by one; single-cell fields several at once, so that they share batches."""
    lot: list[Field] = []
    try:
        for field in fields:
            if lot and not field.single_cell:
                yield lot
                lot = []
            lot.append(field)
            if len(lot) == (SINGLE_CELLS_AT_ONCE if field.single_cell else 1):
                yield lot
                lot = []
    except UnreadablePixels:
        if lot:  # decoded before the one that could not be
            yield lot
        raise
    if lot:
        yield lot


def _enough(before: Sequence[Cell], options: Options) -> Callable[[Sequence[Cell]], bool]:
    counted = sum(c.is_leukocyte for c in before)

    def enough(cells: Sequence[Cell]) -> bool:
        return options.stop_when_enough and (
            counted + sum(c.is_leukocyte for c in cells) >= options.leukocytes_wanted
        )

    return enough


def _telling(progress: Progress | None, what: str) -> Callable[[int, int], None]:
    def tell(done: int, of: int) -> None:
        if progress is not None:
            progress(what, done, of)

    return tell
