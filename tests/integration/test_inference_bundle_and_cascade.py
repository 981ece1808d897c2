"""Six real networks from an untrained bundle, made once: strict loading, and the whole cascade."""

import dataclasses
import hashlib
import json
import math
import os
import pickle
import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from domain.cells import LYMPHOID, UNCLASSIFIED, CellClass, Mark, Stage
from domain.counts import AdequacyLimits, numbers_of
from domain.image import (
    Box,
    Domain,
    Field,
    ImageHeader,
    ScaleFrom,
    UnreadablePixels,
    Verdict,
)
from inference.bundle import load_bundle, read_bundle_info
from inference.cascade import Options, analyse
from inference.crops import Crops, background_of
from inference.errors import BundleExists, ManifestError, WeightsError
from inference.gate import look_of
from inference.image_run import ImageRun
from inference.stages.cell_class import cell_maps, pooled
from inference.stages.detection import detected
from inference.stages.subtype import subtype_p
from inference.storage import packed, relative_error, unpacked
from inference.untrained import init_untrained

pytestmark = pytest.mark.slow

OPTIONS = Options(software="test 1")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("bundles") / "untrained"
    made.mkdir()  # an empty folder is as good as none
    told = []
    init_untrained(made, progress=lambda *what: told.append(what))
    assert told[0] == ("viability", 0, 6)
    assert told[-1] == ("written", 6, 6)
    return made


@pytest.fixture(scope="session")
def bundle(folder):
    return load_bundle(folder, threads=1)


# --- the bundle -----------------------------------------------------------------------------------


def test_inference_untrained_bundle_says_what_it_is(folder):
    info = read_bundle_info(folder, verify_hashes=True)
    assert info.untrained
    assert [m.architecture for m in info.models] == [
        "plain-cnn",
        "yolov5n",
        "resnet34-unet",
        "vit-base-patch16-224",
        "resnet101",
        "densenet121",
    ]
    assert "Untrained" in (folder / "MODEL_CARD.md").read_text()
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".md", *[".safetensors"] * 6]
    assert [p for p in folder.parent.iterdir() if p.name != "untrained"] == []


def test_inference_untrained_bundle_is_not_written_over_anything(folder, tmp_path):
    with pytest.raises(BundleExists, match="not empty"):
        init_untrained(folder)
    with pytest.raises(ManifestError, match="stage 2, architecture"):
        init_untrained(tmp_path / "new", detector="yolov8n")
    assert list(tmp_path.iterdir()) == []


def test_inference_untrained_bundle_has_the_same_bytes_for_the_same_seed(folder, tmp_path):
    from inference import untrained
    from inference.manifest import read_manifest

    manifest, _ = read_manifest(folder)
    for stage, seed, same in (
        (Stage.SUBTYPE, untrained.SEED, True),
        (Stage.DETECTION, untrained.SEED, True),
        (Stage.DETECTION, 1, False),
    ):
        entry = manifest.stages.of(stage)
        untrained._write_weights(tmp_path / "again", stage=stage, entry=entry, seed=seed)
        digest = hashlib.sha256((tmp_path / "again").read_bytes()).hexdigest()
        assert (digest == entry.sha256) is same, stage


def test_inference_bundle_networks_have_the_method_s_shapes(bundle):
    parameters = {s: sum(p.numel() for p in n.parameters()) for s, n in bundle.networks.items()}
    assert parameters == {
        Stage.VIABILITY: 16_872_450,
        Stage.DETECTION: 2_509_049,
        Stage.CELL_CLASS: 23_551_171,
        Stage.WBC_CLASS: 85_806_346,  # ViT-Base 85,798,656 and a linear layer to ten
        Stage.MALIGNANCY: 42_504_258,
        Stage.SUBTYPE: 7_019_651,
    }
    crops = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert bundle.networks[Stage.VIABILITY](torch.rand(2, 3, 128, 128)).shape == (2, 2)
        assert bundle.networks[Stage.DETECTION](torch.rand(1, 3, 640, 640))[0].shape == (1, 7, 8400)
        assert bundle.networks[Stage.CELL_CLASS](crops).shape == (2, 3, 112, 112)
        assert bundle.networks[Stage.WBC_CLASS](crops).shape == (2, 10)
        assert bundle.networks[Stage.MALIGNANCY](crops).shape == (2, 2)
        subtypes = bundle.networks[Stage.SUBTYPE](crops)
        assert subtypes.shape == (2, 3)
        assert subtypes.sum(dim=1) == pytest.approx([1, 1])
        logits = bundle.networks[Stage.SUBTYPE].logits(crops)
        assert torch.allclose(logits.softmax(dim=1), subtypes)
    assert not any(n.training for n in bundle.networks.values())
    assert not any(p.requires_grad for n in bundle.networks.values() for p in n.parameters())
    assert not any(p.is_meta for n in bundle.networks.values() for p in n.state_dict().values())


def test_inference_bundle_yolov5s_is_the_larger_of_the_two():
    from inference.networks.yolo import yolov5

    network = yolov5(size="yolov5s", classes=3)
    assert sum(p.numel() for p in network.parameters()) == 9_123_353


