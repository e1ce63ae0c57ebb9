"""The scripts that a stranger meets first say what they need, and what for."""

import subprocess
from pathlib import Path

LIB = Path(__file__).parents[2] / "scripts" / "parts" / "lib.sh"
# a plain user on a machine without sudo
PLAIN = 'id() { echo 1000; }; command() { [ "$2" != sudo ] && builtin command "$@"; };'


def test_a_user_without_root_learns_which_package_needs_it() -> None:
    """Not that root is needed for the program by which that was found out."""
    script = f". {LIB}; {PLAIN} apt_install no-such-package another"
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    said = "root is needed to install no-such-package another: run this as root, or install sudo"
    assert ran.returncode == 1
    assert said in ran.stderr
    assert "'true'" not in ran.stderr


def test_whatever_else_needs_root_is_named() -> None:
    """The control."""
    script = f". {LIB}; {PLAIN} as_root umount /mnt"
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "root is needed for 'umount /mnt': run this" in ran.stderr
