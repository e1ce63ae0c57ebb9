"""conf.d: several files are one configuration, and every problem names the file it is in."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from certrotd.config.load import check, load
from certrotd.errors import ConfigInvalid
from tests.unit.config.written import MINIMAL, WEB, not_root, write


def fragment(folder: Path, name: str, text: str) -> Path:
    """A file below conf.d."""
    return write(folder, text, f"conf.d/{name}")


def problems(file: Path) -> list[str]:
    """The problems with their files' names, as ``name:line: path: message``."""
    found = [
        f"{problem.file.name}:{problem.line}: {problem.path}: {problem.message}"
        for problem in check(file)[0]
    ]
    with pytest.raises(ConfigInvalid):
        load(file, lenient=True)
    return found


def test_fragments_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    """A team adds a file with its certificates, another one with its solver."""
    main = write(tmp_path, MINIMAL)
    second = fragment(tmp_path, "20-b.yaml", "certificates: [{name: b, names: [b.b]}]\n")
    first = fragment(
        tmp_path,
        "10-a.yaml",
        "solvers: {x: {type: exec, command: [/bin/x]}}\n"
        "targets: {web: {type: nginx}}\n"
        "dns: {resolvers: [192.0.2.53]}\n"
        "defaults: {keep: 5}\n"
        "certificates: [{name: a, names: [a.a], targets: [web]}]\n",
    )
    fragment(tmp_path, "30-c.yaml.orig", "broken: [")
    fragment(tmp_path, ".40-d.yaml", "broken: [")
    found = load(main)
    assert found.files == (main, first, second)
    assert [certificate.name for certificate in found.config.certificates] == ["web", "a", "b"]
    assert found.config.certificates[2].keep == 5
    assert list(found.config.solvers) == ["x"]
    assert len(found.config.dns.resolvers) == 1


def test_parts_of_one_section_may_come_from_several_files(tmp_path: Path) -> None:
    """Sections are joined by key, so that two files may each add an issuer."""
    main = write(tmp_path, "dns: {resolvers: []}\n" + MINIMAL)
    fragment(tmp_path, "a.yaml", "issuers: {other: {type: internal}}\ndefaults: {issuer: lab}\n")
    fragment(tmp_path, "b.yaml", "dns: {propagation: {skip: true}}\ndefaults: {keep: 1}\n")
    found = load(main).config
    assert sorted(found.issuers) == ["lab", "other"]
    assert found.dns.propagation.skip
    assert (found.certificates[0].issuers, found.certificates[0].keep) == (("lab",), 1)


def test_a_key_in_two_files_is_refused_with_both_places(tmp_path: Path) -> None:
    """Whichever won, somebody's edit would have no effect."""
    main = write(tmp_path, "concurrency: 4\n" + MINIMAL)
    fragment(tmp_path, "a.yaml", "concurrency: 4\n\nissuers:\n  lab: {type: internal}\n")
    fragment(tmp_path, "b.yaml", "dns: {resolvers: []}\n")
    fragment(tmp_path, "c.yaml", "dns:\n  resolvers: []\n")
    assert problems(main) == [
        f"a.yaml:1: concurrency: is already in {main}:1: keep one of them",
        f"a.yaml:4: issuers.lab: is already in {main}:2: keep one of them",
        f"c.yaml:2: dns.resolvers: is already in {tmp_path}/conf.d/b.yaml:1: keep one of them",
    ]


