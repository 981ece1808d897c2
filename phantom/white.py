"""Paint white cells, as an atlas of Romanowsky stained smears describes them.

Each kind is a nucleus (outline and chromatin) in a body of cytoplasm with its granules. Sizes are
shares of the cell's radius. Blasts differ a little by subtype, by our own choice: size of the
nucleus, nucleoli, clefts; no published rule tells the subtypes apart by sight.
"""

from collections.abc import Sequence
from math import cos, pi, sin

import numpy as np

from domain.cells import Subtype, WbcClass
from phantom.patch import Ink, Paper
from phantom.placement import Placed
from phantom.shapes import Floats, blob, chain, coverage, grains, texture

__all__ = ["paint_white"]

Rng = np.random.Generator


def paint_white(paper: Paper, rng: Rng, cell: Placed) -> Floats:
    """Signed distance to the cell's outline, after painting it."""
    r = cell.radius_um
    match cell.wbc_class:
        case WbcClass.NEUTROPHIL:
            return _neutrophil(paper, rng, r)
        case WbcClass.IMMATURE_NEUTROPHIL:
            return _band(paper, rng, r)
        case WbcClass.EOSINOPHIL:
            return _eosinophil(paper, rng, r)
        case WbcClass.BASOPHIL:
            return _basophil(paper, rng, r)
        case WbcClass.MONOCYTES:
            return _monocyte(paper, rng, r)
        case WbcClass.LYMPHOCYTES:
            return _lymphocyte(paper, rng, r)
        case WbcClass.MYELOCYTE:
            return _myelocyte(paper, rng, r)
        case WbcClass.PROMYELOCYTE:
            return _promyelocyte(paper, rng, r)
        case WbcClass.NUCLEATED_RED_BLOOD_CELLS:
            return _nucleated_red(paper, rng, r)
        case WbcClass.BLAST_CELLS:
            return _blast(paper, rng, r, cell.subtype or Subtype.PRE_B)
        case _:
            raise ValueError(f"{cell.wbc_class} is not painted as a white cell")


def _body(
    paper: Paper,
    rng: Rng,
    r: float,
    *,
    blue: float = 0.0,
    eosin: float = 0.0,
    haemoglobin: float = 0.0,
    ellipse: float = 0.06,
    rough: float = 0.02,
    deeper_at_rim: float = 0.0,
) -> tuple[Floats, Floats]:
    """Cytoplasm: (signed distance to the outline, coverage)."""
    grid = paper.grid
    outline, share = blob(grid, rng, radius_um=r, ellipse=ellipse, rough=rough)
    body = coverage(outline, grid, edge_um=0.35)
    mottled = body * (
        1 + 0.10 * texture(grid, rng, grain_um=0.45) + 0.10 * texture(grid, rng, grain_um=1.6)
    )
    depth = 1 + deeper_at_rim * (np.minimum(share, 1) ** 4 - 0.5)
    paper.add(Ink.BLUE, blue * mottled * depth)
    paper.add(Ink.EOSIN, eosin * mottled)
    paper.add(Ink.HAEMOGLOBIN, haemoglobin * mottled)
    return outline, body


def _nucleus(
    paper: Paper,
    rng: Rng,
    distance: Floats,
    *,
    density: float,
    clumps: float,
    clump_um: float,
    within: Floats,
) -> Floats:
    """Chromatin inside `distance`, cytoplasm displaced; returns the nucleus's coverage.

    `clumps` is how far dark chromatin and the light seams between stand apart, 0 to 1.
    """
    grid = paper.grid
    distance = distance + 0.06 * texture(grid, rng, grain_um=0.9)
    cover = coverage(distance, grid, edge_um=0.30) * within
    coarse = texture(grid, rng, grain_um=clump_um)
    fine = texture(grid, rng, grain_um=clump_um * 0.45)
    # Light seams run where the noise crosses zero, as between blocks of chromatin.
    seams = np.exp(-((coarse / 0.42) ** 2))
    chromatin = 1 + clumps * (0.22 - 0.75 * seams) + (0.14 * clumps + 0.03) * fine
    membrane = np.exp(-(((distance + 0.25) / 0.28) ** 2))
    amount = np.clip(chromatin + 0.18 * membrane, 0.15, 1.7)
    paper.thin(1 - 0.85 * cover)
    paper.add(Ink.NUCLEUS, density * amount * cover)
    return cover


