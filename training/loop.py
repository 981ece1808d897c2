"""One training loop for all stages: seeded, resumable after any kill, the same on CPU and CUDA.

In      a Task (its network, its batches, its loss, its score), a Recipe, a folder
Out     in the folder: checkpoint.pt (all that is needed to go on), best.safetensors (the averaged
        weights of the best epoch), last.safetensors, curves.csv, run.json
Errors  CheckpointError for a folder whose run is another one

Nothing random is stored: every step draws from a generator made of (seed, phase, step), and so does
dropout, so a run that was killed at any instant and goes on from its last checkpoint ends with the
same bits as one that was not. The checkpoint is written beside and renamed.
"""

import csv
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.errors import CheckpointError
from training.recipes import Phase, Recipe, digest_of_recipe

__all__ = ["Progress", "Task", "Trained", "device_of", "has_bf16", "run", "weights_in"]

CHECKPOINT = "checkpoint.pt"
BEST = "best.safetensors"
LAST = "last.safetensors"
CURVES = "curves.csv"
RUN = "run.json"
FORMAT = 1
SEED_LIMIT = 2**63
WORST = -1e9

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


class Task(Protocol):
    """What the loop must be given for a stage."""

    data_digest: str  # of the content hashes of all pictures and their labels
    score_follows_size: bool  # whether `score` looks at the phase's input size, or at the service's

    def network(self) -> nn.Module:
        """With its starting weights; the same each time."""
        ...

    def enter(self, phase: Phase) -> None:
        """Called before a phase's first batch, also when a run is gone on with."""
        ...

    def prepare(self, network: nn.Module, device: torch.device) -> None:
        """Called once in a run, in its first phase before the first step: what can be solved at once
        need not be learned in steps."""
        ...

    def batch(self, rng: np.random.Generator, size: int) -> Any:
        """What `loss` takes; everything random in it comes from `rng`."""
        ...

    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> Tensor:
        """A scalar."""
        ...

    def score(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """On `val`; the entry `score` chooses the best epoch, higher is better."""
        ...

    def finished(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What is kept of the network's weights: those of the stage's exact architecture."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Where the weights are, and what was measured at the end of each epoch."""

    best: Path
    epochs: int
    score: float
    curves: tuple[Mapping[str, float], ...]


@dataclass
class _State:
    """Where a run is."""

    phase: int = 0
    epoch: int = 0  # in its phase
    step: int = 0  # in its epoch
    loss: float = 0.0  # summed over the steps of the epoch
    best: float = WORST
    rows: list[dict[str, float]] = field(default_factory=list)


def device_of() -> torch.device:
    """CUDA where there is a device, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16(device: torch.device) -> bool:
    """Whether half precision is faster there: a processor without instructions for it imitates it,
    many times slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "amx_bf16" in told or "avx512_bf16" in told


def run(
    task: Task,
    recipe: Recipe,
    folder: Path,
    *,
    record: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    every_seconds: float = 180.0,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Trained:
    """Train to the end, or until `may_go_on` says no (asked after each step, then a checkpoint is
    written and the run can be gone on with). `record` is what else is to be known of the run, as
    JSON documents by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    device = device_of()
    bf16 = has_bf16(device)
    network = task.network().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types one or the other
    mean = _Mean(network, recipe.average)
    state = _State()
    identity = f"{digest_of_recipe(recipe)} {task.data_digest}"
    kept = _kept(folder, recipe, task.data_digest)
    optimiser: torch.optim.Optimizer | None = None
    if kept:
        network.load_state_dict(kept["network"])
        mean.load(kept["mean"])
        state = _State(**kept["state"])
    run_of = {"format": FORMAT, "identity": identity, "recipe": asdict(recipe)}
    for name, document in {RUN: run_of, **({} if kept else record or {})}.items():
        _write_json(folder / name, document)
    saved_at = time.monotonic()

    def save() -> None:
        _save(folder, identity, network, mean, optimiser, state)

    while state.phase < len(recipe.phases):
        phase = recipe.phases[state.phase]
        task.enter(phase)
        if not kept and state == _State():
            network.eval()
            task.prepare(network, device)
            mean = _Mean(network, recipe.average)
        at_its_start = state.epoch == state.step == 0
        if task.score_follows_size and at_its_start and _grows(recipe, state.phase):
            # what was best at a smaller input says nothing of the size that the service uses
            state.best = WORST
            mean = _Mean(network, recipe.average)
        optimiser = _optimiser(network, recipe, phase)
        if kept and kept["optimiser"] is not None:
            optimiser.load_state_dict(kept["optimiser"])
        kept = None
        steps = max(1, phase.items // phase.batch)
        while state.epoch < phase.epochs:
            while state.step < steps:
                _step(task, network, mean, optimiser, recipe, state, device, bf16=bf16)
                if progress:
                    done = state.epoch * steps + state.step
                    progress(f"phase {state.phase + 1}", done, phase.epochs * steps)
                if not may_go_on():
                    save()
                    return _trained(folder, state)
                if time.monotonic() - saved_at > every_seconds:
                    save()
                    saved_at = time.monotonic()
            _end_of_epoch(task, network, mean, state, steps, device, folder)
            save()
            saved_at = time.monotonic()
        state.phase, state.epoch = state.phase + 1, 0
        optimiser = None
        save()
    return _trained(folder, state)


def _grows(recipe: Recipe, phase: int) -> bool:
    return phase > 0 and recipe.phases[phase].input_px != recipe.phases[phase - 1].input_px


def _step(
    task: Task,
    network: nn.Module,
    mean: "_Mean",
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    state: _State,
    device: torch.device,
    *,
    bf16: bool,
) -> None:
    phase = recipe.phases[state.phase]
    steps = max(1, phase.items // phase.batch)
    number = state.epoch * steps + state.step
    rng = np.random.default_rng([recipe.seed, state.phase, number])
    torch.manual_seed(int(rng.integers(SEED_LIMIT)))
    for group in optimiser.param_groups:
        group["lr"] = _rate(phase, number, phase.epochs * steps, recipe.warm_steps)
    _set_training(network, phase)
    batch = task.batch(rng, phase.batch)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        loss = task.loss(network, batch, device)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    nn.utils.clip_grad_norm_([p for p in network.parameters() if p.requires_grad], 5.0)
    optimiser.step()
    mean.take(network)
    state.loss += float(loss.detach())
    state.step += 1


def _end_of_epoch(
    task: Task,
    network: nn.Module,
    mean: "_Mean",
    state: _State,
    steps: int,
    device: torch.device,
    folder: Path,
) -> None:
    with mean.in_place_of(network), torch.inference_mode():
        network.eval()
        measured = dict(task.score(network, device))
        if measured["score"] > state.best:
            state.best = measured["score"]
            _save_weights(task, network, folder / BEST)
        _save_weights(task, network, folder / LAST)
    number = len(state.rows) + 1
    _log.info("epoch %d: loss %.4f, score %.4f", number, state.loss / steps, measured["score"])
    state.rows.append({"epoch": number, "loss": state.loss / steps, **measured})
    state.epoch, state.step, state.loss = state.epoch + 1, 0, 0.0
    _write_curves(folder / CURVES, state.rows)


def _rate(phase: Phase, step: int, steps: int, warm: int) -> float:
    """A short rise, then half a cosine down to a hundredth."""
    if step < warm:
        return phase.rate * (step + 1) / warm
    share = (step - warm) / max(1, steps - warm)
    return float(phase.rate * (0.01 + 0.99 * (1 + np.cos(np.pi * share)) / 2))


def _optimiser(network: nn.Module, recipe: Recipe, phase: Phase) -> torch.optim.Optimizer:
    """AdamW; biases and norms do not decay."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        learns = not phase.trained or name.startswith(phase.trained)
        parameter.requires_grad_(learns)
        if learns:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=phase.rate)


def _set_training(network: nn.Module, phase: Phase) -> None:
    network.train()
    if phase.frozen_norms:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


class _Mean:
    """Running mean of all floating numbers of a network, batch-norm statistics included."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._taken = 0
        self._values = {n: t.detach().clone() for n, t in network.state_dict().items()}

    def take(self, network: nn.Module) -> None:
        self._taken += 1
        weight = 1 - min(self._decay, (1 + self._taken) / (10 + self._taken))
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                kept = self._values[name]
                if kept.is_floating_point():
                    kept.lerp_(tensor.detach(), weight)
                else:
                    kept.copy_(tensor)

    def state(self) -> dict[str, Any]:
        return {"taken": self._taken, "values": self._values}

    def load(self, state: Mapping[str, Any]) -> None:
        self._taken = int(state["taken"])
        for name, tensor in state["values"].items():
            self._values[name].copy_(tensor)

    def in_place_of(self, network: nn.Module) -> "_Swapped":
        return _Swapped(network, self._values)


class _Swapped:
    """Other weights in a network, for as long as the block lasts."""

    def __init__(self, network: nn.Module, values: Mapping[str, Tensor]) -> None:
        self._network, self._values = network, values
        self._own: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        self._own = {n: t.detach().clone() for n, t in self._network.state_dict().items()}
        self._network.load_state_dict(dict(self._values))

    def __exit__(self, *_: object) -> None:
        self._network.load_state_dict(self._own)


def _kept(folder: Path, recipe: Recipe, data_digest: str) -> dict[str, Any] | None:
    path = folder / CHECKPOINT
    if not path.exists():
        if any(folder.iterdir()) and not (folder / RUN).exists():
            raise CheckpointError(f"{folder} is not empty and holds no run; name a new folder")
        return None
    try:
        kept: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        same = kept["format"] == FORMAT and (
            kept["identity"] == f"{digest_of_recipe(recipe)} {data_digest}"
            or _goes_on_as(folder, kept, recipe, data_digest)
        )
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}); delete the folder and start again"
        ) from error
    if not same:
        raise CheckpointError(
            f"the run in {folder} was started with another recipe or other data; name a new folder"
        )
    return kept


def _goes_on_as(folder: Path, kept: Mapping[str, Any], recipe: Recipe, data_digest: str) -> bool:
    """Whether the two recipes differ only in phases that the run has not begun."""
    if kept["identity"].split()[1] != data_digest:
        return False
    state = _State(**kept["state"])
    begun = state.phase + (state.epoch + state.step > 0)
    new = json.loads(json.dumps(asdict(recipe)))
    old = json.loads((folder / RUN).read_text(encoding="utf-8"))["recipe"]
    later = {f.name: f.default for f in fields(Recipe) if f.name not in old}  # what it was then
    old |= later
    for one in (old, new):
        one["phases"] = one["phases"][:begun]
    return bool(old == new)


def _save(
    folder: Path,
    identity: str,
    network: nn.Module,
    mean: _Mean,
    optimiser: torch.optim.Optimizer | None,
    state: _State,
) -> None:
    whole = {
        "format": FORMAT,
        "identity": identity,
        "network": network.state_dict(),
        "mean": mean.state(),
        "optimiser": optimiser.state_dict() if optimiser else None,
        "state": vars(state),
    }
    beside = folder / f".{CHECKPOINT}.new"
    with beside.open("wb") as file:
        torch.save(whole, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / CHECKPOINT)


def _save_weights(task: Task, network: nn.Module, path: Path) -> None:
    beside = path.with_name(f".{path.name}.new")
    own = {n: t.detach().cpu() for n, t in network.state_dict().items()}
    tensors = {n: t.contiguous() for n, t in task.finished(own).items()}
    save_file(tensors, beside)
    beside.replace(path)


def _write_json(path: Path, document: object) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")
    beside.replace(path)


def _write_curves(path: Path, rows: list[dict[str, float]]) -> None:
    beside = path.with_name(f".{path.name}.new")
    names = list(dict.fromkeys(name for row in rows for name in row))
    with beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    beside.replace(path)


def _trained(folder: Path, state: _State) -> Trained:
    return Trained(
        best=folder / BEST, epochs=len(state.rows), score=state.best, curves=tuple(state.rows)
    )


def weights_in(folder: Path) -> dict[str, Tensor]:
    """The best weights of a run. Raises CheckpointError where there are none yet."""
    path = folder / BEST
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no {BEST} yet; train at least one epoch")
    tensors: dict[str, Tensor] = load_file(path)
    return tensors
