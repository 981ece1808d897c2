"""Where the tiles of a slide lie in its total pixel matrix.

In      elements, the layout of a tile, the number of frames
Out     Tiling, or why the slide is not read
Refuses MalformedObject when matrix, tiles and frames contradict each other
Source  PS3.3 C.7.6.17.3 (TILED_FULL): row by row, then focal planes, then optical paths; edge tiles
        are padded beyond the matrix. Absent Dimension Organization Type is not TILED_FULL.
"""

from dataclasses import dataclass

from dicom_node.codecs import FrameLayout
from dicom_node.elements import Elements
from dicom_node.faults import Fault, malformed
from dicom_node.limits import Limits

__all__ = ["SPARSE_REFUSAL", "Tiling", "tiling_of"]

SPARSE_REFUSAL = "sparse tiling is not read in this version"
_MIN_TILE_PX = 16  # a slide of smaller ones is made to keep a reader busy


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """A TILED_FULL matrix; `offset` and `frames` are this instance's share of a concatenation."""

    width_px: int
    height_px: int
    tile_width_px: int
    tile_height_px: int
    plane: int  # index of the focal plane that is read
    planes: int
    offset: int
    frames: int

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-self.width_px // self.tile_width_px)

    @property
    def down(self) -> int:
        """Rows of tiles."""
        return -(-self.height_px // self.tile_height_px)

    @property
    def own_rows(self) -> range:
        """Rows of tiles that have a frame in this instance, whatever the size of the matrix."""
        before = self.plane * self.down * self.across
        first = max(0, self.offset - before)
        stop = min(self.down * self.across, self.offset + self.frames - before)
        if first >= stop:
            return range(0)
        return range(first // self.across, (stop - 1) // self.across + 1)

    def frame(self, column: int, row: int) -> int | None:
        """Index in this instance of the tile's frame; None when another part holds it."""
        whole = (self.plane * self.down + row) * self.across + column
        index = whole - self.offset
        return index if 0 <= index < self.frames else None


def tiling_of(
    elements: Elements, *, layout: FrameLayout, frames: int, in_parts: bool, limits: Limits
) -> Tiling | str:
    """The tiling, or the reason why the slide is not analysed."""
    sides = []
    for keyword in ("TotalPixelMatrixColumns", "TotalPixelMatrixRows"):
        side = elements.integer(keyword)
        if not side:
            raise malformed(Fault.ATTRIBUTE_MISSING, f"{keyword} is missing or zero", keyword)
        if side > limits.matrix_px:
            raise malformed(Fault.OVER_LIMIT, "the total pixel matrix is too large", keyword)
        sides.append(side)
    if elements.text("DimensionOrganizationType") != "TILED_FULL":
        return SPARSE_REFUSAL
    paths = elements.integer("NumberOfOpticalPaths") or 1
    planes = elements.integer("TotalPixelMatrixFocalPlanes") or 1
    tiling = Tiling(
        width_px=sides[0],
        height_px=sides[1],
        tile_width_px=layout.columns,
        tile_height_px=layout.rows,
        plane=planes // 2,
        planes=planes,
        offset=(elements.integer("ConcatenationFrameOffsetNumber") or 0) if in_parts else 0,
        frames=frames,
    )
    if tiling.across * tiling.down > limits.frames:
        raise malformed(
            Fault.OVER_LIMIT, "the total pixel matrix has too many tiles", "TotalPixelMatrixRows"
        )
    whole = tiling.across * tiling.down * planes * paths
    if (tiling.offset + frames > whole) if in_parts else (frames != whole):
        raise malformed(
            Fault.IMAGE_CONTRADICTION,
            "the number of frames is not that of the tiles of the total pixel matrix",
            "NumberOfFrames",
        )
    if min(layout.columns, layout.rows) < _MIN_TILE_PX:
        return f"tiles of less than {_MIN_TILE_PX} px are not read"
    if paths > 1:
        return "slides with several optical paths are not read in this version"
    return tiling
