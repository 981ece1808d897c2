"""result.json: the contract, its schema, and the thesis's shape."""

import copy
import json

import pytest

from reporting.result_json import (
    InvalidResult,
    result_bytes,
    result_of,
    thesis_of,
    validate,
)
from tests import reporting_cases as cases

CASES = cases.all_cases()


@pytest.mark.parametrize("name", CASES)
def test_reporting_result_meets_its_schema(name):
    encoded = result_bytes(CASES[name], with_seconds=False)
    validate(json.loads(encoded))
    assert encoded == result_bytes(CASES[name], with_seconds=False)
    assert encoded.endswith(b"}\n")
    json.loads(thesis_of(CASES[name]))


def test_reporting_result_has_the_keys_of_the_contract():
    result = result_of(CASES["blasts"], with_seconds=True)
    assert {
        "schema", "software", "bundle", "images", "cells", "counts", "leukocytes_counted",
        "unclassified", "differential", "blasts", "subtypes", "adequacy", "flags", "finding",
        "stages", "evaluable",
    } <= set(result)  # fmt: skip
    assert result["schema"] == 1
    assert result["blasts"]["percent"] == 35.8
    assert result["blasts"]["bounds"] == [34.3, 38.5]
    assert result["stages"][0]["seconds"] == 1.25
    assert set(result["cells"][0]) >= {
        "number", "image", "frame", "box_px", "detection_p", "cell_class", "cell_class_p",
        "wbc_class", "wbc_class_p", "malignancy", "malignancy_p", "subtype", "subtype_p",
        "final_class",
    }  # fmt: skip


def test_reporting_result_without_seconds_has_none():
    stages = result_of(CASES["blasts"], with_seconds=False)["stages"]
    assert stages
    assert all(s["seconds"] is None for s in stages)


@pytest.mark.parametrize("name", ["non_viable", "wrong_domain", "run_failed"])
def test_reporting_result_says_null_for_what_was_not_measured(name):
    result = result_of(CASES[name], with_seconds=False)
    assert result["leukocytes_counted"] is None
    assert result["counts"] == {}
    assert result["differential"] == result["subtypes"] == []
    assert result["unclassified"] == {}
    assert result["blasts"]["count"] is None
    assert result["blasts"]["morphological"]["count"] is None
    assert result["adequacy"] == "none"


def _broken(change):
    result = copy.deepcopy(result_of(CASES["few"], with_seconds=False))
    change(result)
    return result


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(extra=1),
        lambda r: r.pop("finding"),
        lambda r: r["cells"][0].update(final_class="blastoid"),
        lambda r: r["cells"][0]["cell_class_p"].pop("platelet"),
        lambda r: r["blasts"].update(percent=101),
        lambda r: r["flags"].append("diagnosis"),
        lambda r: r["bundle"].update(manifest_sha256="AB"),
        lambda r: r["images"][0].update(scale_from="guess"),
        lambda r: r["counts"].update(spoiled=1),
    ],
)
def test_reporting_schema_is_strict(change):
    with pytest.raises(InvalidResult, match=r"result\.json at"):
        validate(_broken(change))


def test_reporting_thesis_shape_is_strings():
    shape = json.loads(thesis_of(CASES["untrained"]))
    assert shape["Notice"] == "UNTRAINED MODELS"
    assert shape["Malignancy"]["Malignant Percentage"] == "35.8"
    assert json.loads(thesis_of(CASES["non_viable"]))["Cell Counts"]["WBC"] == "not measured"
    leaves = [
        v for part in shape.values() for v in (part.values() if isinstance(part, dict) else [part])
    ]
    assert all(isinstance(leaf, str) for leaf in leaves)
