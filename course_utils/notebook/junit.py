"""Results as junit XML, which every CI system shows. One test case for each notebook."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from course_utils.notebook.cell_outputs import strip_ansi
from course_utils.notebook.results import NotebookResult

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(results: Sequence[NotebookResult], suite: str) -> bytes:
    """The document, UTF-8; failures carry their status as type, the cell's source and the traceback."""
    failures = sum(not (result.passed or result.skipped) for result in results)
    root = ET.Element("testsuites")
    element = ET.SubElement(
        root,
        "testsuite",
        name=suite,
        tests=str(len(results)),
        failures=str(failures),
        skipped=str(sum(result.skipped for result in results)),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ET.SubElement(
            element, "testcase", classname=suite, name=_clean(result.slug), time=f"{result.seconds:.3f}"
        )
        if result.skipped:
            ET.SubElement(case, "skipped", message=_clean(result.message))
        elif not result.passed:
            failure = ET.SubElement(case, "failure", type=result.status, message=_clean(result.message))
            where = f"{result.path}, cell {result.cell}"
            failure.text = _clean("\n\n".join([where, result.source, strip_ansi(result.traceback)]))
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    return _NOT_XML.sub("", strip_ansi(text))