def test_inference_bundle_state_dict_names_are_the_libraries(bundle):
    names = {s: set(n.state_dict()) for s, n in bundle.networks.items()}
    assert {"features.0.weight", "classifier.4.bias"} <= names[Stage.VIABILITY]
    assert {"model.0.conv.weight", "model.24.dfl.conv.weight"} <= names[Stage.DETECTION]
    assert {"encoder.layer4.2.bn2.weight", "decoder.0.up.weight", "head.bias"} <= names[
        Stage.CELL_CLASS
    ]
    assert {"vit.embeddings.cls_token", "vit.layernorm.weight", "classifier.weight"} <= names[
        Stage.WBC_CLASS
    ]
    assert {"layer3.22.conv3.weight", "fc.weight"} <= names[Stage.MALIGNANCY]
    assert {"features.conv0.weight", "classifier.0.weight", "classifier.3.bias"} <= names[
        Stage.SUBTYPE
    ]
    assert not any("pooler" in n for n in names[Stage.WBC_CLASS])
    assert not any("encoder.fc" in n for n in names[Stage.CELL_CLASS])


def test_inference_bundle_building_the_detector_leaves_the_process_as_it_was(tmp_path):
    import subprocess
    import sys

    code = """
import os, logging, warnings, numpy, torch, cv2
from PIL import Image
cv2.setNumThreads(2); torch.set_num_threads(2); numpy.set_printoptions(precision=7)
logging.getLogger("coremltools").setLevel(logging.INFO)
def state():
    return (dict(os.environ), torch.get_num_threads(), cv2.getNumThreads(), torch.save,
            Image.open, cv2.imread, cv2.imwrite, cv2.imshow,
            numpy.get_printoptions(), warnings.filters[:], logging.getLogger("coremltools").level)
before = state()
from inference.networks.yolo import yolov5
yolov5(size="yolov5n", classes=3)
assert state() == before, (state(), before)
from ultralytics.utils import ONLINE, SETTINGS, AUTOINSTALL
assert not ONLINE and not SETTINGS["sync"] and not AUTOINSTALL
"""
    home = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], check=True, env=home)
    assert list(tmp_path.iterdir()) == []  # and nothing in the user's home


# --- strict loading -------------------------------------------------------------------------------


@pytest.fixture
def copy(folder, tmp_path):
    """A bundle of links to the real files, to change one of."""
    for path in folder.iterdir():
        if path.suffix == ".safetensors":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    return tmp_path


def put(copy, stage, tensors=None, *, data=b"", hashed=True, storage="float32"):
    """Other weights for a stage, with their true hash in the manifest unless told otherwise."""
    document = json.loads((copy / "manifest.json").read_text())
    entry = document["stages"][stage]
    entry["storage"] = storage
    path = copy / entry["file"]
    path.unlink()
    if tensors is None:
        path.write_bytes(data)
    else:
        save_file(tensors, path)
    if hashed:
        entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (copy / "manifest.json").write_text(json.dumps(document))


def weights(copy, stage):
    entry = json.loads((copy / "manifest.json").read_text())["stages"][stage]
    return load_file(copy / entry["file"])


def refused(copy):
    with pytest.raises(WeightsError) as error:
        load_bundle(copy)
    assert "\n" not in str(error.value)
    assert "run leukonode models verify" in str(error.value)
    return error.value


def test_inference_bundle_refuses_missing_unexpected_and_misshapen_tensors_at_once(copy):
    tensors = weights(copy, "detection")
    tensors["extra.weight"] = torch.zeros(1)
    del tensors["model.0.conv.weight"]
    tensors["model.1.conv.weight"] = torch.zeros(3, 3)
    tensors["model.0.bn.weight"] = tensors["model.0.bn.weight"].half()
    put(copy, "detection", tensors)
    said = str(refused(copy))
    assert "stage 2: 2-detection.safetensors misses model.0.conv.weight" in said
    assert "has unexpected extra.weight" in said
    assert "has another shape: model.1.conv.weight 3x3 instead of 32x16x3x3" in said
    assert "has another number type: model.0.bn.weight F16 instead of F32" in said


def test_inference_bundle_in_8_bits_loads_as_what_was_stored(copy):
    whole = {stage: weights(copy, stage) for stage in ("detection", "subtype")}
    for stage, tensors in whole.items():
        put(copy, stage, packed(tensors), storage="int8")
    networks = load_bundle(copy, threads=1).networks
    for stage, tensors in whole.items():
        own, stored = networks[Stage(stage)].state_dict(), unpacked(packed(tensors))
        assert all(torch.equal(own[n], stored[n]) for n in tensors)
        assert not any(t.is_meta for t in own.values())
    assert relative_error(whole["subtype"], packed(whole["subtype"])) < 0.01


def test_inference_bundle_refuses_a_file_of_the_other_storage(copy):
    tensors = weights(copy, "detection")
    put(copy, "detection", tensors, storage="int8")
    said = "stage 2: 2-detection.safetensors is stored as float32, and the manifest says int8"
    assert said in str(refused(copy))
    put(copy, "detection", packed(tensors))
    said = "stage 2: 2-detection.safetensors is stored as int8, and the manifest says float32"
    assert said in str(refused(copy))


