"""Make a multi-frame object of imaging flow cytometry.

In      frames, one for each cell and channel
Out     one Multi-frame Grayscale Word SC object
The standard has no class for flow cytometry; this is the house mapping of docs/images.md.
Source  PS3.3 A.8.4, C.7.6.16 (functional groups), C.7.6.17 (dimensions), C.8.6.3
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_node.domain_of import CHANNELS, IFC_CREATOR, IFC_GROUP, IS_BRIGHTFIELD_CHANNEL
from dicom_node.made_objects import VIAL_CONTAINER, BadLabelError, Labels, new_object, write
from domain.identities import derived_uid

__all__ = ["dicomize_flow_cytometry"]

_GRAYSCALE_WORD = "1.2.840.10008.5.1.4.1.1.7.3"
_EXPLICIT = "1.2.840.10008.1.2.1"
_BRIGHTFIELD = "brightfield"
_STACK_ID, _IN_STACK = 0x00209056, 0x00209057
_FRAME_CONTENT, _PER_FRAME = 0x00209111, 0x52009230


def dicomize_flow_cytometry(
    frames: Sequence[npt.NDArray[np.uint16]],
    *,
    um_per_px: float,
    out: Path,
    labels: Labels,
    now: datetime,
    bits_stored: int = 16,
    channels: Sequence[str] = ("Brightfield",),
) -> Path:
    """One multi-frame grayscale word object, frame = one cell x one channel, cell after cell.

    `bits_stored` is the camera's depth: 0 is shown black and 2 ** bits_stored - 1 white.
    """
    _check(frames, um_per_px=um_per_px, bits_stored=bits_stored, channels=channels)
    digest = hashlib.sha256(b"".join(f.tobytes() for f in frames)).hexdigest()
    made = new_object(
        labels,
        sop_class=_GRAYSCALE_WORD,
        modality="OT",
        now=now,
        content=[digest, f"{um_per_px} {bits_stored} {channels}"],
        container=VIAL_CONTAINER,
    )
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.ConversionType = "WSD"
    # a cell has no place but its own canvas: a frame of reference of its own, at its origin, which
    # validators ask for wherever multi-frame SC has functional groups
    made.FrameOfReferenceUID = derived_uid("dicomize frame of reference", made.SeriesInstanceUID)
    made.PositionReferenceIndicator = ""
    _add_dimensions(made)
    _add_groups(made, um_per_px, len(frames), channels)
    block = made.private_block(IFC_GROUP, IFC_CREATOR, create=True)
    block.add_new(CHANNELS, "LO", list(channels))
    brightfield = [c.lower() for c in channels].index(_BRIGHTFIELD) + 1
    block.add_new(IS_BRIGHTFIELD_CHANNEL, "IS", str(brightfield))

    made.NumberOfFrames = len(frames)
    made.FrameIncrementPointer = Tag(_PER_FRAME)
    made.Rows, made.Columns = frames[0].shape
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated, made.BitsStored = 16, bits_stored
    made.HighBit, made.PixelRepresentation = bits_stored - 1, 0
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = "0", "1", "US"
    made.PresentationLUTShape = "IDENTITY"
    made.LossyImageCompression = "00"
    made.PixelData = b"".join(np.ascontiguousarray(f, "<u2").tobytes() for f in frames)
    made["PixelData"].VR = "OW"
    path = out / f"{made.SOPInstanceUID}.dcm"
    write(made, path, transfer_syntax=_EXPLICIT)
    return path


def _check(
    frames: Sequence[npt.NDArray[np.uint16]],
    *,
    um_per_px: float,
    bits_stored: int,
    channels: Sequence[str],
) -> None:
    if not (isfinite(um_per_px) and um_per_px > 0):
        raise BadLabelError("flow cytometry needs a positive number of micrometres per pixel")
    if not 9 <= bits_stored <= 16:
        raise BadLabelError("bits stored are 9 to 16")
    if [c.lower() for c in channels].count(_BRIGHTFIELD) != 1:
        raise BadLabelError("one of the channels, and one only, is named Brightfield")
    if not frames or len(frames) % len(channels):
        raise BadLabelError("every cell needs one frame for each channel")
    if len({f.shape for f in frames}) != 1 or frames[0].ndim != 2:
        raise BadLabelError("all frames need the same size; pad them with the background")
    if max(int(f.max()) for f in frames) >= 1 << bits_stored:
        raise BadLabelError("a pixel is brighter than the bits stored allow")


def _add_dimensions(made: Dataset) -> None:
    uid = derived_uid("dicomize dimensions", made.SeriesInstanceUID)
    organization = Dataset()
    organization.DimensionOrganizationUID = uid
    made.DimensionOrganizationSequence = [organization]
    made.DimensionIndexSequence = []
    for pointer, label in ((_STACK_ID, "Cell"), (_IN_STACK, "Channel")):
        index = Dataset()
        index.DimensionOrganizationUID = uid
        index.DimensionIndexPointer = Tag(pointer)
        index.FunctionalGroupPointer = Tag(_FRAME_CONTENT)
        index.DimensionDescriptionLabel = label
        made.DimensionIndexSequence.append(index)


def _add_groups(made: Dataset, um_per_px: float, frames: int, channels: Sequence[str]) -> None:
    shared, measures, place, turn = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [f"{um_per_px / 1000:.10g}"] * 2
    shared.PixelMeasuresSequence = [measures]
    place.ImagePositionPatient = ["0", "0", "0"]
    shared.PlanePositionSequence = [place]
    turn.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    shared.PlaneOrientationSequence = [turn]
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = []
    for index in range(frames):
        cell, channel = divmod(index, len(channels))
        content, groups = Dataset(), Dataset()
        content.StackID = str(cell + 1)
        content.InStackPositionNumber = channel + 1
        content.DimensionIndexValues = [cell + 1, channel + 1]
        content.FrameComments = channels[channel]
        groups.FrameContentSequence = [content]
        made.PerFrameFunctionalGroupsSequence.append(groups)