def _nucleoli(paper: Paper, rng: Rng, r: float, *, number: int, size_um: float) -> None:
    """Paler, bluish discs in the chromatin."""
    for _ in range(number):
        angle, away = rng.uniform(0, 2 * pi), rng.uniform(0.1, 0.5) * r
        distance, _ = blob(
            paper.grid,
            rng,
            radius_um=size_um * rng.uniform(0.8, 1.2),
            at=(away * cos(angle), away * sin(angle)),
            ellipse=0.15,
        )
        cover = coverage(distance, paper.grid, edge_um=0.8)
        paper.thin(1 - rng.uniform(0.2, 0.38) * cover)
        paper.add(Ink.BLUE, 0.22 * cover)


def _arc(
    rng: Rng, *, number: int, sweep: float, radius_um: float, at: tuple[float, float] = (0.0, 0.0)
) -> list[tuple[float, float]]:
    """Points along a part of a circle, the middle of it in a random direction."""
    start = rng.uniform(0, 2 * pi) - sweep / 2
    angles = [start + sweep * n / (number - 1) for n in range(number)]
    return [(at[0] + radius_um * cos(a), at[1] + radius_um * sin(a)) for a in angles]


def _links(number: int, half_um: float) -> list[tuple[int, int, float]]:
    return [(n, n + 1, half_um) for n in range(number - 1)]


def _jittered(
    rng: Rng, points: Sequence[tuple[float, float]], radius_um: float, *, by: float
) -> list[tuple[float, float, float]]:
    return [
        (
            x + rng.normal(0, by * radius_um),
            y + rng.normal(0, by * radius_um),
            radius_um * rng.uniform(1 - by, 1 + by),
        )
        for x, y in points
    ]


def _neutrophil(paper: Paper, rng: Rng, r: float) -> Floats:
    """Three to five lobes on thin threads; pale pink, dusty cytoplasm."""
    outline, body = _body(paper, rng, r, blue=0.10, eosin=0.11, rough=0.025)
    lobes = int(rng.choice([3, 4, 5], p=[0.45, 0.4, 0.15]))
    points = _arc(rng, number=lobes, sweep=rng.uniform(0.75, 0.95) * 1.35 * pi, radius_um=0.46 * r)
    beads = _jittered(rng, points, (0.36 - 0.03 * lobes) * r, by=0.14)
    # Each lobe is longer than wide: a second disc beside the first.
    lobed: list[tuple[float, float, float]] = []
    for x, y, size in beads:
        turn = rng.uniform(0, 2 * pi)
        lobed.append((x + 0.5 * size * cos(turn), y + 0.5 * size * sin(turn), size * 0.85))
    all_beads = beads + lobed
    links = _links(lobes, 0.32) + [(n, lobes + n, 0.0) for n in range(lobes)]
    _dust(paper, rng, body, per_um2=3.0, strength=0.20)
    _nucleus(
        paper,
        rng,
        chain(paper.grid, all_beads, links, melt_um=0.14),
        density=1.0,
        clumps=0.62,
        clump_um=0.62,
        within=body,
    )
    return outline


def _band(paper: Paper, rng: Rng, r: float) -> Floats:
    """A nucleus bent like a horseshoe, of even width."""
    outline, body = _body(paper, rng, r, blue=0.13, eosin=0.11, rough=0.025)
    points = _arc(rng, number=7, sweep=rng.uniform(0.85, 1.25) * pi, radius_um=0.44 * r)
    beads = _jittered(rng, points, 0.235 * r, by=0.08)
    _dust(paper, rng, body, per_um2=3.0, strength=0.22)
    _nucleus(
        paper,
        rng,
        chain(paper.grid, beads, _links(7, 0.0), melt_um=0.22),
        density=0.95,
        clumps=0.6,
        clump_um=0.62,
        within=body,
    )
    return outline


def _eosinophil(paper: Paper, rng: Rng, r: float) -> Floats:
    """Two lobes, seldom three, among coarse orange red granules."""
    outline, body = _body(paper, rng, r, blue=0.08, eosin=0.30, rough=0.03)
    number = int(rng.choice([2, 3], p=[0.85, 0.15]))
    points = _arc(rng, number=number, sweep=(0.62 if number == 2 else 1.1) * pi, radius_um=0.46 * r)
    beads = _jittered(rng, points, (0.40 if number == 2 else 0.31) * r, by=0.08)
    inside = coverage(outline + 0.35, paper.grid)
    dots = grains(paper.grid, rng, per_um2=3.6, sigma_um=0.24, where=inside)
    paper.add(Ink.EOSIN, 0.75 * np.tanh(0.8 * dots) * body)
    _nucleus(
        paper,
        rng,
        chain(paper.grid, beads, _links(number, 0.35), melt_um=0.18),
        density=0.95,
        clumps=0.6,
        clump_um=0.6,
        within=body,
    )
    return outline


