"""Judged as files: JSON, the thesis's tables as text, plots as PNG, one page in HTML.

In      Judged of one or more stages, and what the whole cascade gave; a folder
Out     `<stage>.json`, `<stage>.txt`, `<stage>-<plot>.png`, the same of `cascade`, and `index.html` with all
        of it and the failures drawn in; the page needs no other file
"""

import base64
import html
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from training.evaluation.cascade_judged import CascadeJudged
from training.evaluation.cascade_pages import cascade_plots, cascade_text
from training.evaluation.judged import Failure, Judged
from training.evaluation.plain import plain
from training.evaluation.stage_pages import stage_plots, stage_text

__all__ = ["as_json", "as_text", "write_pages"]

STYLE = """body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}
pre{background:#f6f6f6;padding:1em;overflow-x:auto;font-size:13px}img{max-width:100%}
figure{display:inline-block;margin:.3em;width:8em;font-size:11px;vertical-align:top;overflow-wrap:anywhere}
figure img{width:8em}"""
One = Judged | CascadeJudged


def write_pages(judged: Sequence[One], folder: Path) -> list[Path]:
    """Write all files; those of the same name are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Evaluation</title>"
        f"<style>{STYLE}</style><h1>Evaluation</h1>"
        "<p>Research use only. No figure here is evidence for clinical use.</p>"
    ]
    for one in judged:
        name, plots, text = _name(one), _plots(one), as_text(one)
        files: dict[str, bytes] = {
            f"{name}.json": (json.dumps(as_json(one), indent=1) + "\n").encode(),
            f"{name}.txt": text.encode(),
            **{f"{name}-{what}.png": png for what, png in plots.items()},
        }
        for file, data in files.items():
            (folder / file).write_bytes(data)
            written.append(folder / file)
        parts.append(f"<h2>{html.escape(_title(one))}</h2>")
        parts += [f"<p><img alt='{what}' src='{_inline(png)}'></p>" for what, png in plots.items()]
        parts.append(f"<pre>{html.escape(text)}</pre>")
        parts += [_figure(f) for f in (one.failures if isinstance(one, Judged) else ())]
    page = "\n".join([*parts, "</html>", ""])
    (folder / "index.html").write_text(page, encoding="utf-8")
    return [*written, folder / "index.html"]


def as_json(judged: One) -> dict[str, object]:
    """Without the failures' pixels; what is not known is null."""
    document: dict[str, object] = plain(judged)
    return document


def as_text(judged: One) -> str:
    """The tables."""
    return stage_text(judged) if isinstance(judged, Judged) else cascade_text(judged)


def _plots(judged: One) -> dict[str, bytes]:
    return stage_plots(judged) if isinstance(judged, Judged) else cascade_plots(judged)


def _name(judged: One) -> str:
    if isinstance(judged, Judged):
        return f"{judged.stage.number}-{judged.stage.value.replace('_', '-')}"
    return "cascade"


def _title(judged: One) -> str:
    if isinstance(judged, Judged):
        return f"Stage {judged.stage.number}: {judged.stage.value}"
    return "The whole cascade"


def _figure(failure: Failure) -> str:
    buffer = BytesIO()
    Image.fromarray(failure.pixels).save(buffer, format="PNG")
    caption = f"{failure.truth}, told {failure.told} ({failure.p:.2f}); {failure.source}"
    return (
        f"<figure><img alt='' src='{_inline(buffer.getvalue())}'>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
