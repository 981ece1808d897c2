"""Time and memory of the PDF of a report of 500 cells from a slide, drawn in a fresh process.

    python benchmarks/report_pdf.py

Wanted: under 2 s and 200 MB. The first drawing pays for reading the fonts; memory is the process's peak,
interpreter and libraries included.
"""

import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from reporting.pdf import pdf_bytes
from tests import reporting_cases as cases


def main() -> None:
    report = cases.slide()
    for which in ("first", "second"):
        wall, busy = time.perf_counter(), time.process_time()
        made = pdf_bytes(report)
        print(
            f"{which}: {time.perf_counter() - wall:.2f} s wall, "
            f"{time.process_time() - busy:.2f} s of processor, {len(made) / 1e6:.2f} MB of PDF"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
