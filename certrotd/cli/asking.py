"""Questions to a person on a terminal, and the options that answer them for a program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from certrotd.cli.output import say
from certrotd.config.commented import Path as Place
from certrotd.config.secrets import MAX_SECRET, Secret
from certrotd.errors import UsageError, printable
from certrotd.setup.catalogue import Question
from certrotd.setup.compose import Answer, flaw, read_answer


class Answers(dict[str, "Answer"]):
    """Options by their paths, each taken out when it is used."""

    def refuse_rest(self, flag: str, whose: str) -> None:
        """Raises UsageError for what nobody asked."""
        if self:
            raise UsageError(f"{flag}: {whose} has no option {printable(next(iter(self)))}")


class Asker:
    """Asks a person, or takes what was given and the defaults, and keeps count of what is missing.

    ``typed`` are the secrets that were typed, by the files to be written ``beside`` the
    configuration.
    """

    def __init__(self, *, ask: bool, beside: Path) -> None:
        self.asks = ask
        self.typed: dict[Path, Secret] = {}
        self._beside = beside
        self._missing: list[str] = []

    def finish(self) -> None:
        """Raises UsageError naming every option that is missing."""
        if self._missing:
            raise UsageError(
                f"init needs {', '.join(self._missing)}",
                hint="certrotd init --help; on a terminal, without --yes, it asks",
            )

    def option(
        self,
        question: Question,
        place: Place,
        flag: str,
        given: Answer | None,
        default: str,
        *,
        shape: Callable[[Answer], object] = lambda answer: answer,
    ) -> Answer:
        """One answer that the schema accepts; "" or [] for none. Raises UsageError."""

        def wrong(answer: Answer) -> str | None:
            return flaw(place, shape(answer)) if answer and place != ("defaults",) else None

        if given is not None:
            read_answer(",".join(given), question)
            answer = read_answer(given, question) if isinstance(given, str) else given
            if why := wrong(answer):
                raise UsageError(f"{flag}: {why}")
            return answer
        if not self.asks:
            if not default and question.needed:
                self._missing.append(flag)
            return read_answer(default, question)
        while True:
            text = self._line(f"{question.words}{f' [{default}]' if default else ''}: ") or default
            if not text and question.needed:
                say("  an answer is needed")
                continue
            try:
                answer = read_answer(text, question)
            except UsageError as error:
                say(f"  {error}")
                continue
            if why := wrong(answer):
                say(f"  {why}")
                continue
            return answer

    def one(self, question: Question, place: Place, flag: str, given: str | None) -> str:
        """As option(), of one text."""
        return str(self.option(question, place, flag, given, question.default))

    def many(
        self,
        question: Question,
        place: Place,
        flag: str,
        given: list[str],
        *,
        shape: Callable[[Answer], object] = lambda answer: answer,
    ) -> list[str]:
        """As option(), of several texts."""
        named = [part for each in given for part in each.split(",")] or None
        return list(self.option(question, place, flag, named, question.default, shape=shape))

    def choice(
        self,
        words: str,
        flag: str,
        kinds: Mapping[str, str],
        given: str | None,
        default: str | None,
    ) -> str:
        """One of ``kinds``, whose values say what each is, or a URL; "" where that is missing."""
        if given is None and not self.asks:
            if default is None:
                self._missing.append(flag)
            return default or ""
        if given is None:
            say(f"{words}:")
            for number, (name, title) in enumerate(kinds.items(), 1):
                say(f"  {number:2} {name:12} {title}")
        while True:
            text = given or self._line(f"Number or name{f' [{default}]' if default else ''}: ")
            text = text or default or ""
            if text.isascii() and text.isdecimal() and 0 < int(text) <= len(kinds):
                return list(kinds)[int(text) - 1]
            if text in kinds or (flag == "--ca" and text.startswith("https://")):
                return text
            why = f"must be one of {', '.join(kinds)}"
            if given is not None:
                raise UsageError(f"{flag} {why}")
            say(f"  {why}")

    def agreement(self, words: str, given: bool) -> bool:
        """Whether somebody has agreed, which nobody else can."""
        if given:
            return True
        if not self.asks:
            self._missing.append("--agree-to-terms")
            return False
        while (text := self._line(f"{words} (yes/no)? ").lower()) not in ("y", "yes"):
            if text in ("n", "no"):
                raise UsageError("without that the CA issues nothing; nothing was written")
        return True

    def secret(
        self,
        question: Question,
        place: Place,
        path: str,
        given: dict[str, Answer],
        into: dict[str, Answer],
    ) -> None:
        """A reference to a file, whose content may be typed here; raises UsageError."""
        key = question.path
        file = given.pop(path, None)
        if file is None and not self.asks:
            if question.needed:
                self._missing.append(f"--secret-file {path}=FILE")
            return
        if file is None:
            none = "" if question.needed else ", or - for none"
            file = self._line(f"File with {question.words} (Enter: type it now{none}): ")
            if file == "-" and not question.needed:
                return
        if not file:
            stem = key.translate(str.maketrans("._", "--")).removesuffix("-secret")
            file = str(self._typed(question, f"{place[1]}-{stem}"))
        into[key] = {"file": str(Path(str(file)).expanduser().absolute())}

    def _typed(self, question: Question, name: str) -> Path:
        from getpass import getpass

        place = self._beside / f"{name}.secret"
        if place.exists():
            raise UsageError(f"{place} is there already", hint="name it as the file, or remove it")
        while True:
            text = getpass(f"{question.words} (not shown): ", stream=sys.stderr).strip()
            if text and len(content := text.encode(errors="surrogateescape")) <= MAX_SECRET:
                self.typed[place] = Secret(content + b"\n")
                return place
            say("  an answer is needed")

    def _line(self, prompt: str) -> str:
        sys.stderr.write(printable(prompt))
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            say("")
            raise UsageError("the answers ended early; nothing was written")
        return line.strip()
