"""What a manifest may say, and that everything wrong in it is told at once and with its place."""

import copy
import json
import subprocess
import sys

import pytest

from domain.cells import CellClass, Malignancy, Stage, Subtype, ViabilityClass, WbcClass
from inference.bundle import read_bundle_info
from inference.errors import BundleError, ManifestError
from inference.manifest import parse_manifest

TEN = [str(c) for c in WbcClass][:10]


GATE = {
    "centre": [0.0] * 12,
    "spread": [[float(i == j) for j in range(12)] for i in range(12)],
    "flag_above": 2.0,
    "refuse_above": 3.0,
}
COMMISSIONED = {"site": "Haematology, Example", "date": "2026-11-24", "parent": "a" * 64}


def document():
    def entry(number, architecture, classes, **more):
        return {
            "architecture": architecture,
            "file": f"{number}.safetensors",
            "sha256": f"{number}" * 64,
            "storage": "float32",
            "classes": [str(c) for c in classes],
            "input_px": 224,
            "mean": [0.5, 0.5, 0.5],
            "deviation": [0.2, 0.2, 0.2],
            "interpolation": "area",
            **more,
        }

    def naming(number, architecture, classes):
        rejects = {str(c): 0.5 for c in classes}
        more = {"field_um": 22.4, "temperature": 1.5, "reject_below": rejects}
        return entry(number, architecture, classes, **more)

    return {
        "format": "1.0",
        "id": "example",
        "version": "3",
        "untrained": False,
        "licence": "CC-BY-4.0",
        "domains": ["smear"],
        "um_per_px": 0.1,
        "um_per_px_range": [0.05, 0.3],
        "red_cells": {"min_confidence": 0.5, "min_cells": 20, "trial_um_per_px": [0.1, 0.2]},
        "stages": {
            "viability": entry(
                1, "plain-cnn", ViabilityClass, input_px=128, temperature=1.0, threshold=0.5
            ),
            "detection": entry(
                2,
                "yolov5s",
                ["red_blood_cell", "white_blood_cell", "platelet"],
                input_px=640,
                um_per_px=0.2,
                confidence=0.25,
                iou=0.5,
                max_per_tile=300,
                overlap_px=128,
                size_um=[1, 40],
            ),
            "cell_class": entry(3, "resnet34-unet", CellClass, field_um=22.4, temperature=1.0),
            "wbc_class": naming(4, "vit-base-patch16-224", TEN),
            "malignancy": naming(5, "resnet101", Malignancy),
            "subtype": naming(6, "densenet121", Subtype),
        },
        "reject_rate": 0.1,
        "confusion": [[90, 10], [5, 95]],
        "training_data": [{"name": "set", "sha256": "ab", "images": 3}],
        "metrics": {"wbc_class": {"accuracy": 0.95}},
    }


def parse(changed):
    return parse_manifest(json.dumps(changed).encode(), name="example")


def changed(path, value):
    made = copy.deepcopy(document())
    place = made
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return made


def test_inference_manifest_reads_what_the_docs_describe():
    manifest = parse(document())
    assert manifest.um_per_px == 0.1
    assert manifest.stages.of(Stage.WBC_CLASS).classes == tuple(TEN)
    thresholds = dict(manifest.stages.wbc_class.thresholds)
    assert thresholds["temperature"] == 1.5
    assert thresholds["reject_below.blast_cells"] == 0.5
    assert manifest.confusion == ((90, 10), (5, 95))
    assert manifest.metrics["wbc_class"] == {"accuracy": 0.95}


