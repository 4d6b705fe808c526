"""Who had a place on a data directory before, and whether it is gone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from orchestrator.adapters.machine import ReplicaPlace

DIES = """
import os, sys
from pathlib import Path
from orchestrator.adapters.machine import ReplicaPlace
ReplicaPlace(Path(sys.argv[1]), sys.argv[2]).__enter__()
os.kill(os.getpid(), 9)
"""


def died(folder: Path, owner: str) -> None:
    assert subprocess.run([sys.executable, "-c", DIES, str(folder), owner], check=False).returncode == -9


def test_a_process_that_was_killed_is_known_to_be_gone(tmp_path: Path) -> None:
    died(tmp_path, "first")
    with ReplicaPlace(tmp_path, "second") as place:
        assert place.dead == ("first",)
        name = place.name
    with ReplicaPlace(tmp_path, "third") as place:
        assert place.dead == ("first", "second"), "nobody has said that the first one's tasks are taken over"
        assert place.name == name
        place.settled()
    with ReplicaPlace(tmp_path, "fourth") as place:
        assert place.dead == ("third",)


def test_processes_that_live_have_places_of_their_own(tmp_path: Path) -> None:
    with ReplicaPlace(tmp_path, "first") as first, ReplicaPlace(tmp_path, "second") as second:
        assert second.dead == ()
        assert first.name != second.name
        names = {first.name, second.name}
    died(tmp_path, "third")
    with ReplicaPlace(tmp_path, "fourth") as fourth, ReplicaPlace(tmp_path, "fifth") as fifth:
        assert set(fourth.dead) == {"first", "second", "third"}, "of every place that nobody has"
        assert fifth.dead == ("second",)
        assert {fourth.name, fifth.name} == names


def test_a_copy_of_the_folder_says_nothing(tmp_path: Path) -> None:
    died(tmp_path / "here", "first")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    with ReplicaPlace(tmp_path / "there", "second") as place:
        assert place.dead == ()


def test_whatever_the_file_says_there_is_a_place(tmp_path: Path) -> None:
    died(tmp_path, "first")
    [file] = (tmp_path / "replicas").iterdir()
    said = json.loads(file.read_text())
    for text in ("", "{", "[]", "5", json.dumps(said | {"owners": 5}), json.dumps(said | {"host": "elsewhere"})):
        file.write_text(text)
        with ReplicaPlace(tmp_path, "second") as place:
            assert place.dead == (), text
    file.unlink()
    (tmp_path / "replicas").rmdir()
    (tmp_path / "replicas").write_text("in the way")
    with ReplicaPlace(tmp_path, "third") as place:
        assert place.dead == ()
