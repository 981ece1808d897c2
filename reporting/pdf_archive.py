"""What makes the file one for the archive: PDF/A-2u (ISO 19005-2) and PDF/UA-1 (ISO 14289-1).

XMP metadata that say the same as the document information, an sRGB output intent, the title shown in the
window's bar, and the structure tree. No patient data: it would be read where nobody looks for it.
"""

import re
from datetime import datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from PIL import ImageCms
from reportlab.pdfbase.pdfdoc import (
    PDFArray,
    PDFDictionary,
    PDFName,
    PDFStream,
    PDFString,
    PDFZCompress,
)

from reporting.pdf_tags import Structure
from reporting.report import Report

__all__ = ["KEYWORDS", "archival", "author_of", "subject_of", "with_line_ends"]

KEYWORDS = "research use, not a medical device"


def author_of(report: Report) -> str:
    return f"{report.producer.model} {report.producer.version}"


def subject_of(report: Report) -> str:
    return f"Case {report.case_id}, revision {report.revision}"


def archival(document: Any, report: Report, structure: Structure) -> None:
    """Put all of it into reportlab's document; the last step before it is written."""
    catalog = document.Catalog
    catalog.__NoDefault__ = [*catalog.__NoDefault__, "OutputIntents"]
    catalog.OutputIntents = PDFArray([_output_intent(document)])
    catalog.ViewerPreferences = PDFDictionary({"DisplayDocTitle": "true"})
    metadata = _Plain(content=_xmp(report))
    metadata.dictionary["Type"] = PDFName("Metadata")
    metadata.dictionary["Subtype"] = PDFName("XML")
    catalog.Metadata = document.Reference(metadata, "Metadata")
    document.info._dateFormatter = lambda *_: _pdf_date(report.issued_at)  # noqa: SLF001
    structure.attach(document)


class _Plain(PDFStream):  # type: ignore[misc]  # reportlab has no types
    """A stream without a filter, to be read by who knows nothing of PDF (6.6.2.1)."""

    def format(self, document: Any) -> bytes:
        entries = PDFDictionary({**self.dictionary.dict, "Length": len(self.content)})
        head: bytes = entries.format(document)
        return b"%b\nstream\n%b\nendstream\n" % (head, self.content)


def with_line_ends(pdf: bytes) -> bytes:
    """The same file with an end of line before each `endstream` (6.1.7.1), which reportlab leaves out.

    ValueError when the file is not laid out as reportlab's: one cross-reference table at its end.
    """
    table = re.search(
        rb"xref\n0 (\d+)\n((?:\d{10} \d{5} [nf][ \r]\n)+)(trailer.*)\Z", pdf, re.DOTALL
    )
    if table is None:
        raise ValueError("no cross-reference table at the end of the PDF")
    lines = table[2].splitlines()
    offsets = [int(line[:10]) for line in lines]
    in_file = sorted(offsets[1:])
    moved, parts, at = {0: 0}, [pdf[: in_file[0]]], in_file[0]
    for start, end in zip(in_file, [*in_file[1:], table.start()], strict=True):
        moved[start] = at
        body = pdf[start:end]
        if body.rstrip().endswith(b"endstream\nendobj"):
            cut = body.rindex(b"endstream")
            if body[cut - 1 : cut] != b"\n":
                body = body[:cut] + b"\n" + body[cut:]
        parts.append(body)
        at += len(body)
    entries = [
        b"%010d%b\n" % (moved[o], line[10:18] + b" ")
        for o, line in zip(offsets, lines, strict=True)
    ]
    trailer = re.sub(rb"startxref\n\d+", b"startxref\n%d" % at, table[3])
    return b"".join((*parts, b"xref\n0 %b\n" % table[1], *entries, trailer))


def _output_intent(document: Any) -> Any:
    profile = PDFStream(content=_srgb(), filters=[PDFZCompress])
    profile.dictionary["N"] = 3
    return PDFDictionary(
        {
            "Type": PDFName("OutputIntent"),
            "S": PDFName("GTS_PDFA1"),
            "OutputConditionIdentifier": PDFString("sRGB IEC61966-2.1"),
            "Info": PDFString("sRGB IEC61966-2.1"),
            "DestOutputProfile": document.Reference(profile, "OutputProfile"),
        }
    )


@cache
def _srgb() -> bytes:
    """LittleCMS's own sRGB profile, without the moment at which it was made (ICC.1, 7.2.8)."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = bytes((0x07, 0xEA, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))  # 2026-01-01 00:00:00
    made[84:100] = bytes(16)  # profile id, zero where not computed (7.2.18)
    return bytes(made)


def _pdf_date(moment: datetime) -> str:
    return f"D:{moment:%Y%m%d%H%M%S}+00'00'"


def _xmp(report: Report) -> bytes:
    when = f"{report.issued_at:%Y-%m-%dT%H:%M:%S}+00:00"
    title, author, subject = (
        escape(text) for text in (report.title, author_of(report), subject_of(report))
    )
    tool = escape(report.producer.model)
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:pdf="http://ns.adobe.com/pdf/1.3/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/">
<dc:format>application/pdf</dc:format>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
<dc:creator><rdf:Seq><rdf:li>{author}</rdf:li></rdf:Seq></dc:creator>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{subject}</rdf:li></rdf:Alt></dc:description>
<dc:language><rdf:Bag><rdf:li>en-US</rdf:li></rdf:Bag></dc:language>
<pdf:Producer>{tool}</pdf:Producer>
<pdf:Keywords>{KEYWORDS}</pdf:Keywords>
<pdf:Trapped>False</pdf:Trapped>
<xmp:CreatorTool>{tool}</xmp:CreatorTool>
<xmp:CreateDate>{when}</xmp:CreateDate>
<xmp:ModifyDate>{when}</xmp:ModifyDate>
<pdfaid:part>2</pdfaid:part>
<pdfaid:conformance>U</pdfaid:conformance>
<pdfuaid:part>1</pdfuaid:part>
</rdf:Description>
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"
 xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#"
 xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
<pdfaSchema:schema>PDF/UA Universal Accessibility Schema</pdfaSchema:schema>
<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>
<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">
<pdfaProperty:name>part</pdfaProperty:name>
<pdfaProperty:valueType>Integer</pdfaProperty:valueType>
<pdfaProperty:category>internal</pdfaProperty:category>
<pdfaProperty:description>Part of the ISO 14289 standard</pdfaProperty:description>
</rdf:li></rdf:Seq></pdfaSchema:property>
</rdf:li></rdf:Bag></pdfaExtension:schemas>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>""".encode()
