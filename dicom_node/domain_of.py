"""Which kind of image an instance is: blood smear or flow cytometry.

In      SOP class, modality, container type, private mark, samples
Out     Domain and warnings; UNKNOWN when nothing says it or two things contradict, never a default
Order   SOP class; Modality; Container Type Code (CID 8101); samples and bits. Configuration comes
        before all of them and is the caller's. Series Description is never looked at.
"""

from dicom_node.elements import Elements
from domain.image import Domain

__all__ = [
    "CHANNELS",
    "IFC_CREATOR",
    "IFC_GROUP",
    "IS_BRIGHTFIELD_CHANNEL",
    "MULTI_FRAME_CLASSES",
    "PHOTOGRAPHIC",
    "SLIDE",
    "domain_of",
]

_STORAGE = "1.2.840.10008.5.1.4.1.1"
SLIDE = f"{_STORAGE}.77.1.6"
PHOTOGRAPHIC = f"{_STORAGE}.77.1.4"
_SLIDE_COORDINATES = f"{_STORAGE}.77.1.3"
_GREY_FRAMES = (f"{_STORAGE}.7.2", f"{_STORAGE}.7.3")
MULTI_FRAME_CLASSES = (*_GREY_FRAMES, f"{_STORAGE}.7.4")

# The house mapping of flow cytometry: a private block that names the channels of a batch
IFC_GROUP = 0x0099
IFC_CREATOR = "LEUKONODE IFC 1"
CHANNELS = 0x01  # LO, one name for each channel
IS_BRIGHTFIELD_CHANNEL = 0x02  # IS, number of the brightfield channel, 1-based

_MICROSCOPE_SLIDE, _SPECIMEN_VIAL = "433466003", "434746001"
_OPEN_MODALITIES = ("", "OT", "GM", "XC")  # may be a smear, may be anything else
_SMEAR_MODALITIES = ("SM",)


def domain_of(
    elements: Elements, *, sop_class: str, samples: int
) -> tuple[Domain, tuple[str, ...]]:
    """The domain of one instance, and what a person should know of how it was found."""
    says: dict[str, Domain] = {}
    if sop_class in (SLIDE, _SLIDE_COORDINATES):
        says["SOP class"] = Domain.SMEAR  # a slide's coordinates exist on slides alone
    modality = elements.text("Modality")
    if modality in _SMEAR_MODALITIES:
        says["modality"] = Domain.SMEAR
    elif modality not in _OPEN_MODALITIES:
        says["modality"] = Domain.UNKNOWN
    container = _container_type(elements)
    if container == _MICROSCOPE_SLIDE:
        says["container type"] = Domain.SMEAR
    elif container == _SPECIMEN_VIAL:
        says["container type"] = Domain.IFC_BRIGHTFIELD
    if elements.private(IFC_GROUP, IFC_CREATOR, CHANNELS):
        says["private block"] = Domain.IFC_BRIGHTFIELD

    found = set(says.values())
    if len(found) > 1:
        told = ", ".join(f"{what} says {domain}" for what, domain in says.items())
        return Domain.UNKNOWN, (f"the kind of image is contradictory: {told}",)
    if found:
        domain = found.pop()
        if domain is Domain.UNKNOWN:
            return domain, ("the modality is none of a microscope",)
        return domain, ()
    if samples == 3:
        return Domain.SMEAR, ("taken for a smear because it is in colour; nothing else says so",)
    return Domain.UNKNOWN, ("nothing says what kind of image this is",)


def _container_type(elements: Elements) -> str:
    code = elements.first("ContainerTypeCodeSequence")
    return code.text("CodeValue") if code else ""