def test_inference_bundle_refuses_a_hostile_file_in_8_bits(copy):
    stored = packed(weights(copy, "detection"))
    name = next(n for n in stored if n.endswith(".int8"))
    scale = name.removesuffix("int8") + "scale"
    for change, said in (
        ({scale: -stored[scale]}, "cannot be unpacked: .* not finite and positive"),
        ({scale: stored[scale].half()}, "another number type: .* F16 instead of F32"),
        ({scale: stored[scale][:1]}, "another shape"),
        ({name: stored[name].to(torch.uint8)}, "another number type: .* U8 instead of I8"),
        ({scale: stored[scale] * torch.inf}, "not finite"),
        ({scale: torch.full_like(stored[scale], 3e38)}, "holds NaN or infinity"),
    ):
        put(copy, "detection", stored | change, storage="int8")
        assert re.search(said, str(refused(copy))), said


def test_inference_bundle_refuses_another_file_than_the_manifest_s(copy):
    tensors = weights(copy, "detection")
    tensors["model.0.bn.weight"] = tensors["model.0.bn.weight"] + 1
    put(copy, "detection", tensors, hashed=False)
    assert len(refused(copy).problems) == 1
    assert "stage 2: manifest wants sha256" in str(refused(copy))


def test_inference_bundle_refuses_pickles_without_reading_them(copy):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(copy / "ran"),))

    put(copy, "detection", data=pickle.dumps(Trap()))
    assert "stage 2: 2-detection.safetensors is a pickled file" in str(refused(copy))
    torch.save({"a": torch.zeros(1)}, copy / "zip")
    put(copy, "detection", data=(copy / "zip").read_bytes())
    assert "stage 2: 2-detection.safetensors is a pickled file" in str(refused(copy))
    assert not (copy / "ran").exists()


@pytest.mark.parametrize("data", [b"", b"x" * 200, b"\x10" + b"\0" * 7 + b'{"a": {"b": 1}} '])
def test_inference_bundle_refuses_what_is_no_safetensors_file(copy, data):
    put(copy, "detection", data=data)
    assert "stage 2: 2-detection.safetensors is no safetensors file" in str(refused(copy))


def test_inference_bundle_refuses_a_cut_off_file(copy):
    path = copy / "2-detection.safetensors"
    put(copy, "detection", data=path.read_bytes()[:-100])
    assert "stage 2: 2-detection.safetensors cannot be read" in str(refused(copy))


def test_inference_bundle_refuses_a_missing_file(copy):
    (copy / "6-subtype.safetensors").unlink()
    assert "stage 6: 6-subtype.safetensors cannot be read (No such file" in str(refused(copy))


def test_inference_bundle_refuses_the_classic_yolov5_head(copy):
    tensors = {
        "model.0.conv.weight": torch.zeros(16, 3, 6, 6),
        "model.24.anchors": torch.zeros(3, 3, 2),
        "model.24.m.0.weight": torch.zeros(24, 64, 1, 1),
    }
    put(copy, "detection", tensors)
    assert "stage 2: 2-detection.safetensors has the classic anchor head" in str(refused(copy))


def test_inference_bundle_refuses_numbers_that_are_none(copy):
    tensors = weights(copy, "detection")
    tensors["model.0.bn.weight"][3] = math.nan
    put(copy, "detection", tensors)
    assert "holds NaN or infinity in model.0.bn.weight" in str(refused(copy))


# --- the cascade ----------------------------------------------------------------------------------


