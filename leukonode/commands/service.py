"""`leukonode serve`, `demo`, `settings`, `doctor`: the service and its self-test."""

import os
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leukonode.console import print_json, print_table, progress_bar, say, say_error
from leukonode.errors import CouldNotError, SettingsError
from leukonode.settings import Effective, Settings, load_settings

__all__ = ["database_url", "effective_settings", "register"]


class Role(StrEnum):
    """What a process of the service does."""

    ALL = "all"
    NODE = "node"
    WORKER = "worker"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.command()(demo)
    app.command(name="settings")(show_settings)
    app.command()(doctor)


def effective_settings() -> Effective:
    """The settings of this call."""
    return load_settings(os.environ, folder=Path.cwd())


def database_url(settings: Settings) -> str:
    """The database to ask: configured, or embedded and running."""
    from db.embedded import url_of_running

    url = settings.database_url or url_of_running(settings.data_dir)
    if not url:
        raise CouldNotError(
            f"no database: none is configured, and none runs in {settings.data_dir}; "
            "start the service with `leukonode serve`, or set LEUKONODE_DATABASE_URL"
        )
    return url


def serve(
    *,
    role: Annotated[Role, typer.Option(help="What this process does.")] = Role.ALL,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> int:
    """Run the service until it is told to stop (SIGTERM or Ctrl-C)."""
    from leukonode.layout import refuse_strangers
    from leukonode.roles import run_node, run_worker_role
    from leukonode.supervisor import WRONG_SETTING

    refuse_strangers()
    settings = effective_settings().settings
    if role is Role.ALL:
        _serve_all(settings)
        return 0
    run = run_node if role is Role.NODE else run_worker_role
    try:
        run(settings, database_url(settings), ready=say)
    except SettingsError as error:
        say_error(str(error))
        return WRONG_SETTING if supervised else error.exit_status
    return 0


def _serve_all(settings: Settings) -> None:
    import signal

    from leukonode.bundles import bundle_folder
    from leukonode.supervisor import Supervisor

    bundle_folder(settings)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    Supervisor(settings, os.environ, say=say).run(over)


def demo(
    *,
    images: Annotated[
        Path | None, typer.Option(help="Pictures or DICOM files to use instead of phantoms.")
    ] = None,
    keep: Annotated[Path, typer.Option(help="Folder for what comes back.")] = Path(
        "leukonode-demo"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """The whole loop on this machine: smears are made into DICOM, sent to the node, read, and PDF
    and SR come back to a PACS peer."""
    from leukonode.demo import run_demo

    with progress_bar() as progress:
        summary = run_demo(
            images=images,
            keep=keep,
            settings=effective_settings().settings,
            say=_silent if json else say,
            progress=progress,
        )
    if json:
        print_json(summary)
        return
    print_table(
        ("smear", "state", "leukocytes", "blasts", "percent"),
        [
            [c["smear"], c["state"], c.get("leukocytes"), b.get("count"), _one_decimal(b)]
            for c in summary["cases"]
            for b in [c.get("blasts", {})]
        ],
    )
    for case in summary["cases"]:
        say(f"{case['smear']}")
        say(f"  PDF {case.get('pdf', 'did not come back')}")
        say(f"  SR  {case.get('sr', 'did not come back')}")
        for name in sorted(n for n in case if n.startswith("annotations")):
            say(f"  ANN {case[name]}")
    if any(c.get("untrained") for c in summary["cases"]):
        say("UNTRAINED MODELS: the numbers are meaningless, the loop is real")
    say(f"summary: {keep / 'summary.json'}")


def _one_decimal(blasts: dict[str, float | None]) -> str:
    percent = blasts.get("percent")
    return "" if percent is None else f"{percent:.1f}"


def _silent(_line: str) -> None:
    """With --json only the summary is printed."""


def show_settings(
    *, json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False
) -> None:
    """The settings in effect and where each comes from; secrets are hidden."""
    from leukonode.bundles import bundle_folder

    effective = effective_settings()
    settings = effective.settings
    values = settings.model_dump(mode="json")
    values["database_url"] = _without_secret(values["database_url"])
    values["store_url"] = f"file:{settings.store_dir}"
    values["bundle"] = str(bundle_folder(settings))
    if settings.peers is None:
        values["peers"] = "any on this machine"
    rows = [
        {"setting": name, "value": value, "from": effective.origins[name]}
        for name, value in values.items()
    ]
    if json:
        print_json(rows)
    else:
        print_table(
            ("setting", "value", "from"), [[r["setting"], r["value"], r["from"]] for r in rows]
        )


def _without_secret(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if not url:
        return "embedded, in data_dir"
    try:
        parsed = make_url(url)
        hidden = {k: "***" if "password" in k.lower() else v for k, v in parsed.query.items()}
        return parsed.set(query=hidden).render_as_string(hide_password=True)
    except ArgumentError:
        return "***"


def doctor(*, json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> int:
    """Test this machine: packages, codecs, bundle, disk, database, peers. Exit status 1 when the
    service would not work."""
    from leukonode.doctor import examine

    findings = examine(effective_settings().settings)
    rows = [[f.verdict.value, f.what, f.said] for f in findings]
    if json:
        print_json([dict(zip(("verdict", "what", "said"), row, strict=True)) for row in rows])
    else:
        print_table(("", "what", ""), rows)
    return 1 if any(f.verdict.value == "wrong" for f in findings) else 0
