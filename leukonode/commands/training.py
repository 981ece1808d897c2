"""`leukonode train` and `leukonode evaluate`: networks from labelled pictures, and what they are worth."""

from pathlib import Path
from typing import Annotated, Any

import typer

from domain.cells import Stage
from leukonode.console import print_json, progress_bar, say
from leukonode.errors import CouldNotError, UsageError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(train)
    app.command()(evaluate)


def train(
    stage: Annotated[str, typer.Argument(help="1 to 6, or its name.")],
    *,
    data: Annotated[Path, typer.Option(help="Folder of labelled pictures.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an old run is gone on with.")],
    start: Annotated[
        Path | None, typer.Option(help="Pretrained weights (stages 2, 4; of 5, 6 the teacher).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each phase.")] = None,
    items: Annotated[int | None, typer.Option(min=1, help="Pictures an epoch.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pictures a step.")] = None,
    um_per_px: Annotated[
        float | None, typer.Option(min=0.01, max=50, help="Of pictures that do not tell.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A laboratory to judge on only; may be repeated.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long; the same call goes on.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the curves as JSON.")] = False,
) -> int:
    """Train one stage. Stopped in whatever way, the same call goes on where it was."""
    import time

    import torch

    from training.errors import TrainingError
    from training.recipes import RECIPES, shortened
    from training.train import train as run

    wanted = _stage(stage)
    recipe = RECIPES[wanted]
    if epochs or items or batch:
        recipe = shortened(recipe, epochs=epochs, items=items, batch=batch)
    if threads:
        torch.set_num_threads(threads)
    ends = None if minutes is None else time.monotonic() + minutes * 60
    try:
        with progress_bar() as progress:
            trained = run(
                wanted,
                data=data,
                out=out,
                recipe=recipe,
                um_per_px=um_per_px,
                leave_out=leave_out or (),
                start=start,
                progress=progress,
                may_go_on=lambda: ends is None or time.monotonic() < ends,
            )
    except TrainingError as error:
        raise CouldNotError(str(error)) from error
    if json:
        print_json({"best": str(trained.best), "score": trained.score, "curves": trained.curves})
    elif trained.epochs:
        of = recipe.epochs
        say(f"{trained.epochs} of {of} epochs, best score {trained.score:.4f}, {trained.best}")
    else:
        say(f"stopped before the first epoch ended; the same call goes on in {out}")
    return 0


def evaluate(
    stage: Annotated[str, typer.Argument(help="1 to 6, its name, 'cascade', or 'all'.")],
    *,
    data: Annotated[Path, typer.Option(help="Folder of labelled pictures.")],
    bundle: Annotated[Path, typer.Option(help="Bundle to judge.")],
    out: Annotated[Path, typer.Option(help="Folder for tables, plots and the page.")],
    um_per_px: Annotated[
        float | None, typer.Option(min=0.01, max=50, help="Of pictures that do not tell.")
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="A laboratory whose pictures all count as val; may be repeated."),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(min=1, help="Pictures, cells and fields of each laboratory and class."),
    ] = None,
    quick: Annotated[bool, typer.Option(help="A small sample, for a first look.")] = False,
    allow_overlap: Annotated[
        bool, typer.Option(help="Judge also pictures that were trained on.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Batches read at once; changes no number.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> int:
    """Judge a bundle: the side `val` of the pictures, shortcut baselines and tests beside; `cascade`
    judges the six networks as one on whole fields, `all` everything."""
    from inference.bundle import load_bundle
    from training.errors import TrainingError
    from training.evaluation.cascade_evaluation import evaluate_cascade
    from training.evaluation.evaluate import evaluate as judge
    from training.evaluation.judged import Sizes
    from training.evaluation.pages import as_json, as_text, write_pages

    if quick and most is not None:
        raise UsageError("--quick and --most both say how much to judge; give one of them")
    sizes = Sizes.quick() if quick else Sizes() if most is None else Sizes.most(most)
    stages = list(Stage) if stage == "all" else [] if stage == "cascade" else [_stage(stage)]
    if stage == "cascade" and leave_out:
        raise UsageError(
            "--leave-out is of single stages; the cascade is judged on every laboratory"
        )
    judged: list[Any] = []
    try:
        loaded = load_bundle(bundle, threads=1)
        for one in stages:
            with progress_bar() as progress:
                judged.append(
                    judge(
                        one,
                        data=data,
                        bundle=loaded,
                        sizes=sizes,
                        um_per_px=um_per_px,
                        leave_out=leave_out or (),
                        allow_overlap=allow_overlap,
                        threads=threads,
                        progress=progress,
                    )
                )
            write_pages(judged, out)  # what is done is kept if a later stage is stopped
        if stage in ("all", "cascade"):
            with progress_bar() as progress:
                judged.append(
                    evaluate_cascade(
                        data=data,
                        bundle=loaded,
                        sizes=sizes,
                        um_per_px=um_per_px,
                        allow_overlap=allow_overlap,
                        threads=threads,
                        progress=progress,
                    )
                )
            write_pages(judged, out)
    except TrainingError as error:
        raise CouldNotError(str(error)) from error
    if json:
        print_json([as_json(one) for one in judged])
    else:
        for one in judged:
            for line in as_text(one).splitlines():
                say(line)
        say(f"{out}/index.html")
    return 0


def _stage(text: str) -> Stage:
    for stage in Stage:
        if text in (str(stage.number), stage.value, stage.value.replace("_", "-")):
            return stage
    names = ", ".join(f"{s.number} {s.value}" for s in Stage)
    raise UsageError(f"no stage is called '{text}'; they are {names}")
