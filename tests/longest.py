"""Makes ``tests/long.txt``, the functions that ``scripts/test fast`` leaves out.

    pytest tests/unit tests/contract tests/model --junitxml=times.xml
    python -m tests.longest times.xml > tests/long.txt

A function is in the list if its tests take longer than 60 milliseconds each, on average.
"""

import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

LISTED = Path(__file__).with_name("long.txt")
TIERS = {"unit", "contract", "model"}
LONG = 0.06


def function(nodeid: str) -> str:
    """The function of a test, whatever its parameters: ``tests/unit/test_x.py::TestY::test_z``."""
    return nodeid.partition("[")[0]


def listed() -> frozenset[str]:
    """The functions that the list names."""
    return frozenset(LISTED.read_text().split())


def measured(times: Path) -> list[str]:
    """The functions that take long, by the times of a run in JUnit's XML."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for case in ElementTree.parse(times).iter("testcase"):
        *path, last = case.attrib["classname"].split(".")
        within = "::"
        if last[0].isupper():  # a class
            within, last = f"::{last}::", path.pop()
        if path[1] in TIERS:
            file = "/".join((*path, f"{last}.py"))
            seconds[function(f"{file}{within}{case.attrib['name']}")].append(
                float(case.attrib["time"])
            )
    return sorted(
        each
        for each, taken in seconds.items()
        if fmean(taken) > LONG and each.rpartition("::")[2].startswith("test_")
    )


if __name__ == "__main__":
    sys.stdout.writelines(f"{each}\n" for each in measured(Path(sys.argv[1])))
