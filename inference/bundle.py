"""Six networks from a folder, loaded strictly or not at all.

In      a folder with manifest.json and one safetensors file a stage
Out     BundleInfo (light, no torch), or Bundle: the networks in memory with all that is known of them
Errors  BundleError: every problem of every stage in one line, with its place and the mend
Nothing is fetched, nothing is unpickled, nothing is filled up with random numbers.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from domain.analysis import BundleInfo, Commissioning, ModelInfo
from domain.cells import Stage
from domain.identities import Sha256
from inference.errors import WeightsError
from inference.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Bundle", "bundle_info_of", "load_bundle", "read_bundle_info"]

_VERIFY = "run leukonode models verify"


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """Loaded networks and what is known of them. `threads` is how many one analysis may use;
    None leaves it to torch."""

    info: BundleInfo
    manifest: Manifest
    networks: "Mapping[Stage, nn.Module]"
    threads: int | None = None


def read_bundle_info(folder: Path, *, verify_hashes: bool = False) -> BundleInfo:
    """What the manifest says, without torch; with `verify_hashes` the weights files are read too
    and must be the ones it names. Raises BundleError."""
    manifest, manifest_sha256 = read_manifest(folder)
    if verify_hashes:
        problems = [p for stage in Stage for p in _wrong_bytes(folder, manifest, stage)]
        if problems:
            raise WeightsError.of(manifest.id, problems, mend=_VERIFY)
    return bundle_info_of(manifest, manifest_sha256)


def load_bundle(folder: Path, *, threads: int | None = None) -> Bundle:
    """Verify and load all six networks, in eval mode, without gradients. Raises BundleError."""
    from inference.weights import load_into, misfits, stored_layout

    if threads is not None and threads < 1:
        raise ValueError(f"{threads} threads are none")
    manifest, manifest_sha256 = read_manifest(folder)
    networks: dict[Stage, nn.Module] = {}
    problems: list[str] = []
    for stage in Stage:
        entry = manifest.stages.of(stage)
        file, storage = entry.file, entry.storage
        stored = stored_layout(folder / file)
        if isinstance(stored, str):
            problems.append(_at(stage, f"{file} {stored}"))
            continue
        networks[stage] = _empty_network(stage, manifest)
        wrong = misfits(networks[stage], stored, stage=stage, storage=storage)
        problems += [_at(stage, f"{file} {line}") for line in wrong]
        problems += _wrong_bytes(folder, manifest, stage)
        if not problems and (line := load_into(networks[stage], folder / file, storage=storage)):
            problems.append(_at(stage, f"{file} {line}"))
    if problems:
        raise WeightsError.of(manifest.id, problems, mend=_VERIFY)
    return Bundle(
        info=bundle_info_of(manifest, manifest_sha256),
        manifest=manifest,
        networks=networks,
        threads=threads,
    )


def bundle_info_of(manifest: Manifest, manifest_sha256: Sha256) -> BundleInfo:
    """The manifest in the words that all rooms share."""
    return BundleInfo(
        id=manifest.id,
        version=manifest.version,
        manifest_sha256=manifest_sha256,
        untrained=manifest.untrained,
        domains=manifest.domains,
        models=tuple(
            ModelInfo(
                stage=stage,
                architecture=entry.architecture,
                sha256=Sha256(entry.sha256),
                classes=entry.classes,
                thresholds=entry.thresholds,
            )
            for stage in Stage
            for entry in [manifest.stages.of(stage)]
        ),
        um_per_px=manifest.um_per_px,
        reject_rate=manifest.reject_rate,
        confusion=manifest.confusion,
        commissioned=_commissioning(manifest),
    )


def _commissioning(manifest: Manifest) -> Commissioning | None:
    told = manifest.commissioned
    if told is None:
        return None
    return Commissioning(site=told.site, date=told.date, parent_manifest_sha256=Sha256(told.parent))


def _wrong_bytes(folder: Path, manifest: Manifest, stage: Stage) -> list[str]:
    entry = manifest.stages.of(stage)
    try:
        with (folder / entry.file).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return [_at(stage, f"{entry.file} cannot be read ({error.strerror})")]
    if found == entry.sha256:
        return []
    return [
        _at(
            stage,
            f"manifest wants sha256 {entry.sha256[:8]}… of {entry.file}, file has {found[:8]}…",
        )
    ]


def _at(stage: Stage, line: str) -> str:
    return f"stage {stage.number}: {line}"


def _empty_network(stage: Stage, manifest: Manifest) -> "nn.Module":
    """On the meta device, where nothing is allocated or drawn; ultralytics reads a number while it
    builds, so the (small) detector is built for real."""
    import torch

    from inference.networks.build import network_of

    entry = manifest.stages.of(stage)
    if stage is Stage.DETECTION:
        with torch.random.fork_rng(devices=[]):
            return network_of(stage, entry)
    with torch.device("meta"):
        return network_of(stage, entry)