@pytest.mark.parametrize("further", [["eosinophil"], ["basophil"], ["eosinophil", "basophil"]])
def test_inference_manifest_further_classes_come_after_the_ten(further):
    made = document()
    entry = made["stages"]["wbc_class"]
    entry["classes"] = TEN + further
    entry["reject_below"] = dict.fromkeys(entry["classes"], 0.5)
    assert parse(made).stages.wbc_class.classes == (*TEN, *further)
    entry["classes"] = further + TEN
    with pytest.raises(ManifestError, match="stage 4, classes: wanted in this order"):
        parse(made)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["stages", "malignancy", "classes"], ["malignant", "benign"], "stage 5, classes: wanted"),
        (["stages", "detection", "classes"], [*CellClass], "stage 2, classes: wanted"),
        (["stages", "subtype", "architecture"], "resnet50", "stage 6, architecture"),
        (["stages", "cell_class", "input_px"], 256, "stage 3, input_px"),
        (["stages", "wbc_class", "mean", 1], 1.5, r"stage 4, mean\[1\]"),
        (["stages", "wbc_class", "deviation", 0], 0, r"stage 4, deviation\[0\]"),
        (["stages", "wbc_class", "sha256"], "AB", "stage 4, sha256"),
        (["stages", "wbc_class", "storage"], "int4", "stage 4, storage: Input should be 'float32'"),
        (["stages", "wbc_class", "file"], "../x.safetensors", "stage 4, file"),
        (["stages", "wbc_class", "file"], "x.pt", "stage 4, file"),
        (["stages", "wbc_class", "file"], "1.safetensors", "two stages name the same file"),
        (
            ["stages", "wbc_class", "reject_below"],
            {"blast_cells": 0.5},
            "exactly the stage's classes",
        ),
        (["stages", "detection", "size_um"], [40, 1], "stage 2, size_um"),
        (["stages", "viability", "threshold"], "0.5", "stage 1, threshold"),
        (["stages", "viability", "surprise"], 1, "stage 1, surprise: Extra inputs"),
        (["domains"], ["unknown"], "domains"),
        (["domains"], ["tissue"], r"domains\[0\]"),
        (["domains"], [], "domains"),
        (["um_per_px"], 0, "um_per_px"),
        (["um_per_px_range"], [0.3, 0.1], "um_per_px_range"),
        (["confusion"], [[1, 2]], "confusion"),
        (["id"], "a b", "id"),
        (["format"], "2.0", "format 2.0 is unknown, this program reads 1.x"),
        (["format"], 1, "format: '1.1' wanted"),
        (["format"], "1.0.0", "format: '1.1' wanted"),
        (["untrained"], "no", "untrained"),
        (["gate"], GATE | {"centre": [0.0] * 11}, "gate.centre"),
        (["gate"], GATE | {"spread": GATE["spread"][:11]}, "gate.spread"),
        (["gate"], GATE | {"spread": [[1.0] * 12] * 12}, "gate: spread is no covariance"),
        (
            ["gate"],
            GATE | {"spread": [[1.0, 0.5, *[0.0] * 10], *GATE["spread"][1:]]},
            "gate: spread is not symmetric",
        ),
        (["gate"], GATE | {"flag_above": 3.0}, "flag_above is not below refuse_above"),
        (["commissioned"], COMMISSIONED | {"site": "a\nb"}, "commissioned.site"),
        (["commissioned"], COMMISSIONED | {"site": ""}, "commissioned.site"),
        (["commissioned"], COMMISSIONED | {"date": "24.11.2026"}, "commissioned.date"),
        (["commissioned"], COMMISSIONED | {"parent": "a"}, "commissioned.parent"),
    ],
)
def test_inference_manifest_refusals_name_the_place(path, value, said):
    with pytest.raises(ManifestError, match=said) as refused:
        parse(changed(path, value))
    assert "bundle 'example'" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_inference_manifest_tells_every_problem_at_once():
    made = changed(["um_per_px"], -1)
    made["stages"]["viability"]["temperature"] = 0
    del made["stages"]["subtype"]["mean"]
    with pytest.raises(ManifestError) as refused:
        parse(made)
    assert len(refused.value.problems) == 3
    for place in ("um_per_px", "stage 1, temperature", "stage 6, mean"):
        assert place in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no json",
        b"[]",
        b'{"format": "1.0", "format": "1.0"}',
        b'{"format": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (8 * 2**20 + 1),
    ],
)
def test_inference_manifest_that_is_no_manifest(data):
    with pytest.raises(ManifestError) as refused:
        parse_manifest(data, name="x")
    assert "\n" not in str(refused.value)


def test_inference_manifest_news_of_a_newer_minor_format_are_ignored(caplog):
    made = changed(["stages", "viability", "news"], 1)
    made["format"] = "1.7"
    assert parse(made).stages.viability.threshold == 0.5
    assert "stage 1, news is of a newer format" in caplog.text
    made["stages"]["viability"]["threshold"] = 7
    with pytest.raises(ManifestError, match="stage 1, threshold"):
        parse(made)


def test_inference_manifest_tells_where_a_bundle_was_commissioned(tmp_path):
    made = document() | {"format": "1.1", "commissioned": COMMISSIONED, "gate": GATE}
    (tmp_path / "manifest.json").write_text(json.dumps(made))
    told = read_bundle_info(tmp_path).commissioned
    assert (told.site, told.date) == ("Haematology, Example", "2026-11-24")
    assert told.parent_manifest_sha256 == "a" * 64
    assert parse(made).gate.refuse_above == 3


def test_inference_manifest_becomes_the_words_of_all_rooms(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(document()))
    assert read_bundle_info(tmp_path).commissioned is None
    info = read_bundle_info(tmp_path)
    assert info.id == "example"
    assert info.model(Stage.MALIGNANCY).classes == ("benign", "malignant")
    assert info.reject_rate == 0.1
    with pytest.raises(BundleError, match=r"stage 1: 1\.safetensors cannot be read") as refused:
        read_bundle_info(tmp_path, verify_hashes=True)
    assert len(refused.value.problems) == 6
    (tmp_path / "1.safetensors").write_bytes(b"altered")
    with pytest.raises(BundleError, match="stage 1: manifest wants sha256 11111111… of"):
        read_bundle_info(tmp_path, verify_hashes=True)


def test_inference_manifest_of_a_missing_folder(tmp_path):
    with pytest.raises(ManifestError, match="init-untrained"):
        read_bundle_info(tmp_path / "none")


def test_inference_manifest_is_read_without_torch():
    code = (
        "import sys, inference.bundle, inference.manifest, inference.errors;"
        "print(sorted({'torch', 'ultralytics', 'transformers', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
