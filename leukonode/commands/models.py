"""`leukonode models`: bundles of networks."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.analysis import BundleInfo
from leukonode.console import print_json, print_table, progress_bar, say, say_error
from leukonode.errors import CouldNotError

__all__ = ["app"]

app = typer.Typer(help="Bundles of networks.")


@app.command(name="list")
def list_bundles(
    *, json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False
) -> None:
    """The bundles of this installation, the one in use marked."""
    from inference.bundle import read_bundle_info
    from leukonode.bundles import MANIFEST, bundle_folder, starter_bundle
    from leukonode.commands.service import effective_settings

    settings = effective_settings().settings
    used = bundle_folder(settings)
    made = (settings.data_dir / "bundles").glob(f"*/{MANIFEST}")
    folders = dict.fromkeys(
        p for p in (used, starter_bundle(), *(m.parent for m in made)) if p is not None
    )
    rows = []
    for folder in folders:
        if (folder / MANIFEST).is_file():
            info = read_bundle_info(folder)
            rows.append(
                {
                    "used": folder == used,
                    "id": info.id,
                    "version": info.version,
                    "untrained": info.untrained,
                    "folder": str(folder),
                }
            )
    if json:
        print_json(rows)
    elif not rows:
        say("no bundle yet; an untrained one is made at the first use")
    else:
        print_table(
            ("", "id", "version", "", "folder"),
            [
                [
                    "*" if r["used"] else "",
                    r["id"],
                    r["version"],
                    "UNTRAINED" if r["untrained"] else "",
                    r["folder"],
                ]
                for r in rows
            ],
        )


@app.command()
def show(
    bundle: Annotated[Path | None, typer.Argument(help="Its folder; else the one in use.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """One bundle: its networks with hash, classes and thresholds."""
    from inference.bundle import read_bundle_info

    info = read_bundle_info(_folder(bundle))
    if json:
        print_json(_as_json(info))
        return
    mark = "  UNTRAINED MODELS" if info.untrained else ""
    say(f"{info.id} {info.version}{mark}")
    say(f"manifest {info.manifest_sha256}")
    if info.commissioned:
        say(f"commissioned at {info.commissioned.site}, {info.commissioned.date}")
    say(f"domains {', '.join(info.domains)}; {info.um_per_px:g} micrometres per pixel")
    print_table(
        ("stage", "architecture", "sha256", "thresholds", "classes"),
        [
            [
                m.stage.value,
                m.architecture,
                m.sha256[:12],
                ", ".join(f"{name} {value:g}" for name, value in m.thresholds),
                ", ".join(m.classes),
            ]
            for m in info.models
        ],
    )


@app.command()
def verify(
    bundle: Annotated[Path | None, typer.Argument(help="Its folder; else the one in use.")] = None,
) -> None:
    """Read a bundle as strictly as the service does: hashes, names, shapes, class lists."""
    from inference.bundle import load_bundle

    folder = _folder(bundle)
    info = load_bundle(folder).info
    say(f"{info.id} {info.version}: {len(info.models)} networks as the manifest says")


@app.command()
def init_untrained(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    *,
    seed: Annotated[int, typer.Option(help="Of the weights.")] = 20240901,
) -> None:
    """Make a bundle with fixed-seed weights, to try the service with. It knows nothing."""
    from inference.untrained import init_untrained as make

    with progress_bar() as progress:
        info = make(folder, seed=seed, progress=progress)
    say(f"{folder}: {info.id}, UNTRAINED MODELS")


@app.command()
def commission(
    *,
    images: Annotated[Path, typer.Option(help="Folder of the laboratory's own good fields.")],
    out: Annotated[Path, typer.Option(help="Folder of the derived bundle; it must be new.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Folder CLASS/* of single cells, or a CSV of boxes on the fields."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="The parent's folder; else the one in use.")
    ] = None,
    site: Annotated[str, typer.Option(help="The laboratory's name, for id and card.")] = "site",
    um_per_px: Annotated[
        float | None, typer.Option(min=0.01, max=50, help="Of pictures that do not tell.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Fit a bundle to one laboratory: from its fields, and up to about 100 labelled cells.

    Only what is better on cells that it was not fitted on is taken; the rest stays the parent's."""
    from datetime import UTC, datetime

    from training.commissioning.bundle import recorded, table_of, verdicts_of
    from training.commissioning.commission import commission as run
    from training.errors import TrainingError

    try:
        with progress_bar() as progress:
            done = run(
                _folder(bundle),
                images=images,
                labels=labels,
                out=out,
                site=site,
                um_per_px=um_per_px,
                now=datetime.now(UTC),
                threads=threads,
                progress=progress,
            )
    except TrainingError as error:
        raise CouldNotError(str(error)) from error
    columns, rows = table_of(done.outcomes)
    for line in done.left_out:
        say_error(f"left out: {line}")
    if json:
        stages = [recorded(o) for o in done.outcomes]
        print_json({**_as_json(done.info), "commissioning": stages, "notes": list(done.notes)})
        return
    print_table(columns, rows)
    for line in (*verdicts_of(done.outcomes), *done.notes):
        say(line)
    changed = [o.name for o in done.outcomes if o.changed]
    better = f"better in {', '.join(changed)}" if changed else "nothing is better than the parent"
    mark = ", UNTRAINED MODELS" if done.info.untrained else ""
    say(f"{out}: {done.info.id} {done.info.version}, {better}{mark}")


def _folder(bundle: Path | None) -> Path:
    from leukonode.bundles import MANIFEST, bundle_folder
    from leukonode.commands.service import effective_settings

    folder = bundle or bundle_folder(effective_settings().settings)
    if not (folder / MANIFEST).is_file():
        raise CouldNotError(
            f"{folder} holds no bundle; `leukonode models init-untrained {folder}` makes one to "
            "try the service with"
        )
    return folder


def _as_json(info: BundleInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "version": info.version,
        "untrained": info.untrained,
        "manifest_sha256": info.manifest_sha256,
        "commissioned": asdict(info.commissioned) if info.commissioned else None,
        "domains": list(info.domains),
        "um_per_px": info.um_per_px,
        "models": [
            {
                "stage": m.stage.value,
                "architecture": m.architecture,
                "sha256": m.sha256,
                "classes": list(m.classes),
                "thresholds": dict(m.thresholds),
            }
            for m in info.models
        ],
    }
