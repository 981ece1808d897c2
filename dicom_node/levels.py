"""Of a slide's pyramid, the one level that is to be analysed.

Pure: headers in, headers out.
"""

from collections.abc import Sequence

from dicom_node.headers import InstanceHeader

__all__ = ["choose_levels"]


def choose_levels(
    headers: Sequence[InstanceHeader], *, um_per_px: float | None = None
) -> tuple[tuple[InstanceHeader, ...], tuple[tuple[InstanceHeader, str], ...]]:
    """(to be analysed, (left out, why)), each in the order given.

    `um_per_px` is the scale of the networks: of each slide the coarsest level that is no coarser
    is taken, without one the finest. All that is no slide is to be analysed.
    """
    raise NotImplementedError
