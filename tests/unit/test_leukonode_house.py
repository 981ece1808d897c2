"""The house itself: who knows whom, how light each door is, and that names lead home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def imported(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `code`."""
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import leukonode.__main__",
        "import leukonode.roles, leukonode.receiving, leukonode.supervisor",
        "import dicom_node.scp, dicom_node.headers, dicom_node.conformance",
        "import leukonode.steps",
        "from inference.bundle import read_bundle_info",
    ],
)
def test_light_doors_never_load_the_networks(code):
    heavy = {"torch", "torchvision", "ultralytics", "transformers"}
    assert not imported(code) & heavy


def test_domain_knows_nobody():
    rooms = {"leukonode", "dicom_node", "inference", "reporting", "db", "phantom", "pydicom"}
    modules = sorted(p.stem for p in (ROOT / "domain").glob("[a-z]*.py"))
    assert not imported("\n".join(f"import domain.{m}" for m in modules)) & rooms


def test_alembic_folder_does_not_hide_the_library():
    import alembic

    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert not Path(alembic.__file__).is_relative_to(ROOT / "alembic")


def test_rooms_are_ours():
    from leukonode.layout import strangers

    assert strangers() == []
