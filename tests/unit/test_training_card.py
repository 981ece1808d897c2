"""The model card copies the figures of the evaluation, and only of the same weights."""

import json

import numpy as np
import pytest

from domain.cells import Malignancy, Stage
from training.errors import CardError, CheckpointError
from training.evaluation.card import model_card, read_reports
from training.evaluation.judged import Judged, Lot
from training.evaluation.pages import write_pages
from training.metrics import figures_of
from training.release import runs_in

MANIFEST = {
    "training_data": [{"stage": "malignancy", "set": "x", "split": "val", "pictures": ["a"]}]
}
TRUTH = np.array([0, 0, 0, 1, 1])
P = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9], [0.2, 0.8]])


@pytest.fixture
def reports(tmp_path):
    classes = tuple(str(m) for m in Malignancy)
    judged = Judged(
        stage=Stage.MALIGNANCY,
        bundle="b",
        weights_sha256="a" * 64,
        classes=classes,
        lots=(Lot(name="all", cells=5, figures=figures_of(TRUTH, P.argmax(axis=1), classes)),),
        notes=("made",),
    )
    write_pages([judged], tmp_path)
    return tmp_path


def read(folder, letter):
    return read_reports(
        folder, weights_sha256=dict.fromkeys(Stage, letter * 64), manifest_sha256=letter * 64
    )


def test_training_card_says_what_the_report_says(reports):
    card = model_card("# Mine\n\nFor research.", MANIFEST, read(reports, "a"))
    assert card.startswith("# Mine\n\nFor research.")
    assert "| 5 | x | val | 1 |" in card
    assert "### Stage 5: malignancy" in card
    assert (reports / "5-malignancy.txt").read_text().rstrip() in card


def test_training_card_refuses_figures_of_other_weights(reports, tmp_path):
    with pytest.raises(CardError, match="is of aaaaaaaaaaaa, the bundle has bbbbbbbbbbbb"):
        read(reports, "b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CardError, match="holds no report"):
        read(tmp_path / "empty", "a")


def test_training_release_wants_one_run_of_each_stage(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        text = json.dumps({"recipe": {"stage": "subtype"}})
        (tmp_path / name / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"a holds no best\.safetensors yet"):
        runs_in(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name / "best.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="two runs of stage 6"):
        runs_in(tmp_path)
    (tmp_path / "b" / "run.json").unlink()
    with pytest.raises(CheckpointError, match="no run of stage 1, 2, 3, 4, 5"):
        runs_in(tmp_path)