def test_two_certificates_of_one_name_in_two_files_name_both(tmp_path: Path) -> None:
    """The other file is not the one that is open in the editor."""
    main = write(tmp_path, MINIMAL)
    fragment(tmp_path, "a.yaml", "\ncertificates:\n- names: [a.b]\n  name: web\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(main)
    [problem] = caught.value.problems
    assert (problem.file.name, problem.line, problem.path) == (
        "a.yaml",
        4,
        "certificates[web].name",
    )
    assert f'"web" is also the name in {main}:3' in problem.message


def test_problems_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    """Syntax in one, schema in another, an unreadable third."""
    main = write(tmp_path, MINIMAL + "  keep: 0\n")
    fragment(tmp_path, "a.yaml", "a: [1\n")
    fragment(tmp_path, "b.yaml", "\ncertificates:\n- {name: b, names: [b.c], keep: x}\ndns: 5\n")
    fragment(tmp_path, "c.yaml", "certificates: 5\n")
    fragment(tmp_path, "d.yaml", "include: x.yaml\n")
    fragment(tmp_path, "e.yaml", "a: 1\na: 2\n")
    (tmp_path / "conf.d" / "f.yaml").mkdir()
    told = problems(main)
    assert [message.split(": ")[0] for message in told] == [
        "config.yaml:5",
        "a.yaml:1",
        "b.yaml:3",
        "b.yaml:4",
        "c.yaml:1",
        "d.yaml:1",
        "e.yaml:1",
        "e.yaml:2",
        "f.yaml:0",
    ]
    assert told[5] == "d.yaml:1: include: is allowed only in the main file: remove it here"


def test_an_entry_that_may_be_in_an_unreadable_file_is_not_called_missing(tmp_path: Path) -> None:
    """The issuer is there, in the file with the tab; that is the one thing to mend."""
    main = write(tmp_path, WEB + "  issuer: lab\n")
    fragment(tmp_path, "a.yaml", "issuers:\n\tlab: {type: internal}\n")
    assert [message.split(": ")[0] for message in problems(main)] == ["a.yaml:2"]


def test_an_empty_fragment_is_fine(tmp_path: Path) -> None:
    """All of it is commented out."""
    main = write(tmp_path, MINIMAL)
    fragment(tmp_path, "a.yaml", "# certificates:\n")
    fragment(tmp_path, "b.yaml", "")
    assert len(load(main).files) == 3


def test_no_fragments_are_fine(tmp_path: Path) -> None:
    """The default pattern finds nothing where there is no conf.d."""
    assert load(write(tmp_path, MINIMAL)).files == (tmp_path / "config.yaml",)


def test_include_takes_another_pattern_or_none(tmp_path: Path) -> None:
    """Relative to the main file, wherever certrotd is started."""
    fragment(tmp_path, "a.yaml", "concurrency: 5\n")
    write(tmp_path, "concurrency: 6\n", "certs/a.yml")
    none = write(tmp_path, MINIMAL + "include: null\n", "none.yaml")
    assert load(none).config.concurrency == 8
    other = write(tmp_path, MINIMAL + "include: certs/*.yml\n", "other.yaml")
    assert load(other).config.concurrency == 6
    absolute = write(tmp_path, MINIMAL + f"include: {tmp_path}/certs/*\n", "absolute.yaml")
    assert load(absolute).config.concurrency == 6


def test_the_main_file_does_not_include_itself(tmp_path: Path) -> None:
    """``include: "*.yaml"`` beside it would find it again."""
    main = write(tmp_path, MINIMAL + 'include: "*.yaml"\n')
    write(tmp_path, "concurrency: 5\n", "a.yaml")
    found = load(main)
    assert (len(found.files), found.config.concurrency) == (2, 5)


def test_a_single_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A pattern may find nothing; a name means the file."""
    main = write(tmp_path, MINIMAL + "include: secret.yaml\n")
    assert problems(main) == ['config.yaml:5: include: there is no file "secret.yaml"']


def test_a_folder_that_may_not_be_searched_is_refused() -> None:
    """Half of the certificates would silently not be renewed."""
    with TemporaryDirectory() as name:  # pytest's own is hidden from others as a whole
        folder = Path(name)
        folder.chmod(0o755)
        main = write(folder, MINIMAL)
        main.chmod(0o644)
        conf_d = fragment(folder, "a.yaml", "concurrency: 5").parent
        conf_d.chmod(0)
        with not_root():
            told = problems(main)
        conf_d.chmod(0o755)
    assert told == ["conf.d:0: : cannot be searched: Permission denied"]


def test_a_folder_with_signs_of_patterns_in_its_name_is_only_a_folder(tmp_path: Path) -> None:
    """The operator's pattern is one, the path to it is not."""
    folder = tmp_path / "[a]*"
    fragment(folder, "a.yaml", "concurrency: 5\n")
    assert load(write(folder, MINIMAL)).config.concurrency == 5


@pytest.mark.parametrize("pattern", ['"a\\0b"', '"a\\0*"', "5", "[a]", '""'])
def test_a_pattern_that_is_none_is_refused(tmp_path: Path, pattern: str) -> None:
    """Also where it is only found out by using it."""
    assert problems(write(tmp_path, MINIMAL + f"include: {pattern}\n"))


def test_a_folder_with_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern that reaches into a mail spool would take the daemon's memory."""
    monkeypatch.setattr("certrotd.config.sources.MAX_FILES", 2)
    main = write(tmp_path, MINIMAL)
    for name in ("a.yaml", "b.yaml"):
        fragment(tmp_path, name, "")
    assert len(load(main).files) == 3
    fragment(tmp_path, "c.yaml", "")
    assert problems(main) == ["conf.d:0: : holds more than 10,000 files: join some of them"]