def _basophil(paper: Paper, rng: Rng, r: float) -> Floats:
    """Coarse dark granules that hide the nucleus."""
    outline, body = _body(paper, rng, r, blue=0.10, eosin=0.10, rough=0.035)
    beads = _jittered(
        rng, _arc(rng, number=3, sweep=1.1 * pi, radius_um=0.34 * r), 0.36 * r, by=0.1
    )
    _nucleus(
        paper,
        rng,
        chain(paper.grid, beads, _links(3, 0.0), melt_um=0.4),
        density=0.72,
        clumps=0.4,
        clump_um=0.8,
        within=body,
    )
    inside = coverage(outline + 0.15, paper.grid)
    dots = grains(paper.grid, rng, per_um2=2.6, sigma_um=0.28, where=inside)
    paper.add(Ink.PURPLE, 0.95 * np.tanh(1.2 * dots) * body)
    paper.add(Ink.NUCLEUS, 0.20 * np.tanh(dots) * body)
    return outline


def _monocyte(paper: Paper, rng: Rng, r: float) -> Floats:
    """Large; a kidney or folded nucleus, lacy; grey blue cytoplasm with vacuoles."""
    outline, body = _body(
        paper,
        rng,
        r,
        blue=0.5,
        eosin=0.04,
        haemoglobin=0.2,
        ellipse=0.10,
        rough=0.045,
        deeper_at_rim=0.2,
    )
    off = 0.12 * r
    points = _arc(
        rng,
        number=5,
        sweep=rng.uniform(0.75, 1.15) * pi,
        radius_um=0.34 * r,
        at=(rng.normal(0, off), rng.normal(0, off)),
    )
    beads = _jittered(rng, points, rng.uniform(0.31, 0.37) * r, by=0.07)
    _dust(paper, rng, body, per_um2=1.6, strength=0.22)
    nucleus = chain(paper.grid, beads, _links(5, 0.0), melt_um=0.35)
    cover = _nucleus(paper, rng, nucleus, density=0.80, clumps=0.55, clump_um=0.72, within=body)
    for _ in range(int(rng.poisson(4))):
        angle, away = rng.uniform(0, 2 * pi), rng.uniform(0.55, 0.9) * r
        hole, _ = blob(
            paper.grid,
            rng,
            radius_um=rng.uniform(0.25, 0.65),
            at=(away * cos(angle), away * sin(angle)),
        )
        paper.thin(1 - 0.85 * coverage(hole, paper.grid) * (1 - cover))
    return outline


def _lymphocyte(paper: Paper, rng: Rng, r: float) -> Floats:
    """A dense round nucleus with a thin rim of sky blue."""
    outline, body = _body(paper, rng, r, blue=0.85, ellipse=0.05, rough=0.025, deeper_at_rim=0.3)
    size = rng.uniform(0.80, 0.88) * r
    away, angle = 0.85 * (r - size), rng.uniform(0, 2 * pi)
    nucleus, _ = blob(
        paper.grid,
        rng,
        radius_um=size,
        at=(away * cos(angle), away * sin(angle)),
        ellipse=0.04,
        rough=0.025,
    )
    _nucleus(paper, rng, nucleus, density=1.02, clumps=0.42, clump_um=0.95, within=body)
    return outline


def _myelocyte(paper: Paper, rng: Rng, r: float) -> Floats:
    """An oval nucleus to one side; pinkish blue cytoplasm with fine granules."""
    outline, body = _body(paper, rng, r, blue=0.36, eosin=0.13, rough=0.03)
    size = rng.uniform(0.60, 0.68) * r
    angle = rng.uniform(0, 2 * pi)
    nucleus, _ = blob(
        paper.grid,
        rng,
        radius_um=size,
        at=(0.28 * r * cos(angle), 0.28 * r * sin(angle)),
        ellipse=0.16,
        rough=0.03,
    )
    _dust(paper, rng, body, per_um2=3.2, strength=0.34)
    _nucleus(paper, rng, nucleus, density=0.86, clumps=0.55, clump_um=0.7, within=body)
    return outline


