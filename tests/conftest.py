"""What several rooms' tests share: real pictures, real peers, one untrained bundle."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pictures() -> Path:
    """The collection of real pictures; tests that want it are skipped where it is not."""
    folder = os.environ.get("LEUKONODE_PICTURES", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("the collection of real pictures is not here (LEUKONODE_PICTURES)")
    return Path(folder)


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """The path of a peer's program. Where it is missing the test is skipped, in CI it fails."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            reason = f"{name} is not installed (see .ci/run for the packages)"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        return found

    return find


@pytest.fixture(scope="session")
def untrained_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `leukonode models init-untrained`, made once."""
    from inference.untrained import init_untrained

    folder = tmp_path_factory.mktemp("bundles") / "untrained"
    init_untrained(folder)
    return folder
