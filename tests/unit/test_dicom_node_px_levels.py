"""One level of each slide is analysed; what is left out says why."""

from dataclasses import replace

from dicom_node.headers import Concatenation, ImageRole, InstanceHeader
from dicom_node.levels import choose_levels
from domain.identities import InstanceUID, SeriesUID, Sha256, SopClassUID, StudyUID
from domain.image import Domain, ImageHeader
from domain.study import Patient, Specimen, StudyContext


def level(uid: str, um: float, **changes) -> InstanceHeader:
    """A level of one slide of 1000 x 800 um."""
    image = ImageHeader(
        source=uid,
        sha256=Sha256("0" * 64),
        width_px=round(1000 / um),
        height_px=round(800 / um),
        frames=1,
        domain=Domain.SMEAR,
        um_per_px=(um, um),
        refusal=changes.pop("refusal", ""),
    )
    container = changes.pop("container", "S1")
    header = InstanceHeader(
        context=StudyContext(
            patient=Patient(),
            study_uid=StudyUID("1.1"),
            specimen=Specimen(identifier="s", uid="1.9", container_identifier=container),
        ),
        image=image,
        sop_class_uid=SopClassUID("1.2.840.10008.5.1.4.1.1.77.1.6"),
        instance_uid=InstanceUID(uid),
        series_uid=SeriesUID("1.2"),
        study_uid=StudyUID("1.1"),
        transfer_syntax="1.2.840.10008.1.2.1",
        role=ImageRole.VOLUME,
        concatenation=None,
        size_bytes=1,
        frame_of_reference_uid="1.5",
    )
    return replace(header, **changes)


def chosen(headers, **options) -> list[str]:
    analysed, left_out = choose_levels(headers, **options)
    assert len(analysed) + len(left_out) == len(headers)
    assert all(reason for _, reason in left_out)
    return [h.instance_uid for h in analysed]


def test_without_a_wanted_scale_the_finest_level_is_read():
    assert chosen([level("1", 1.0), level("2", 0.25), level("3", 0.5)]) == ["2"]


def test_the_coarsest_level_that_is_fine_enough_is_read():
    headers = [level("1", 0.1), level("2", 0.2), level("3", 0.4)]
    assert chosen(headers, um_per_px=0.2) == ["2"]
    assert chosen(headers, um_per_px=0.3) == ["2"]
    assert chosen(headers, um_per_px=0.05) == ["1"]


def test_pyramid_uid_groups_whatever_the_series_says():
    a = level("1", 0.25, pyramid_uid="1.7")
    b = level("2", 0.5, pyramid_uid="1.7", series_uid=SeriesUID("1.3"))
    other = level("3", 0.5, pyramid_uid="1.8")
    assert chosen([a, b, other]) == ["1", "3"]


def test_levels_with_frames_of_reference_of_their_own_are_told_by_their_area():
    a, b = (
        level("1", 0.5, frame_of_reference_uid="1.6"),
        level("2", 1.0, frame_of_reference_uid="1.7"),
    )
    assert chosen([a, b]) == ["1"]
    smaller = replace(b, image=replace(b.image, width_px=600))
    assert chosen([a, smaller]) == ["1", "2"]


def test_two_containers_or_series_are_two_slides():
    headers = [
        level("1", 0.5),
        level("2", 0.5, container="S2"),
        level("3", 1, series_uid=SeriesUID("9")),
    ]
    assert chosen(headers) == ["1", "2", "3"]


def test_all_parts_of_a_concatenation_are_read():
    parts = [
        level(str(n), 0.25, concatenation=Concatenation(uid="1.4", number=n, total=3))
        for n in (1, 2, 3)
    ]
    assert chosen([*parts, level("4", 1.0)]) == ["1", "2", "3"]


def test_the_same_level_twice_is_read_once():
    _, left_out = choose_levels([level("1", 0.25), level("2", 0.25)])
    assert [(h.instance_uid, why) for h, why in left_out] == [
        ("2", "the same level of the slide again")
    ]


def test_a_refused_level_is_not_preferred_but_reported_when_alone():
    refused = level("1", 0.25, refusal="sparse")
    assert chosen([refused, level("2", 0.5)]) == ["2"]
    assert chosen([refused]) == ["1"]


def named(uid: str, role: ImageRole) -> InstanceHeader:
    return level(uid, 0.5, role=role, refusal="" if role is ImageRole.FIELD else "not analysed")


OTHERS = [
    named("7", ImageRole.LABEL),
    named("8", ImageRole.OVERVIEW),
    named("9", ImageRole.THUMBNAIL),
]


def test_labels_overviews_and_thumbnails_are_left_out_beside_anything_else():
    for beside in (
        level("1", 0.5),
        level("1", 0.5, refusal="sparse"),
        named("1", ImageRole.FIELD),
    ):
        analysed, left_out = choose_levels([*OTHERS[:2], beside, OTHERS[2]])
        assert [h.instance_uid for h in analysed] == ["1"]
        assert [(h.instance_uid, why) for h, why in left_out] == [
            ("7", "a slide's label is not analysed"),
            ("8", "a slide's overview is not analysed"),
            ("9", "a slide's thumbnail is not analysed"),
        ]


def test_alone_they_are_reported():
    assert chosen(OTHERS) == ["7", "8", "9"]


def test_fields_are_read():
    assert chosen([named("8", ImageRole.FIELD), named("1", ImageRole.FIELD)]) == ["8", "1"]
