"""The logical structure of the PDF: what a screen reader reads, in which order (ISO 32000-1, 14.7).

Whatever is drawn is either inside `Structure.mark` (text and pictures of the report) or inside
`artifact` (rules, bars, page head and foot). A place in the tree is a path of (role, key): parts of one
paragraph on two pages have one path, and so one element.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from reportlab.pdfbase.pdfdoc import PDFArray, PDFDictionary, PDFName, PDFObjectReference, PDFString

__all__ = ["Path", "Structure", "artifact", "structure_of"]

Path = tuple[tuple[str, object], ...]  # (standard structure type, what tells it from its siblings)


@dataclass(eq=False)
class _Element:
    role: str
    number: int
    parent: "_Element | None"
    alt: str = ""
    kids: "list[_Element | tuple[int, int]]" = field(default_factory=list)  # or (page, MCID)
    named: "dict[tuple[str, object], _Element]" = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"StructElem{self.number}"


class Structure:
    """The elements of one document, gathered while it is drawn."""

    def __init__(self) -> None:
        self._elements: list[_Element] = []
        self._document = self._new("Document", None)
        self._pages: dict[int, list[_Element]] = {}  # page number -> element of each MCID

    def _new(self, role: str, parent: _Element | None) -> _Element:
        made = _Element(role=role, number=len(self._elements), parent=parent)
        self._elements.append(made)
        if parent is not None:
            parent.kids.append(made)
        return made

    def element(self, path: Path) -> _Element:
        """The element at a path; made where it is not there yet, behind its elder siblings."""
        at = self._document
        for step in path:
            if step not in at.named:
                at.named[step] = self._new(step[0], at)
            at = at.named[step]
        return at

    @contextmanager
    def mark(self, canvas: Any, path: Path, *, alt: str = "") -> Iterator[None]:
        """What is drawn in the block is the content of the element at `path`."""
        element = self.element(path)
        element.alt = alt or element.alt
        page = canvas.getPageNumber()
        of_page = self._pages.setdefault(page, [])
        element.kids.append((page, len(of_page)))
        canvas._code.append(f"/{element.role} <</MCID {len(of_page)}>> BDC")  # noqa: SLF001
        of_page.append(element)
        yield
        canvas._code.append("EMC")  # noqa: SLF001

    def attach(self, document: Any) -> None:
        """Write the tree into reportlab's document: catalog, pages and parent tree."""
        root = "StructTreeRoot"
        for element in self._elements:
            document.Reference(_dictionary(element, root), element.name)
        parents: list[Any] = []
        for number, page in enumerate(document.Pages.pages):
            page.__NoDefault__ = [*page.__NoDefault__, "StructParents", "Tabs"]
            page.StructParents = number
            page.Tabs = PDFName("S")
            elements = self._pages.get(number + 1, [])
            parents += [number, PDFArray([PDFObjectReference(e.name) for e in elements])]
        tree = PDFDictionary({"Nums": PDFArray(parents)})
        made = PDFDictionary(
            {
                "Type": PDFName("StructTreeRoot"),
                "K": PDFArray([PDFObjectReference(self._document.name)]),
                "ParentTree": document.Reference(tree, "ParentTree"),
                "ParentTreeNextKey": len(document.Pages.pages),
            }
        )
        document.Catalog.StructTreeRoot = document.Reference(made, root)
        document.Catalog.MarkInfo = PDFDictionary({"Marked": "true"})


def _dictionary(element: _Element, root: str) -> Any:
    pages = [kid[0] for kid in element.kids if isinstance(kid, tuple)]
    first = pages[0] if pages else None
    kids: list[Any] = []
    for kid in element.kids:
        if isinstance(kid, _Element):
            kids.append(PDFObjectReference(kid.name))
        elif kid[0] == first:
            kids.append(kid[1])
        else:
            there = {"Type": PDFName("MCR"), "Pg": _page(kid[0]), "MCID": kid[1]}
            kids.append(PDFDictionary(there))
    said = {
        "Type": PDFName("StructElem"),
        "S": PDFName(element.role),
        "P": PDFObjectReference(element.parent.name if element.parent else root),
        "K": PDFArray(kids),
    }
    if first is not None:
        said["Pg"] = _page(first)
    if element.alt:
        said["Alt"] = PDFString(element.alt)
    if element.role == "TH":
        said["A"] = PDFDictionary({"O": PDFName("Table"), "Scope": PDFName("Column")})
    return PDFDictionary(said)


def _page(number: int) -> Any:
    return PDFObjectReference(f"Page{number}")


def structure_of(canvas: Any) -> Structure:
    """The structure of the document that this canvas draws."""
    structure: Structure = canvas.structure
    return structure


@contextmanager
def artifact(canvas: Any, *, kind: str = "Layout") -> Iterator[None]:
    """What is drawn in the block is no part of the report's content (14.8.2.2)."""
    canvas._code.append(f"/Artifact <</Type /{kind}>> BDC")  # noqa: SLF001
    yield
    canvas._code.append("EMC")  # noqa: SLF001
