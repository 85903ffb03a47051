"""`make setup` says in one line what a machine lacks, before it downloads anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("sh", "dirname", "mkdir", "mktemp", "rm", "date", "cksum", "cat", "grep", "cut", "du", "env")


@pytest.fixture
def machine(tmp_path):
    """A checkout in a folder with a space, on a machine that has nothing but the usual tools."""
    (tmp_path / "a b" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "bin" / "setup", tmp_path / "a b" / "bin" / "setup")
    programs = tmp_path / "programs"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))
    return tmp_path


def _python(machine, says, *, venv):
    """A python3 that answers as setup asks it."""
    program = machine / "programs" / "python3"
    program.write_text(f"""#!/bin/sh
case "$*" in
  --version) echo "Python {says}";;
  *version_info*) case {says} in 3.1[123].*) exit 0;; *) exit 1;; esac;;
  *sys.executable*) echo "$0";;
  *ensurepip*) exit {0 if venv else 1};;
  *) echo "started: $*"; exit 7;;
esac
""")
    program.chmod(0o755)


def _setup(machine):
    environment = {"PATH": str(machine / "programs"), "HOME": os.environ["HOME"]}
    return subprocess.run(
        ["sh", machine / "a b" / "bin" / "setup"], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("version", ["3.9.2", "3.14.0"])
def test_a_python_that_does_not_suit(machine, version):
    _python(machine, version, venv=True)
    done = _setup(machine)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"3.11, 3.12 or 3.13 is needed (found: Python {version})" in done.stderr


def test_no_python_at_all(machine):
    done = _setup(machine)
    assert done.returncode == 1
    assert "found: none" in done.stderr


def test_no_venv(machine):
    _python(machine, "3.12.4", venv=False)
    done = _setup(machine)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "has no venv" in done.stderr
    assert "apt install python3-venv" in done.stderr


def test_one_that_suits_is_used(machine):
    _python(machine, "3.13.1", venv=True)
    done = _setup(machine)
    assert done.returncode == 7
    assert "started: -m venv .cache/tools" in done.stdout
