"""``python -m demo``: the four acts; the exit code is 0 only if each was seen to happen."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from demo.stage import HOST, Stage


class NotSeen(Exception):
    """An act did not happen as announced."""


def main(arguments: list[str]) -> int:
    """Play every act in a directory of its own, and clean up."""
    began = time.monotonic()
    with ExitStack() as stack:
        if "--keep" in arguments:
            directory = Path(tempfile.mkdtemp(prefix="certrotd-demo-"))
        else:
            temporary = tempfile.TemporaryDirectory(prefix="certrotd-demo-")
            directory = Path(stack.enter_context(temporary))
        stage = Stage(directory, stack, embedded="--embedded" in arguments)
        for what in stage.stand_ins:
            stand_in = "the internal issuer" if what == "Pebble" else "a small TLS server"
            say(f"{what} is not used here: {stand_in} stands in for it.")
        seen = played(stage)
        if "--keep" in arguments:
            say(f"Everything is left in {directory}, keys too; to remove it: rm -r {directory}")
    if seen:
        say(f"All four acts were seen on the wire, in {time.monotonic() - began:.0f} s.")
    return 0 if seen else 1


def played(stage: Stage) -> bool:
    """Whether every act was seen."""
    try:
        for number, act in enumerate((obtain, rotate, roll_back, recover), start=1):
            heading(number, act)
            act(stage)
    except NotSeen as not_seen:
        say(f"NOT SEEN: {not_seen}")
        return False
    heading(0, epilogue)
    epilogue(stage)
    return True


def obtain(stage: Stage) -> None:
    """A certificate is obtained and deployed."""
    old = stage.served().serial_number
    say(f"A service serves {HOST} with somebody's old certificate. certrotd takes it over as")
    say("generation 1, sees that a name is missing, and gets a new one, wildcard included.")
    if "Pebble" not in stage.stand_ins:
        say("Pebble checks both names by DNS-01, answered by certrotd's built-in responder.")
    run = stage.certrotd("rotate", "web")
    expect(run.returncode == 0, "the first certificate")
    expect(not stage.is_served(old), "a new certificate on the wire")
    expect(stage.trusted(), "a chain that leads to the CA's root")
    leaf = stage.served()
    say(f"On the wire now: serial {leaf.serial_number:x} from {leaf.issuer.rfc4514_string()}.")


def rotate(stage: Stage) -> None:
    """A rotation is proven on the wire."""
    old = stage.served().serial_number
    expect(stage.certrotd("rotate", "web", "--force").returncode == 0, "the rotation")
    expect(not stage.is_served(old), "another certificate on the wire")
    say(f"On the wire: {old:x} before, {stage.served().serial_number:x} now.")


def roll_back(stage: Stage) -> None:
    """The service is sabotaged, and the rotation undoes itself."""
    say("The service's configuration now names a stale copy of the certificate: its test passes,")
    say("the reload works, and the old certificate is still served. Only the wire tells.")
    stage.sabotage()
    before, serial, orders = stage.generation(), stage.served().serial_number, stage.orders()
    run = stage.certrotd("rotate", "web", "--force")
    expect(run.returncode == 1, "a rotation that says it failed")
    expect(stage.generation() == before, "the old generation live again")
    expect(stage.pairs_are_whole(), "whole pairs, live and installed")
    expect(stage.is_served(serial), "the old certificate still served")
    kept, placed = stage.newest(), stage.orders()
    expect(placed is None or placed == (orders or 0) + 1, "one order at the CA")
    say(f"Rolled back to generation {before}; generation {kept} is kept. The service is mended:")
    stage.mend()
    run = stage.certrotd("rotate", "web")
    expect(run.returncode == 0, "the deployment after mending")
    expect(stage.generation() == kept == stage.newest(), "the kept generation live, no new order")
    expect(stage.orders() == placed, "no order at the CA for the second attempt")
    expect(not stage.is_served(serial), "the kept certificate on the wire")
    expect(stage.trusted(), "a chain that leads to the CA's root")
    say(f"Generation {kept} is live and proven, without another order.")


def recover(stage: Stage) -> None:
    """certrotd is killed in the middle, and the next run finishes the work."""
    for line in ("web: order done", "web: swap done"):
        before, orders = stage.served().serial_number, stage.orders()
        stage.killed_after(line, "rotate", "web", "--force")
        expect(stage.is_served(before), "the old certificate still served")
        expect(stage.pairs_are_whole(), "a whole pair after the kill")
        run = stage.certrotd("rotate", "web")
        expect(run.returncode == 0, "the recovery")
        expect(not stage.is_served(before), "the new certificate on the wire")
        ordered = stage.orders()
        expect(ordered is None or ordered == (orders or 0) + 1, "nothing ordered twice")
        say("The next run read the journal and finished what was begun, with the order it had.")


def epilogue(stage: Stage) -> None:
    """Where it stands now."""
    stage.certrotd("status", "--probe")
    stage.certrotd("history")
    print()
    say("Where to go next: README.md has a first configuration for a host with nginx,")
    say("config.example.yaml every option, docs/how-a-rotation-works.md what you just saw.")


def expect(seen: bool, what: str) -> None:
    """The act goes on only if this was seen."""
    if not seen:
        raise NotSeen(what)


def heading(number: int, act: Callable[..., None]) -> None:
    """The title of an act."""
    title = (act.__doc__ or "").strip().rstrip(".")
    text = f"Act {number}. {title}" if number else title
    print(f"\n{bold(text)}\n{'─' * len(text)}", flush=True)


def say(text: str) -> None:
    """A line of narration."""
    print(f"» {text}", flush=True)


def bold(text: str) -> str:
    """On a terminal, bold."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
