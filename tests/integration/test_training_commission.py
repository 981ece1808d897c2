"""A bundle commissioned on drawings: the whole command, twice, and what it refuses."""

import hashlib
import json
import os
import sys
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from domain.cells import Cell, CellClass, Stage, Subtype, WbcClass
from domain.image import Box
from inference.bundle import Bundle, bundle_info_of
from inference.engine import steady
from inference.manifest import read_manifest
from inference.networks.build import network_of
from inference.storage import packed, unpacked
from leukonode.__main__ import _run
from phantom.single import draw_cell
from phantom.smear import draw
from phantom.spec import normal_smear
from training.commissioning import cell_class, naming
from training.commissioning.cell_class import KindCrop, norms_outcome
from training.commissioning.commission import commission
from training.commissioning.fields import ReadField
from training.commissioning.naming import naming_outcome
from training.commissioning.site import LabelledCell, site_fields

pytestmark = pytest.mark.slow

CELLS = {WbcClass.RED_BLOOD_CELL: 6, WbcClass.BLAST_CELLS: 6}


@pytest.fixture(scope="module")
def parent(untrained_bundle, tmp_path_factory):
    """The untrained bundle with stage 4 in 8 bits, which looks at two cells of a field."""
    folder = tmp_path_factory.mktemp("parent") / "quick"
    folder.mkdir()
    for file in untrained_bundle.iterdir():
        os.link(file, folder / file.name)
    document = json.loads((folder / "manifest.json").read_text())
    document["id"] = "quick"
    document["stages"]["detection"]["max_per_tile"] = 2
    entry = document["stages"]["wbc_class"]
    tensors = packed(load_file(folder / entry["file"]))
    (folder / entry["file"]).unlink()
    save_file(tensors, folder / entry["file"])
    entry |= {"storage": "int8", "sha256": digests(folder)[entry["file"]]}
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Five drawn fields, one file that is none, and twelve drawn cells of two kinds."""
    root = tmp_path_factory.mktemp("site")
    (root / "fields").mkdir()
    for i in range(5):
        spec = normal_smear(i, width_px=160, height_px=140, um_per_px=0.2)
        cv2.imwrite(str(root / "fields" / f"{i}.png"), draw(spec).pixels[:, :, ::-1])
    (root / "fields" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    for kind, count in CELLS.items():
        (root / "cells" / kind).mkdir(parents=True)
        for i in range(count):
            pixels = draw_cell(kind, seed=i, size_px=112, um_per_px=0.2)
            cv2.imwrite(str(root / "cells" / kind / f"{i}.png"), pixels[:, :, ::-1])
    return root


@pytest.fixture(scope="module")
def commissioned(parent, site, tmp_path_factory):
    out = tmp_path_factory.mktemp("derived") / "bundle"
    now = datetime.now(UTC)
    done = commission(
        parent,
        images=site / "fields",
        labels=site / "cells",
        out=out,
        site="ward-3",
        um_per_px=0.2,
        now=now,
        threads=1,
    )
    return out, done, now


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def command(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["leukonode", "models", "commission", *map(str, words)])
    status = _run()
    told = capsys.readouterr()
    return status, told.out, told.err


def test_commission_derives_a_bundle_and_says_what_it_is_worth(commissioned, parent):
    out, done, now = commissioned
    manifest, digest = read_manifest(out)
    _, parents = read_manifest(parent)
    assert done.info.manifest_sha256 == digest != parents
    assert (manifest.id, manifest.untrained) == ("quick-ward-3", True)
    assert manifest.version == f"1+{now:%Y%m%d}"
    document = json.loads((out / "manifest.json").read_text())
    date = now.date().isoformat()
    assert document["commissioned"] == {"site": "ward-3", "date": date, "parent": parents}
    assert [p.split(":")[0] for p in done.left_out] == ["broken.png"]
    used = next(one for one in document["training_data"] if one["set"] == "ward-3")
    assert (used["stage"], len(used["pictures"])) == ("wbc_class", 12)
    assert len(document["metrics"]["commissioning"]["fields"]) == 5
    card = (out / "MODEL_CARD.md").read_text()
    assert "## Commissioning: ward-3" in card
    assert card.endswith((parent / "MODEL_CARD.md").read_text())


def test_commission_rewrites_what_is_better_and_copies_the_rest(commissioned, parent):
    """Features of an untrained transformer already tell a red cell from a blast."""
    out, done, _ = commissioned
    stage = next(o for o in done.outcomes if o.stage is Stage.WBC_CLASS)
    assert stage.rewritten
    before, after = ({s.name: s for s in side} for side in (stage.before, stage.after))
    assert after["mean recall"].low > before["mean recall"].value
    assert after["accuracy"].of == 12
    changed = {n for n, d in digests(out).items() if d != digests(parent)[n]}
    file = read_manifest(out)[0].stages.wbc_class.file
    assert changed == {"manifest.json", "MODEL_CARD.md", file}
    a, b = (load_file(folder / file) for folder in (parent, out))
    differ = {n for n in a if not torch.equal(a[n], b[n])}
    assert differ == {"classifier.weight.int8", "classifier.weight.scale", "classifier.bias"}
    before, after = (unpacked(t)["classifier.weight"] for t in (a, b))
    rows = (before != after).any(dim=1)
    names = read_manifest(out)[0].stages.wbc_class.classes
    assert {n for n, moved in zip(names, rows, strict=True) if moved} == set(CELLS)
    old, new = (read_manifest(f)[0].stages.wbc_class for f in (parent, out))
    for n in set(names) - set(CELLS):  # the same place of the logits under the new temperature
        odds = (old.reject_below[n] / (1 - old.reject_below[n])) ** (
            old.temperature / new.temperature
        )
        assert new.reject_below[n] == pytest.approx(odds / (1 + odds), abs=1e-4)
    assert any("had no labelled cells of" in note for note in done.notes)


def test_commission_command_gives_the_same_bytes_and_a_table(
    commissioned, parent, site, tmp_path, monkeypatch, capsys
):
    status, out, err = command(
        monkeypatch,
        capsys,
        *("--images", site / "fields", "--labels", site / "cells", "--bundle", parent),
        *("--out", tmp_path / "again", "--site", "ward-3", "--um-per-px", 0.2, "--threads", 1),
    )
    assert status == 0, err
    assert digests(tmp_path / "again") == digests(commissioned[0])
    assert err.startswith("leukonode: left out: broken.png: ")
    lines = out.splitlines()
    assert lines[0].split("\t") == ["stage", "figure", "parent", "commissioned", "of"]
    assert any(line.startswith("4 wbc_class\taccuracy\t") for line in lines)
    assert any(line.startswith("6 subtype: parent's kept; not judged") for line in lines)
    assert lines[-1].endswith("better in 4 wbc_class, UNTRAINED MODELS")
    assert [p.name for p in tmp_path.iterdir()] == ["again"]


def test_commission_refuses_in_one_line_and_writes_nothing(
    commissioned, parent, site, tmp_path, monkeypatch, capsys
):
    few = tmp_path / "few"
    few.mkdir()
    os.link(site / "fields" / "0.png", few / "0.png")
    empty = tmp_path / "empty"
    (empty / "monocytes").mkdir(parents=True)
    strange = tmp_path / "strange"
    (strange / "tea").mkdir(parents=True)
    broken = tmp_path / "bundle"
    broken.mkdir()
    for file in parent.iterdir():
        os.link(file, broken / file.name)
    weights = broken / read_manifest(parent)[0].stages.subtype.file
    weights.unlink()
    weights.write_bytes(b"none")
    out = tmp_path / "out"
    good = {"--images": site / "fields", "--bundle": parent, "--out": out}
    cases = [
        ({"--images": few}, "holds 1 fields that can be used, and at least 5 are needed"),
        ({"--images": tmp_path / "nowhere"}, "is no folder"),
        ({"--labels": empty}, "holds no picture; fill it or remove it"),
        ({"--labels": strange}, "names no class of this bundle ('tea')"),
        ({"--out": commissioned[0]}, "exists and is not empty"),
        ({"--site": "ward 3"}, "the site's name 'ward 3'"),
        ({"--bundle": tmp_path / "nowhere"}, "holds no bundle"),
        ({"--bundle": broken}, "stage 6"),
        (
            {"--bundle": commissioned[0], "--labels": site / "cells"},
            "was trained on 12 of the labelled pictures",
        ),
    ]
    before = sorted(tmp_path.iterdir())
    for changed, said in cases:
        words = [w for pair in (good | changed).items() for w in pair]
        status, printed, err = command(monkeypatch, capsys, *words)
        assert status == 1, changed
        assert said in err
        assert (printed, err.count("\n")) == ("", 1)
    assert sorted(tmp_path.iterdir()) == before


def read_field(site_field, boxes):
    cells = tuple(
        Cell(
            number=n,
            image=0,
            frame=1,
            box_px=box,
            detection_p=0.9,
            cell_class=CellClass.WHITE_BLOOD_CELL,
            cell_class_p=(0.0, 0.0, 1.0),
            subtype="pro_b",
            subtype_p=tuple(np.eye(3)[n % 3].tolist()),
            final_class="blast_cells",
        )
        for n, box in enumerate(boxes, start=1)
    )
    return ReadField(
        site=site_field,
        um_per_px=(0.2, 0.2),
        scale_known=True,
        out_of_range=False,
        ground=np.full(3, 230, np.float32),
        viable_p=1.0,
        cells=cells,
    )


def test_commission_measures_batch_norms_on_cells_without_labels(parent, site, monkeypatch):
    """Stages 3 and 6 on fields of another stain; what is kept in the end was judged elsewhere."""
    monkeypatch.setattr(naming, "SHARES", (0.5,))
    monkeypatch.setattr(cell_class, "SHARES", (0.5,))
    monkeypatch.setattr(naming, "LEAST_MEASURED", 8)
    manifest, digest = read_manifest(parent)
    torch.manual_seed(1)
    networks = {
        stage: network_of(stage, manifest.stages.of(stage))
        .eval()
        .requires_grad_(requires_grad=False)
        for stage in (Stage.CELL_CLASS, Stage.SUBTYPE)
    }
    bundle = Bundle(info=bundle_info_of(manifest, digest), manifest=manifest, networks=networks)
    fields, _ = site_fields(site / "fields", um_per_px=0.2, tell=lambda *_: None)
    boxes = [Box(x, 30, x + 40, 70) for x in (10, 60, 110)]
    read = [read_field(f, boxes) for f in fields]
    labelled = [
        drawn_cell(subtype, i) for subtype in (Subtype.PRE_B, Subtype.PRO_B) for i in range(5)
    ]
    tried = []
    real = naming.judged
    monkeypatch.setattr(naming, "judged", lambda cells: tried.append(cells) or real(cells))
    with steady(threads=1):
        outcome = naming_outcome(Stage.SUBTYPE, bundle, labelled, read, tell=lambda *_: None)
        (cells,) = tried
        assert list(cells.features) == [0.0, 0.5]
        assert not np.allclose(cells.features[0.0], cells.features[0.5])
        assert len(outcome.before) == len(outcome.after) == 6
        crops = [
            KindCrop(
                pixels=np.random.default_rng(i).integers(0, 256, (224, 224, 3), dtype=np.uint8),
                box=Box(60, 60, 160, 160),
                kind=i % 2 * 2,
                picture=str(i),
            )
            for i in range(12)
        ]
        third = norms_outcome(crops[:6], crops[6:], bundle, tell=lambda *_: None)
    assert "judged by stage 2's word on 6 cells" in third.why
    assert third.rewritten == bool(third.changed)


def drawn_cell(subtype, seed):
    pixels = draw_cell(WbcClass.BLAST_CELLS, seed=seed, subtype=subtype, size_px=96, um_per_px=0.2)
    return LabelledCell(
        stage=Stage.SUBTYPE,
        label=subtype,
        picture=f"{subtype}/{seed}",
        digest=f"{subtype}{seed}",
        pixels=pixels,
        box=Box(0, 0, 96, 96),
        um_per_px=(0.2, 0.2),
        ground=np.full(3, 230, np.float32),
    )
