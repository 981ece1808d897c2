"""The pieces that the SR's content tree is made of: numbers, codes, words, containers, groups.

A number without a value has the reason for it (CID 42) and is never 0. Percentages carry their
interval as the two uncertainty distances of CID 225.
"""

from collections.abc import Iterable

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    TextContentItem,
    TrackingIdentifier,
)
from highdicom.sr.enum import RelationshipTypeValues as Relation

from domain.study import Code, EvidenceRef
from reporting import codes
from reporting.figures import one_decimal
from reporting.headers import concept

__all__ = [
    "code_item",
    "container",
    "image",
    "measurement_group",
    "number",
    "percent",
    "words",
    "writable",
]


def writable(text: str) -> str:
    """Text that a UTF-8 data set can hold: a lone surrogate becomes a question mark, control
    characters but tab and line ends a blank (PS3.5 6.1.2.3)."""
    cleaned = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c >= " " or c in "\t\n\r" else " " for c in cleaned)


def container(name: Code) -> ContainerContentItem:
    item = ContainerContentItem(name=concept(name), relationship_type=Relation.CONTAINS)
    item.ContentSequence = ContentSequence()
    return item


def words(name: Code, value: str) -> TextContentItem:
    return TextContentItem(
        name=concept(name), value=writable(value), relationship_type=Relation.CONTAINS
    )


def code_item(name: Code, value: Code, relation: Relation = Relation.CONTAINS) -> CodeContentItem:
    return CodeContentItem(name=concept(name), value=concept(value), relationship_type=relation)


def image(name: Code, source: EvidenceRef) -> ImageContentItem:
    return ImageContentItem(
        name=concept(name),
        referenced_sop_class_uid=source.sop_class_uid,
        referenced_sop_instance_uid=source.instance_uid,
        relationship_type=Relation.CONTAINS,
    )


def measurement_group(
    *,
    tracking: tuple[str, str],
    algorithm: AlgorithmIdentification,
    items: Iterable[ContentItem],
    finding: Code | None = None,
    template: str = "1501",
) -> ContainerContentItem:
    """TID 1501 or 1410. `tracking` is (UID, name)."""
    group = ContainerContentItem(
        name=concept(codes.MEASUREMENT_GROUP),
        relationship_type=Relation.CONTAINS,
        template_id=template,
    )
    content = ContentSequence()
    content.extend(TrackingIdentifier(uid=tracking[0], identifier=tracking[1]))
    if finding is not None:
        content.append(code_item(codes.FINDING, finding))
    content.extend(algorithm)
    content.extend(items)
    group.ContentSequence = content
    return group


def percent(code: Code, middle: float, low: float, high: float) -> NumContentItem:
    """The value as printed and the distances to the limits as printed, so that adding them gives
    exactly the limits of the other drawings."""
    value, lower, upper = (float(one_decimal(x)) for x in (middle, low, high))
    item = number(code, value, codes.PERCENT, missing=None)
    for name, distance in (
        (codes.UNCERTAINTY_ABOVE, upper - value),
        (codes.UNCERTAINTY_BELOW, value - lower),
    ):
        item.ContentSequence.append(
            NumContentItem(
                name=concept(name),
                value=float(one_decimal(distance)),
                unit=concept(codes.PERCENT),
                relationship_type=Relation.HAS_PROPERTIES,
            )
        )
    return item


def number(code: Code, value: float | None, unit: Code, *, missing: Code | None) -> NumContentItem:
    """TID 300. Without a value the reason is `missing`, else that there was nothing to divide by."""
    reason = missing or (codes.DIVIDE_BY_ZERO if value is None else None)
    item = NumContentItem(
        name=concept(code),
        value=0 if value is None else value,
        unit=concept(unit),
        qualifier=None if reason is None else concept(reason),
        relationship_type=Relation.CONTAINS,
    )
    if reason is not None:
        item.MeasuredValueSequence = []
    elif value is not None:  # as printed; the library writes a count as 204.0
        item.MeasuredValueSequence[0].NumericValue = str(value)
    item.ContentSequence = ContentSequence(
        [
            CodeContentItem(
                name=concept(codes.MEASUREMENT_METHOD),
                value=concept(codes.AUTOMATED),
                relationship_type=Relation.HAS_CONCEPT_MOD,
            )
        ]
    )
    return item
