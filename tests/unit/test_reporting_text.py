"""Text of any script on the page: which face draws it, in which order, and what is read back."""

import unicodedata

import pytest

from reporting.bidi import has_rtl, visual
from reporting.fonts import BOLD, REGULAR, _letters, drawable, face, face_of, runs, text_width
from reporting.pdf_paragraph import fitted

# Python's names of the repertoires of PS3.3 C.12.1.1.2; JIS X 0208 and 0212 are in euc_jp
REPERTOIRES = (
    "iso8859_1", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_6", "iso8859_7",
    "iso8859_8", "iso8859_9", "iso8859_15", "tis_620", "euc_jp", "euc_kr", "gb2312", "gbk",
)  # fmt: skip
UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


def characters(codec: str) -> set[str]:
    """Everything that can be seen of a repertoire of one, two or three bytes a character."""
    leads = [bytes([a]) for a in range(256)]
    pairs = [bytes([a, b]) for a in range(0x81, 0xFF) for b in range(0x40, 0xFF)]
    triples = [bytes([0x8F, a, b]) for a in range(0xA1, 0xFF) for b in range(0xA1, 0xFF)]
    wide = [*pairs, *triples] if codec.startswith(("euc", "gb")) else []
    found = set()
    for code in (*leads, *wide):
        try:
            found.update(code.decode(codec))
        except UnicodeDecodeError:
            continue
    return {c for c in found if unicodedata.category(c) not in UNSEEN}


@pytest.mark.parametrize("codec", REPERTOIRES)
def test_reporting_faces_have_dicoms_repertoires(codec):
    missing = {c for c in characters(codec) if face_of(c) is None}
    assert missing <= {"\u301c"}  # the wave dash of JIS, printed as its number


def test_reporting_runs_name_the_face_of_each_character():
    said = list(runs("Yamada 山田", bold=True))
    assert [text for _, text in said] == ["Yamada ", "山田"]
    assert said[0][0] == BOLD
    assert said[1][0] not in {BOLD, REGULAR}
    assert text_width("山田", 10) == 20


def test_reporting_character_without_a_face_is_a_number():
    assert drawable("a\U0001f9a0\U0001f9a0b") == "a[U+1F9A0 U+1F9A0]b"
    assert ord("\U0001f9a0") not in face().characters


def test_reporting_left_to_right_text_stays_as_it_is():
    for text in ("Müller, Anna", "山田 太郎", "12 %", ""):
        assert visual(text) == text
        assert not has_rtl(text)


def test_reporting_hebrew_is_seen_from_right_to_left_and_numbers_are_not():
    assert visual("אבג 12") == "12 גבא"
    assert visual("ID אבג") == "ID גבא"


def test_reporting_arabic_letters_are_joined():
    seen = visual("محمد")
    assert [unicodedata.name(c).split()[-2] for c in seen] == [
        "FINAL",
        "MEDIAL",
        "MEDIAL",
        "INITIAL",
    ]
    assert unicodedata.normalize("NFKC", seen)[::-1] == "محمد"
    assert all(face_of(c) for c in visual("قباني، لنزار آلاء"))


def test_reporting_joined_letters_read_as_letters():
    assert _letters(0xFEE3) == "م"
    assert _letters(0xFEFB) == "\ufefb"  # a ligature stays itself, see there
    assert _letters(ord("A")) == "A"


def test_reporting_fitted_text_ends_with_an_ellipsis():
    shown = fitted("W" * 64, 100, 9)
    assert shown.endswith("…")
    assert text_width(shown, 9) <= 100
    assert fitted("short", 100, 9) == "short"
