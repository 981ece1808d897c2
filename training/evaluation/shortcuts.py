"""How far one gets without looking at cells, and what is left when the easy ways are closed.

Baselines   a linear classifier on a colour histogram, on the lower right corner, on the border ring; and
            one that tells the laboratory from what the network itself sees
Tests       the same pictures with the corner painted, the corner of another class's picture in its
            place, the white point evened, the stain swapped, in grey, blurred, and cut into tiles that
            change places
A good network is far above the baselines, hardly changes its answers in all tests but the last, and
collapses in that. The classifier is ridge regression on one-hot targets: it has a closed form and
no chance in it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from domain.image import Pixels
from training.augment import restained
from training.tensors import pictures_of

__all__ = [
    "BASELINES",
    "TESTS",
    "corner_pasted",
    "cross_validated",
    "linear_baseline",
    "linear_scores",
]

Features = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Change = Callable[[Pixels], Pixels]

RIDGE = 1.0
BINS = 16


def colour_histogram(pixels: Pixels) -> Features:
    """(48,) shares of each channel's levels: no shape at all."""
    parts = [np.histogram(pixels[:, :, c], bins=BINS, range=(0, 256))[0] for c in range(3)]
    shares: Features = np.concatenate(parts) / float(pixels.shape[0] * pixels.shape[1])
    return shares


def corner(pixels: Pixels) -> Features:
    """The lower right eighth, as 8 x 8 values of each channel."""
    height, width = pixels.shape[:2]
    part = pixels[height - height // 8 :, width - width // 5 :]
    small = cv2.resize(part, (8, 8), interpolation=cv2.INTER_AREA).astype(np.float64)
    return small.ravel() / 255


def border_ring(pixels: Pixels) -> Features:
    """(48,) the colour histogram of the outermost twelfth, where no cell of interest is."""
    width = max(1, min(pixels.shape[:2]) // 12)
    ring = np.concatenate(
        [
            pixels[:width].reshape(-1, 3),
            pixels[-width:].reshape(-1, 3),
            pixels[:, :width].reshape(-1, 3),
            pixels[:, -width:].reshape(-1, 3),
        ]
    )
    return colour_histogram(ring[None])


BASELINES: Mapping[str, Callable[[Pixels], Features]] = MappingProxyType(
    {"colour histogram": colour_histogram, "corner": corner, "border ring": border_ring}
)


def linear_baseline(
    train: Features, train_truth: Indices, val: Features, *, classes: int
) -> Indices:
    """What ridge regression on standardised features says of `val`. Classes weigh alike."""
    told: Indices = linear_scores(train, train_truth, val, classes=classes).argmax(axis=1)
    return told


def linear_scores(
    train: Features, train_truth: Indices, val: Features, *, classes: int
) -> Features:
    """(N, classes): the higher, the more of that class."""
    mean, spread = train.mean(axis=0), train.std(axis=0) + 1e-6
    x = np.c_[(train - mean) / spread, np.ones(len(train))]
    y = np.eye(classes)[train_truth] * 2 - 1
    weight = (1 / np.maximum(np.bincount(train_truth, minlength=classes), 1))[train_truth]
    weight = weight / weight.mean()
    gram = x.T @ (x * weight[:, None]) + RIDGE * np.eye(x.shape[1])
    solved = np.linalg.solve(gram, x.T @ (y * weight[:, None]))
    scores: Features = np.c_[(val - mean) / spread, np.ones(len(val))] @ solved
    return scores


def cross_validated(
    features: Features, truth: Indices, groups: Indices, *, classes: int, folds: int = 5
) -> Indices:
    """What a linear classifier says of each item when it was fitted on the others' folds; all items of
    a group are in one fold."""
    names = np.unique(groups)
    fold_of = dict(zip(names.tolist(), (np.arange(len(names)) % folds).tolist(), strict=True))
    fold = np.array([fold_of[g] for g in groups.tolist()])
    told = np.full(len(truth), -1)
    for n in range(folds):
        held = fold == n
        if held.any() and not held.all():
            told[held] = linear_baseline(
                features[~held], truth[~held], features[held], classes=classes
            )
    return told


def corner_painted(pixels: Pixels) -> Pixels:
    """Black where a scale bar would be."""
    done = pixels.copy()
    height, width = pixels.shape[:2]
    done[height - height // 8 :, width - width // 5 :] = 0
    return done


def corner_pasted(pixels: Pixels, donor: Pixels) -> Pixels:
    """The lower right corner of `donor` in the place of its own."""
    done = pixels.copy()
    part = donor[donor.shape[0] - donor.shape[0] // 8 :, donor.shape[1] - donor.shape[1] // 5 :]
    height, width = pixels.shape[0] // 8, pixels.shape[1] // 5
    done[pixels.shape[0] - height :, pixels.shape[1] - width :] = cv2.resize(
        part, (width, height), interpolation=cv2.INTER_AREA
    )
    return done


def white_point_evened(pixels: Pixels) -> Pixels:
    """Its light ground made the same neutral in every picture."""
    white = np.maximum(np.percentile(pixels.reshape(-1, 3), 95, axis=0), 1)
    done: Pixels = np.clip(pixels / white * 235, 0, 255).astype(np.uint8)
    return done


def stain_swapped(pixels: Pixels) -> Pixels:
    """A fixed mixing of the optical densities, as another laboratory's stain would give."""
    mixing = np.array(
        [[[0.9, 0.15, 0.0], [-0.05, 0.95, 0.15], [0.12, -0.1, 1.05]]], dtype=np.float32
    )
    picture = restained(
        pictures_of(pixels[None]),
        mixing=mixing,
        gain=np.array([1.15], np.float32),
        offset=np.array([[0.03, 0.0, 0.06]], np.float32),
    )
    done: Pixels = (picture[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return done


def grey(pixels: Pixels) -> Pixels:
    """Without colour."""
    return np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)


def soft(pixels: Pixels) -> Pixels:
    """Slightly out of focus: a sigma of an eightieth of the picture."""
    sigma = max(0.5, min(pixels.shape[:2]) / 80)
    return cv2.GaussianBlur(pixels, (0, 0), sigma).astype(np.uint8, copy=False)


def tiles_shuffled(pixels: Pixels) -> Pixels:
    """8 x 8 tiles in a fixed wrong order: colours stay, shapes go."""
    height, width = pixels.shape[0] // 8 * 8, pixels.shape[1] // 8 * 8
    cut = pixels[:height, :width].reshape(8, height // 8, 8, width // 8, 3)
    pieces = cut.transpose(0, 2, 1, 3, 4).reshape(64, height // 8, width // 8, 3)
    pieces = pieces[np.random.default_rng(64).permutation(64)]
    whole = pieces.reshape(8, 8, height // 8, width // 8, 3).transpose(0, 2, 1, 3, 4)
    done = pixels.copy()
    done[:height, :width] = whole.reshape(height, width, 3)
    return done


TESTS: Mapping[str, Change] = MappingProxyType(
    {
        "corner painted": corner_painted,
        "white point evened": white_point_evened,
        "stain swapped": stain_swapped,
        "grey": grey,
        "blurred": soft,
        "tiles shuffled": tiles_shuffled,
    }
)
