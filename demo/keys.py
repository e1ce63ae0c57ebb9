"""``python -m demo.keys``: data keys are adopted, rotated under load, and held back.

The exit code is 0 only if each act was seen to happen.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from demo.__main__ import NotSeen, expect, heading, say
from demo.key_stage import KeyStage


def main(arguments: list[str]) -> int:
    """Play every act in a directory of its own, and clean up."""
    began = time.monotonic()
    with ExitStack() as stack:
        if "--keep" in arguments:
            directory = Path(tempfile.mkdtemp(prefix="certrotd-demo-"))
        else:
            temporary = tempfile.TemporaryDirectory(prefix="certrotd-demo-")
            directory = Path(stack.enter_context(temporary))
        stage = KeyStage(directory, stack)
        try:
            for number, act in enumerate((adopt, rotate, hold), start=1):
                heading(number, act)
                act(stage)
        except NotSeen as not_seen:
            say(f"NOT SEEN: {not_seen}")
            return 1
        heading(0, epilogue)
        epilogue(stage)
        if "--keep" in arguments:
            say(f"Everything is left in {directory}, keys too; to remove it: rm -r {directory}")
    say(f"All three acts were seen, in {time.monotonic() - began:.0f} s.")
    return 0


def adopt(stage: KeyStage) -> None:
    """An application's own key is taken over."""
    say("Three processes store messages in SQLite and read each other's, encrypted with a key of")
    say("their own in a Tink keyset. certrotd takes the key over; the file does not change.")
    before = stage.keys.read_bytes()
    expect(stage.certrotd("keys", "adopt", "messages").returncode == 0, "the adoption")
    expect(stage.keys.read_bytes() == before, "the same file as before")
    expect(stage.versions() == {1: "active"}, "version 1 active")
    stage.read_on()
    expect(not stage.failures(), "no failed decryption")


def rotate(stage: KeyStage) -> None:
    """A key is rotated under load, and nobody meets a key that they lack."""
    say("The new key is first given to everybody to decrypt with. Only when each process has")
    say("confirmed it, the worker before the web, does anybody encrypt with it.")
    ran = stage.certrotd("keys", "rotate", "messages", "--reason", "the demo")
    expect(ran.returncode == 0, "the rotation")
    expect(stage.versions() == {1: "decrypt-only", 2: "active"}, "version 2 active")
    stage.read_on()
    expect(not stage.failures(), "no failed decryption")
    total = sum(good for good, _, _ in stage.results().values())
    say(f"{total:,} messages were decrypted so far, and none could not be.")


def hold(stage: KeyStage) -> None:
    """A process does not confirm, and nothing is activated."""
    deaf = stage.processes[-1]
    deaf.deafen()
    say(f"{deaf.name} hangs. A rotation waits for it, for as long as it takes:")
    stage.certrotd("keys", "rotate", "messages", "--reason", "the demo")
    expect(stage.versions()[3] == "secondary", "version 3 still secondary")
    stage.certrotd("keys", "list")
    say(f"{deaf.name} comes back, reads its keys and confirms. The rotation goes on:")
    deaf.go_on()
    expect(stage.certrotd("rotate", "key/messages").returncode == 0, "the rotation")
    expect(stage.versions()[3] == "active", "version 3 active")
    stage.read_on()
    expect(not stage.failures(), "no failed decryption")


def epilogue(stage: KeyStage) -> None:
    """Where it stands now."""
    stage.certrotd("keys", "show", "messages")
    print()
    say("Where to go next: docs/keys/README.md has a first keyring for an operator.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