def smear(width, height, *, seed, red_px=75):
    """Pale discs and a few dark ones on a light ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    picture = np.full((height, width, 3), (228, 218, 224), dtype=np.float32)
    for i in range(width * height // 15_000):
        centre = rng.uniform((0, 0), (width, height))
        distance = np.hypot(x - centre[0], y - centre[1])
        picture[distance < red_px / 2] = (205, 150, 160)
        if i % 4 == 0:
            picture[distance < red_px * 0.8] = (190, 160, 200)
            picture[distance < red_px * rng.uniform(0.4, 0.7)] = (100, 60, 140)
    picture += rng.normal(0, 2, size=picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


@dataclasses.dataclass
class Source:
    """Fields of numpy pictures, all of one image."""

    pictures: list
    um_per_px: tuple[float, float] | None = (0.1, 0.1)
    single_cell: bool = False
    domain: Domain = Domain.SMEAR
    monochrome: bool = False
    refusal: str = ""
    breaks_after: int | None = None
    given: int = 0

    @property
    def header(self):
        height, width = self.pictures[0].shape[:2] if self.pictures else (1, 1)
        return ImageHeader(
            source="a",
            sha256="0" * 64,
            width_px=width,
            height_px=height,
            frames=len(self.pictures),
            domain=self.domain,
            um_per_px=self.um_per_px,
            monochrome=self.monochrome,
            refusal=self.refusal,
        )

    def fields(self) -> Iterator[Field]:
        for i, pixels in enumerate(self.pictures):
            if self.breaks_after == i:
                raise UnreadablePixels("frame 2 is cut off")
            self.given += 1
            height, width = pixels.shape[:2]
            yield Field(
                pixels=pixels,
                image=0,
                frame=i + 1,
                origin_px=(0, 0),
                core_px=Box(0, 0, width, height),
                um_per_px=self.um_per_px,
                domain=self.domain,
                single_cell=self.single_cell,
            )


class SlideSource(Source):
    """One picture given as overlapping fields, as a slide is."""

    def fields(self):
        (whole,) = self.pictures
        for x0 in (0, 300):
            self.given += 1
            first, last = (0, 350) if x0 == 0 else (250, whole.shape[1])
            core = Box(0, 0, 300, whole.shape[0]) if x0 == 0 else Box(300, 0, *whole.shape[1::-1])
            yield Field(
                pixels=whole[:, first:last],
                image=0,
                frame=1,
                origin_px=(first, 0),
                core_px=core,
                um_per_px=self.um_per_px,
                domain=self.domain,
            )


def without_seconds(analysis):
    stages = tuple(dataclasses.replace(s, seconds=0.0) for s in analysis.stages)
    return dataclasses.replace(analysis, stages=stages)


def with_manifest(bundle, changes):
    """The bundle with other numbers in its manifest; the networks stay."""
    document = bundle.manifest.model_dump(mode="json")
    for path, value in changes.items():
        place = document
        *parts, last = path.split(".")
        for part in parts:
            place = place[part]
        place[last] = value
    manifest = type(bundle.manifest).model_validate_json(json.dumps(document))
    return dataclasses.replace(bundle, manifest=manifest)


@pytest.fixture(scope="session")
def few(bundle):
    """At most eight cells a field, to save time."""
    return with_manifest(bundle, {"stages.detection.max_per_tile": 8})


@pytest.fixture(scope="session")
def analysis(few):
    sources = [Source([smear(640, 480, seed=s)]) for s in (1, 2)]
    return analyse(sources, bundle=few, options=OPTIONS)


def test_inference_cascade_reads_every_cell_to_the_end(analysis, bundle):
    assert analysis.evaluable
    assert not analysis.failures
    assert analysis.engine.startswith("torch ")
    assert analysis.engine.endswith(" cpu float32")
    assert [c.number for c in analysis.cells] == list(range(1, len(analysis.cells) + 1))
    order = [(c.image, c.frame, c.box_px.y0, c.box_px.x0) for c in analysis.cells]
    assert order == sorted(order)
    assert {c.image for c in analysis.cells} == {0, 1}
    for cell in analysis.cells:
        box = cell.box_px
        assert 0 <= box.x0 < box.x1 <= 640
        assert 0 <= box.y0 < box.y1 <= 480
        assert sum(cell.cell_class_p) == pytest.approx(1, abs=1e-5)
        assert cell.cell_class is list(CellClass)[int(np.argmax(cell.cell_class_p))]
        white = cell.cell_class is CellClass.WHITE_BLOOD_CELL
        assert (cell.wbc_class is not None) == white == (len(cell.wbc_class_p) == 10)
        lymphoid = cell.wbc_class in LYMPHOID
        assert (cell.malignancy is not None) == lymphoid == (len(cell.malignancy_p) == 2)
        malignant = cell.malignancy == "malignant"
        assert (cell.subtype is not None) == malignant == (len(cell.subtype_p) == 3)
        touches = box.x0 < 1 or box.y0 < 1 or box.x1 > 639 or box.y1 > 479
        assert (Mark.AT_BORDER in cell.marks) == touches
    items = {s.stage: s.items for s in analysis.stages}
    assert items[Stage.VIABILITY] == items[Stage.DETECTION] == 2
    assert items[Stage.CELL_CLASS] == len(analysis.cells)
    assert items[Stage.WBC_CLASS] == sum(c.wbc_class is not None for c in analysis.cells) > 0
    assert items[Stage.SUBTYPE] == sum(c.subtype is not None for c in analysis.cells)
    numbers_of(
        analysis.cells,
        wbc_classes=bundle.info.model(Stage.WBC_CLASS).classes,
        limits=AdequacyLimits(),
    )


def test_inference_cascade_gives_the_same_again(analysis, few):
    sources = [Source([smear(640, 480, seed=s)]) for s in (1, 2)]
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    again = analyse(sources, bundle=few, options=OPTIONS)
    assert without_seconds(again) == without_seconds(analysis)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert pickle.loads(pickle.dumps(again)) == again


def test_inference_cascade_an_image_is_read_the_same_in_any_company(analysis, few):
    alone = analyse([Source([smear(640, 480, seed=2)])], bundle=few, options=OPTIONS)
    beside = [c for c in analysis.cells if c.image == 1]
    assert [dataclasses.replace(c, number=0, image=0) for c in beside] == [
        dataclasses.replace(c, number=0) for c in alone.cells
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Source([], refusal="it is a label"), "it is a label"),
        (Source([], domain=Domain.UNKNOWN), "its domain (unknown) is not covered by bundle"),
        (Source([], monochrome=True), "it is monochrome"),
        (Source([], um_per_px=(math.nan, 0.1)), "pixel spacing is not plausible"),
        (Source([], um_per_px=(0.1, 0.0)), "pixel spacing is not plausible"),
        (Source([smear(64, 48, seed=0)], um_per_px=(10.0, 10.0)), "too coarse"),
        (Source([]), "it holds no field to read"),
        (Source([smear(64, 48, seed=0)], breaks_after=0), "frame 2 is cut off"),
    ],
)
def test_inference_cascade_what_cannot_be_read_is_a_value(source, reason, bundle):
    analysis = analyse([source], bundle=bundle, options=OPTIONS)
    (image,) = analysis.images
    assert reason in image.not_evaluable
    assert image.viability.verdict is Verdict.NOT_ASSESSED
    assert not analysis.evaluable
    assert not analysis.cells


def test_inference_cascade_a_broken_image_is_left_out_and_said(bundle):
    broken = Source([smear(320, 240, seed=3)], breaks_after=0)
    whole = Source([smear(320, 240, seed=4)])
    analysis = analyse([broken, whole], bundle=no_stage_after_3(bundle), options=OPTIONS)
    assert analysis.images[0].not_evaluable == "frame 2 is cut off"
    assert not analysis.images[1].not_evaluable
    assert {c.image for c in analysis.cells} == {1}
    (failure,) = analysis.failures
    assert failure.stage is None
    assert failure.reason == "image 1: it could not be decoded (frame 2 is cut off)"
    assert analysis.measured(Stage.SUBTYPE)


def test_inference_cascade_a_broken_field_leaves_what_was_read_before_it(bundle):
    broken = Source([smear(320, 240, seed=3)] * 4, breaks_after=2)
    whole = Source([smear(320, 240, seed=3)] * 2)
    read = no_stage_after_3(bundle)
    analysis = analyse([broken], bundle=read, options=OPTIONS)
    assert analysis.cells
    assert analysis.cells == analyse([whole], bundle=read, options=OPTIONS).cells
    (image,) = analysis.images
    assert not image.not_evaluable
    assert (image.fields_read, image.fields_left) == (2, 0)  # not stopped by enough cells
    assert image.warnings == (
        "reading ended after 2 fields: frame 2 is cut off; about 2 fields were not read",
    )
    (failure,) = analysis.failures
    assert failure.stage is None
    assert failure.reason == "image 1: it could not be read to its end (frame 2 is cut off)"
    assert analysis.measured(Stage.SUBTYPE)


def test_inference_cascade_single_cells_before_a_broken_frame_are_read(bundle):
    frames = [smear(90, 80, seed=s, red_px=50) for s in range(4)]
    source = Source(frames, single_cell=True, breaks_after=3)
    analysis = analyse([source], bundle=no_stage_after_3(bundle), options=OPTIONS)
    assert [c.frame for c in analysis.cells] == [1, 2, 3]
    assert len(analysis.failures) == 1


def test_inference_cascade_a_strip_is_not_evaluable(bundle):
    """Far too long to be a field: no square of its length is laid out for it."""
    strip = np.full((3, 50_000, 3), 220, dtype=np.uint8)
    for single in (False, True):
        for um_per_px in ((0.1, 0.1), None):
            source = Source([strip], single_cell=single, um_per_px=um_per_px)
            (image,) = analyse([source], bundle=bundle, options=OPTIONS).images
            assert "times longer than wide" in image.not_evaluable


def test_inference_cascade_stops_at_an_image_that_is_not_viable(bundle):
    strict = with_manifest(bundle, {"stages.viability.threshold": 1.0})
    analysis = analyse([Source([smear(320, 240, seed=1)])], bundle=strict, options=OPTIONS)
    (image,) = analysis.images
    assert image.viability.verdict is Verdict.NON_VIABLE
    assert "not viable" in image.not_evaluable
    assert (image.fields_read, image.fields_refused) == (0, 1)
    assert {s.stage: s.items for s in analysis.stages}[Stage.DETECTION] == 0


def test_inference_cascade_refused_fields_do_not_refuse_the_image(bundle):
    pictures = [smear(320, 240, seed=s) for s in range(4)]
    ps = [analyse([Source([p])], bundle=no_cells(bundle), options=OPTIONS) for p in pictures]
    each = [a.images[0].viability.p for a in ps]
    split = with_manifest(no_cells(bundle), {"stages.viability.threshold": sorted(each)[2]})
    (image,) = analyse([Source(pictures)], bundle=split, options=OPTIONS).images
    assert (image.fields_read, image.fields_refused) == (2, 2)
    assert image.viability.verdict is Verdict.VIABLE
    assert image.viability.p == pytest.approx(np.mean(each), abs=1e-5)


def no_cells(bundle):
    return with_manifest(bundle, {"stages.detection.confidence": 1.0})


def test_inference_cascade_an_image_without_cells_is_evaluable(bundle):
    analysis = analyse(
        [Source([smear(320, 240, seed=1)])], bundle=no_cells(bundle), options=OPTIONS
    )
    assert analysis.evaluable
    assert analysis.cells == ()


def test_inference_cascade_single_cells_skip_the_first_two_stages(bundle):
    frames = [smear(90, 80, seed=s, red_px=50) for s in range(5)]
    told = []
    analysis = analyse(
        [Source(frames, single_cell=True)],
        bundle=bundle,
        options=OPTIONS,
        progress=lambda *what: told.append(what),
    )
    assert [c.frame for c in analysis.cells] == [1, 2, 3, 4, 5]
    assert all(c.box_px == Box(0, 0, 90, 80) and c.detection_p == 1.0 for c in analysis.cells)
    assert all(Mark.AT_BORDER not in c.marks for c in analysis.cells)
    assert analysis.images[0].viability.verdict is Verdict.NOT_ASSESSED
    assert not analysis.images[0].not_evaluable
    items = {s.stage: s.items for s in analysis.stages}
    assert (items[Stage.VIABILITY], items[Stage.DETECTION]) == (0, 0)
    assert told == [("image 1 of 1", 5, 5)]


def test_inference_cascade_stops_when_enough_leukocytes_are_counted(bundle):
    networks = {
        **bundle.networks,
        Stage.CELL_CLASS: WHITE,
        Stage.WBC_CLASS: LYMPHOCYTE,
        Stage.MALIGNANCY: Answer(torch.tensor([9.0, 0])),
    }
    all_lymphocytes = dataclasses.replace(bundle, networks=networks)
    frame = smear(90, 80, seed=1, red_px=50)
    for frames, wanted, read, left in ((70, 32, 32, 38), (70, 33, 64, 6), (32, 32, 32, 0)):
        source = Source([frame] * frames, single_cell=True)
        options = Options(software="test 1", leukocytes_wanted=wanted)
        (image,) = analyse([source], bundle=all_lymphocytes, options=options).images
        assert (image.fields_read, image.fields_left) == (read, left)
        assert source.given == read  # and no frame more was decoded
    every = Options(software="test 1", leukocytes_wanted=1, stop_when_enough=False)
    source = Source([frame] * 70, single_cell=True)
    (image,) = analyse([source], bundle=all_lymphocytes, options=every).images
    assert (image.fields_read, image.fields_left) == (70, 0)


def test_inference_cascade_counts_no_cell_of_a_slide_twice(bundle):
    quiet = with_manifest(bundle, {"stages.detection.max_per_tile": 300})
    analysis = analyse(
        [SlideSource([smear(600, 300, seed=9)])], bundle=no_stage_after_3(quiet), options=OPTIONS
    )
    (image,) = analysis.images
    assert (image.fields_read, image.fields_left) == (2, 0)
    boxes = [c.box_px for c in analysis.cells]
    assert any(b.x0 > 300 for b in boxes)
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            width = max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0))
            height = max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0))
            union = a.width * a.height + b.width * b.height - width * height
            assert width * height / union < 0.4


def no_stage_after_3(bundle):
    """Stage 3 that calls everything a red cell, to save the time of those after it."""
    return dataclasses.replace(
        bundle, networks={**bundle.networks, Stage.CELL_CLASS: Answer(torch.tensor([9.0, 0, 0]))}
    )


class Answer(torch.nn.Module):
    """A network that answers the same to everything."""

    def __init__(self, row, *, raises=False):
        super().__init__()
        self.row = row
        self.raises = raises

    def forward(self, x):
        if self.raises:
            raise RuntimeError("out of luck")
        row = self.row.expand(len(x), -1)
        return row[..., None, None].expand(-1, -1, 112, 112) if len(self.row) == 3 else row


WHITE = Answer(torch.tensor([0.0, 0, 9]))
LYMPHOCYTE = Answer(torch.tensor([0.0, 0, 9, 0, 0, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("wrong", ["raises", "nan"])
@pytest.mark.parametrize("stage", list(Stage))
def test_inference_cascade_a_stage_that_fails_leaves_what_was_before_it(stage, wrong, bundle):
    bad = Answer(torch.full((2,), math.nan), raises=wrong == "raises")
    networks = {
        **bundle.networks,
        Stage.CELL_CLASS: WHITE,
        Stage.WBC_CLASS: LYMPHOCYTE,
        Stage.MALIGNANCY: Answer(torch.tensor([0.0, 9])),
        stage: bad,
    }
    spoiled = dataclasses.replace(bundle, networks=networks)
    source = Source([smear(160, 120, seed=1)])
    analysis = analyse([source, source], bundle=spoiled, options=OPTIONS)
    (failure,) = analysis.failures
    assert failure.stage is stage
    assert "out of luck" not in failure.reason
    reasons = [i.not_evaluable for i in analysis.images]
    if stage.number <= 3:
        assert all(f"stage {stage.number} failed" in r for r in reasons)
        assert not analysis.cells
        return
    assert reasons == ["", ""]
    assert analysis.cells
    seen = {
        Stage.WBC_CLASS: (None, None, None, UNCLASSIFIED),
        Stage.MALIGNANCY: ("lymphocytes", None, None, "lymphocytes"),
        Stage.SUBTYPE: ("lymphocytes", "malignant", None, "lymphocytes"),
    }[stage]
    for cell in analysis.cells:
        assert (cell.wbc_class, cell.malignancy, cell.subtype, cell.final_class) == seen


def test_inference_cascade_stage_4_overrules_stage_3(bundle):
    networks = {
        **bundle.networks,
        Stage.CELL_CLASS: WHITE,
        Stage.WBC_CLASS: Answer(torch.tensor([0.0] * 9 + [9])),
    }
    spoiled = dataclasses.replace(bundle, networks=networks)
    analysis = analyse([Source([smear(160, 120, seed=1)])], bundle=spoiled, options=OPTIONS)
    assert {(c.cell_class.value, c.final_class) for c in analysis.cells} == {
        ("white_blood_cell", "red_blood_cell")
    }
    assert all(Mark.OVERRULED in c.marks for c in analysis.cells)


# --- single stages --------------------------------------------------------------------------------


def yolo_answer(boxes):
    """A detector that finds the same boxes (cx, cy, w, h, p of red, white, platelet) in each tile."""

    class Boxes(torch.nn.Module):
        def forward(self, x):
            answer = torch.zeros(len(x), 7, 8400)
            answer[:, :, : len(boxes)] = torch.tensor(boxes).T
            return (answer, None)

    return Boxes()


def detect(bundle, network, field, um_per_px, **changes):
    entry = with_manifest(
        bundle, {f"stages.detection.{k}": v for k, v in {"confidence": 0.3, **changes}.items()}
    ).manifest.stages.detection
    ground = np.array([255, 255, 255], dtype=np.float32)
    with torch.inference_mode():
        return detected(field, um_per_px=um_per_px, background=ground, network=network, entry=entry)


def test_inference_detection_boxes_are_in_pixels_of_the_field_as_it_came(bundle):
    network = yolo_answer([(50.0, 40.0, 30.0, 20.0, 0.1, 0.9, 0.0)])
    field = np.zeros((200, 200, 3), dtype=np.uint8)
    (found,) = detect(bundle, network, field, (0.1, 0.2))  # read at 0.2: 100 x 200
    assert found.box == pytest.approx((70, 30, 130, 50))
    assert found.p == pytest.approx(0.9)
    assert found.cell_class is CellClass.WHITE_BLOOD_CELL


def test_inference_detection_drops_doubles_strangers_and_padding(bundle):
    network = yolo_answer(
        [
            (50.0, 50.0, 30.0, 30.0, 0.9, 0.0, 0.0),
            (52.0, 50.0, 30.0, 30.0, 0.0, 0.8, 0.0),  # the same cell, seen as another class
            (50.0, 90.0, 30.0, 30.0, 0.2, 0.0, 0.0),  # not sure enough
            (90.0, 50.0, 200.0, 30.0, 0.9, 0.0, 0.0),  # larger than any cell
            (90.0, 90.0, 4.0, 4.0, 0.9, 0.0, 0.0),  # smaller than any
            (300.0, 50.0, 30.0, 30.0, 0.9, 0.0, 0.0),  # in the padding
        ]
    )
    field = np.zeros((100, 100, 3), dtype=np.uint8)
    (found,) = detect(bundle, network, field, (0.2, 0.2))
    assert found.box == pytest.approx((35, 35, 65, 65))
    assert found.cell_class is CellClass.RED_BLOOD_CELL


def test_inference_detection_tiles_larger_fields_and_merges_them(bundle):
    class Spots(torch.nn.Module):
        """Finds a box round each white spot of a tile, whole or cut."""

        def forward(self, x):
            answer = torch.zeros(len(x), 7, 8400)
            for i, tile in enumerate(x[:, 0]):
                import cv2

                spots = (tile > 0.5).to(torch.uint8).numpy()
                _, _, stats, _ = cv2.connectedComponentsWithStats(spots)
                for j, (x0, y0, w, h, _) in enumerate(stats[1:]):
                    answer[i, :, j] = torch.tensor([x0 + w / 2, y0 + h / 2, w, h, 0.9, 0, 0])
            return (answer, None)

    field = np.zeros((900, 1500, 3), dtype=np.uint8)
    spots = [(x, y) for x in range(20, 1460, 71) for y in range(20, 860, 67)]
    for x, y in spots:
        field[y : y + 30, x : x + 30] = 255
    entry = {"max_per_tile": 3000, "overlap_px": 128}
    ground = np.zeros(3, dtype=np.float32)
    changed = with_manifest(bundle, {f"stages.detection.{k}": v for k, v in entry.items()})
    with torch.inference_mode():
        found = detected(
            field,
            um_per_px=(0.2, 0.2),
            background=ground,
            network=Spots(),
            entry=with_manifest(
                changed, {"stages.detection.confidence": 0.5}
            ).manifest.stages.detection,
        )
    boxes = sorted(tuple(round(v) for v in d.box) for d in found)
    assert boxes == sorted((x, y, x + 30, y + 30) for x, y in spots)


def test_inference_scale_is_measured_from_the_detector_s_red_cells(bundle):
    def red(fx, fy):
        return [
            (fx * (60 + 60 * i), fy * (60 + 60 * j), fx * 30.0, fy * 40.0, 0.9, 0, 0)
            for i in range(5)
            for j in range(5)
        ]

    class Looks(torch.nn.Module):
        """At the trial, and then at the scale that was measured there, of 0.25 x 0.1875 um."""

        def __init__(self):
            super().__init__()
            self.answers = [yolo_answer(red(1, 1)), *[yolo_answer(red(1.25, 0.9375))] * 2]

        def forward(self, x):
            return self.answers.pop(0)(x)

    measuring = with_manifest(
        bundle,
        {
            "stages.detection.confidence": 0.3,
            "red_cells": {"min_confidence": 0.5, "min_cells": 20, "trial_um_per_px": [0.2]},
            "um_per_px_range": [0.05, 0.2],
        },
    )
    networks = {**no_stage_after_3(measuring).networks, Stage.DETECTION: Looks()}
    measuring = dataclasses.replace(measuring, networks=networks)
    source = Source([smear(400, 400, seed=1)], um_per_px=None)
    (image,) = analyse([source], bundle=measuring, options=OPTIONS).images
    assert image.scale_from is ScaleFrom.RED_CELLS
    assert image.um_per_px == pytest.approx((0.25, 0.1875))
    assert any("pressed" in w for w in image.warnings)
    assert any("outside the bundle's range" in w for w in image.warnings)
    assert image.scale_out_of_range


def test_inference_scale_unknown_is_said(bundle):
    source = Source([smear(160, 120, seed=1)], um_per_px=None)
    (image,) = analyse([source], bundle=no_stage_after_3(bundle), options=OPTIONS).images
    assert image.scale_from is ScaleFrom.UNKNOWN
    assert image.um_per_px is None
    assert any("scale unknown" in w for w in image.warnings)


def test_inference_cell_class_pools_over_the_cell_and_not_over_the_crop():
    maps = torch.zeros(1, 3, 112, 112)
    maps[0, 0] = 5  # the crop is full of red cells
    maps[0, 2, 40:70, 40:70] = 9  # and the cell in the middle is white
    crops = Crops(pixels=np.zeros((1, 224, 224, 3), np.uint8), boxes=(Box(80, 80, 140, 140),))
    assert pooled(maps, crops.boxes, shrunk=0.5).argmax() == 2
    assert pooled(maps, [Box(0, 0, 224, 224)], shrunk=0.5).argmax() == 0
    assert pooled(maps, [Box(224, 224, 224, 224)], shrunk=0.5).argmax() == 0  # never nothing

    class Maps(torch.nn.Module):
        def forward(self, x):
            return maps - 1

    entry = type("Entry", (), {"mean": (0, 0, 0), "deviation": (1, 1, 1), "input_px": 224})
    entry.temperature = 2.0
    read = cell_maps(crops, network=Maps(), entry=entry)
    expected = torch.tensor([4.0, -1, 8]).div(2).softmax(dim=0)
    assert read.p[0] == pytest.approx(expected.tolist(), abs=1e-5)
    assert read.masks.sum() == 900
    assert read.masks[0, 40:70, 40:70].all()


def test_inference_subtype_temperature_is_that_of_the_logits(bundle):
    crops = Crops(
        pixels=np.random.default_rng(0).integers(0, 255, (2, 224, 224, 3), dtype=np.uint8),
        boxes=(Box(0, 0, 224, 224),) * 2,
    )
    network = bundle.networks[Stage.SUBTYPE]
    warm = with_manifest(bundle, {"stages.subtype.temperature": 3.0}).manifest.stages.subtype
    from inference.tensors import tensor_of

    with torch.inference_mode():
        rows = subtype_p(crops, network=network, entry=warm)
        expected = (network.logits(tensor_of(crops.pixels, warm)) / 3).softmax(dim=1)
    assert np.allclose(rows, expected.numpy(), atol=1e-5)


def test_inference_image_run_estimates_the_fields_left_of_a_slide(bundle):
    header = dataclasses.replace(Source([smear(100, 100, seed=0)]).header, width_px=1000)
    run = ImageRun(header, index=0, bundle=bundle, recorder=None)
    run.fields_seen, run._core_area = 2, 2 * 100 * 100.0
    assert run.fields_left == 8


# --- the gate -------------------------------------------------------------------------------------


def test_inference_cascade_reads_no_field_that_the_gate_refuses(bundle):
    good = smear(400, 400, seed=1)
    grey = np.repeat(good.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    centre = look_of(good, ground=background_of(good))
    near, far = (
        {
            "centre": [round(v, 2) for v in centre.tolist()],
            "spread": (np.eye(12) * 0.01).tolist(),
            "flag_above": flag_above,
            "refuse_above": 1.0,
        }
        for flag_above in (0.9, 1e-6)
    )
    gated = with_manifest(no_stage_after_3(bundle), {"gate": near})
    every = Options(software="test 1", stop_when_enough=False)
    done = analyse(
        [Source([good]), Source([grey]), Source([good, grey])], bundle=gated, options=every
    )
    read, refused, part = done.images
    assert (read.fields_read, read.not_evaluable, read.stain_out_of_range) == (1, "", False)
    assert (refused.fields_read, refused.fields_refused) == (0, 0)
    assert refused.viability.verdict is Verdict.NOT_ASSESSED
    assert refused.not_evaluable.startswith("it is no blood smear that this bundle knows (distance")
    assert refused.unknown_smear
    assert (part.fields_read, part.not_evaluable, part.unknown_smear) == (1, "", False)
    assert any("1 of 2 fields" in w for w in part.warnings)
    assert part.stain_out_of_range
    seen = next(s for s in done.stages if s.stage is Stage.VIABILITY)
    assert seen.items == 2
    flagging = with_manifest(no_stage_after_3(bundle), {"gate": far})
    (odd,) = analyse([Source([good])], bundle=flagging, options=OPTIONS).images
    assert (odd.fields_read, odd.stain_out_of_range) == (1, True)
