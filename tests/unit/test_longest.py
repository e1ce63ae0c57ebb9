"""The list of what ``scripts/test fast`` leaves out."""

from pathlib import Path

from tests.longest import function, listed, measured

ROOT = Path(__file__).parents[2]
TIMES = """<testsuites><testsuite>
<testcase classname="tests.unit.test_x" name="test_slow[a::b]" time="0.3" />
<testcase classname="tests.unit.test_x" name="test_slow[c]" time="0.01" />
<testcase classname="tests.unit.test_x.TestY" name="test_slow" time="0.2" />
<testcase classname="tests.unit.test_x.TestY" name="test_quick" time="0.01" />
<testcase classname="tests.integration.test_z" name="test_server" time="9" />
</testsuite></testsuites>"""


def test_every_function_that_is_left_out_exists() -> None:
    """A function with another name would run again, unnoticed; a suite's stand elsewhere."""
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for each in sorted(listed()):
        file, *_, name = each.split("::")
        assert (ROOT / file).exists(), each
        assert f"def {name}(" in written, each


def test_a_function_is_long_by_the_mean_of_its_tests(tmp_path: Path) -> None:
    """Parameters and classes are told apart; tests of servers are never in the list."""
    times = tmp_path / "times.xml"
    times.write_text(TIMES)
    assert measured(times) == [
        "tests/unit/test_x.py::TestY::test_slow",
        "tests/unit/test_x.py::test_slow",
    ]


def test_the_parameters_of_a_test_do_not_matter() -> None:
    """As pytest writes them behind the name."""
    assert function("tests/unit/test_x.py::TestY::test_z[a::b-[]]") == (
        "tests/unit/test_x.py::TestY::test_z"
    )