def _promyelocyte(paper: Paper, rng: Rng, r: float) -> Floats:
    """Large, a round nucleus with a nucleolus, azurophil granules over everything."""
    outline, body = _body(paper, rng, r, blue=0.70, eosin=0.05, rough=0.03, deeper_at_rim=0.5)
    size = rng.uniform(0.64, 0.72) * r
    angle = rng.uniform(0, 2 * pi)
    x, y = 0.2 * r * cos(angle), 0.2 * r * sin(angle)
    # The paler Golgi zone lies in the wider part of the cytoplasm.
    hof, _ = blob(paper.grid, rng, radius_um=0.4 * r, at=(-2.6 * x, -2.6 * y))
    paper.thin(1 - 0.45 * coverage(hof, paper.grid, edge_um=2.0))
    nucleus, _ = blob(paper.grid, rng, radius_um=size, at=(x, y), ellipse=0.08, rough=0.025)
    _nucleus(paper, rng, nucleus, density=0.72, clumps=0.42, clump_um=0.55, within=body)
    _nucleoli(paper, rng, 0.5 * size, number=int(rng.integers(1, 3)), size_um=0.95)
    inside = coverage(outline + 0.3, paper.grid)
    dots = grains(paper.grid, rng, per_um2=1.1, sigma_um=0.19, where=inside)
    paper.add(Ink.PURPLE, 0.75 * np.tanh(dots) * body)
    return outline


def _nucleated_red(paper: Paper, rng: Rng, r: float) -> Floats:
    """A small, nearly black nucleus in cytoplasm between grey blue and pink."""
    outline, body = _body(
        paper, rng, r, blue=rng.uniform(0.18, 0.5), haemoglobin=rng.uniform(0.7, 1.0), rough=0.02
    )
    size = rng.uniform(0.44, 0.54) * r
    angle = rng.uniform(0, 2 * pi)
    away = rng.uniform(0, 0.25) * r
    nucleus, _ = blob(
        paper.grid,
        rng,
        radius_um=size,
        at=(away * cos(angle), away * sin(angle)),
        ellipse=0.05,
        rough=0.02,
    )
    _nucleus(paper, rng, nucleus, density=1.3, clumps=0.5, clump_um=0.8, within=body)
    return outline


def _blast(paper: Paper, rng: Rng, r: float, subtype: Subtype) -> Floats:
    """A large nucleus of fine chromatin with nucleoli, in scant deep blue cytoplasm."""
    low, high, most_nucleoli, cleft_p = {
        Subtype.EARLY_PRE_B: (0.89, 0.94, 1, 0.25),
        Subtype.PRE_B: (0.84, 0.90, 2, 0.4),
        Subtype.PRO_B: (0.78, 0.86, 3, 0.6),
    }[subtype]
    outline, body = _body(
        paper,
        rng,
        r,
        blue=rng.uniform(0.75, 1.1),
        ellipse=0.12,
        rough=0.05,
        deeper_at_rim=0.5,
    )
    size = rng.uniform(low, high) * r
    away, angle = 0.8 * (r - size), rng.uniform(0, 2 * pi)
    at = (away * cos(angle), away * sin(angle))
    nucleus, _ = blob(paper.grid, rng, radius_um=size, at=at, ellipse=0.10, rough=0.05)
    if rng.random() < cleft_p:
        nucleus = np.maximum(nucleus, -_cleft(paper, rng, size, at))
    # Beyond its fine grain a blast's nucleus is cloudy: folds lie over each other.
    cloud = texture(paper.grid, rng, grain_um=1.9)
    before = paper.inks[Ink.NUCLEUS].copy()
    cover = _nucleus(
        paper,
        rng,
        nucleus,
        density=rng.uniform(0.66, 0.85),
        clumps=0.36,
        clump_um=0.48,
        within=body,
    )
    paper.inks[Ink.NUCLEUS] = before + (paper.inks[Ink.NUCLEUS] - before) * (
        1 + 0.13 * cover * np.tanh(cloud)
    )
    number = int(rng.integers(0 if subtype is Subtype.EARLY_PRE_B else 1, most_nucleoli + 1))
    _nucleoli(paper, rng, size, number=number, size_um=0.07 * size + 0.4)
    return outline


def _cleft(paper: Paper, rng: Rng, size: float, at: tuple[float, float]) -> Floats:
    """A narrow notch from the nucleus's border inwards."""
    turn, depth = rng.uniform(0, 2 * pi), rng.uniform(0.3, 0.6)
    lean = turn + rng.normal(0, 0.25)
    return chain(
        paper.grid,
        [
            (at[0] + 1.05 * size * cos(turn), at[1] + 1.05 * size * sin(turn), 0.42),
            (at[0] + (1 - depth) * size * cos(lean), at[1] + (1 - depth) * size * sin(lean), 0.08),
        ],
        [(0, 1, 0.0)],
    )


def _dust(paper: Paper, rng: Rng, body: Floats, *, per_um2: float, strength: float) -> None:
    """Fine granules in the cytoplasm."""
    dots = grains(paper.grid, rng, per_um2=per_um2, sigma_um=0.13, where=body)
    paper.add(Ink.PURPLE, strength * np.tanh(dots) * body)
    paper.add(Ink.EOSIN, 0.3 * strength * np.tanh(dots) * body)
