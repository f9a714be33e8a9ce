"""What a container or a service was given, read from control groups that lie in a folder of the test's own."""

import os
from pathlib import Path

import pytest

from maskery.resources import memory, processors

AVAILABLE = processors(Path("/nowhere"))


def machine(root: Path, groups: str, **files: str) -> Path:
    """A machine that tells a process its control groups; the files' names have two underscores for a slash."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory(tmp_path) == installed
    assert processors(tmp_path) == AVAILABLE
    unlimited = {"memory.max": "max", "cpu.max": "max 100000"}
    machine(tmp_path, "0::/a", **{f"a__{name}": text for name, text in unlimited.items()})
    assert memory(tmp_path) == installed
    assert processors(tmp_path) == AVAILABLE


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        pytest.param("0::/", "memory.max", id="a container that sees only its own group"),
        pytest.param("0::/system.slice/docker-1.scope", "memory.max", id="a container that is told its path outside"),
        pytest.param("0::/system.slice/maskery.service", "system.slice__maskery.service__memory.max", id="a service"),
        pytest.param("0::/heavy.slice/maskery.service", "heavy.slice__memory.max", id="a service in a limited slice"),
        pytest.param("0::/../other", "memory.max", id="a process that was moved out of the group that it sees"),
        pytest.param("9:pids:/p\n4:memory:/docker/1\n0::/", "memory__memory.limit_in_bytes", id="version 1, container"),
        pytest.param("4:memory:/a/b\n1:cpu:/", "memory__a__b__memory.limit_in_bytes", id="version 1, service"),
        pytest.param("4:cpuset,memory:/a", "memory__a__memory.limit_in_bytes", id="version 1, controllers together"),
        pytest.param("1:cpu:/\n0::/a", "unified__a__memory.max", id="version 2 beside version 1"),
    ],
)
def test_the_limit_is_found_where_it_stands(tmp_path: Path, groups: str, file: str) -> None:
    assert memory(machine(tmp_path, groups, **{file: "2097152"})) == 2**21


def test_the_narrowest_limit_around_the_process_counts(tmp_path: Path) -> None:
    files = {"memory.max": "3000000", "a__memory.max": "1000000", "a__b__memory.max": "2000000", "c__memory.max": "1"}
    assert memory(machine(tmp_path, "0::/a/b", **files)) == 1_000_000


def test_version_1_says_that_there_is_no_limit_with_a_very_large_number(tmp_path: Path) -> None:
    files = {"memory__memory.limit_in_bytes": "9223372036854771712"}
    assert memory(machine(tmp_path, "4:memory:/", **files)) == memory(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        pytest.param("0::/a", {"a__cpu.max": "50000 100000"}, id="version 2"),
        pytest.param("0::/a/b", {"a__cpu.max": "100000 200000", "a__b__cpu.max": "max 100000"}, id="of a slice"),
        pytest.param(
            "3:cpu,cpuacct:/a",
            {"cpu__a__cpu.cfs_quota_us": "50000", "cpu__a__cpu.cfs_period_us": "100000", "cpu__cpu.cfs_quota_us": "-1"},
            id="version 1",
        ),
    ],
)
def test_a_quota_of_time_counts_as_processors_rounded_up(tmp_path: Path, groups: str, files: dict[str, str]) -> None:
    assert processors(machine(tmp_path, groups, **files)) == 1


def test_a_quota_above_what_there_is_changes_nothing(tmp_path: Path) -> None:
    assert processors(machine(tmp_path, "0::/", **{"cpu.max": "100000000 100000"})) == AVAILABLE
