"""Every state is read in every world, bit for bit: 1, 2 and 4 workers at ZeRO 1 to 3, of every architecture."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.config.workers import ZeroStage
from tests.support.process_group import VARIANTS, Finding, Job, run_jobs

pytestmark = pytest.mark.slow  # groups of DeepSpeed workers: minutes

STEP = 2
WORLDS = (1, 2, 4)
STAGES: tuple[ZeroStage, ...] = (1, 2, 3)
BY_STAGE = tuple(variant for variant in VARIANTS if variant != "plain")


def writer(world: int, stage: ZeroStage, folder: Path, variant: str = "plain") -> Job:
    name = f"{variant}-{world}-{stage}"
    return Job(name, stage, 8 // world, until=STEP, save_to=str(folder / name), variant=variant)


def reader(world: int, stage: ZeroStage, written: Job) -> Job:
    name = f"{written.name} read by {world}-{stage}"
    resumed = {"start": STEP, "until": STEP, "resume_from": written.save_to, "variant": written.variant}
    return Job(name, stage, 8 // world, **resumed)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    folder = tmp_path_factory.mktemp("states")
    jobs = {world: [writer(world, stage, folder) for stage in STAGES] for world in WORLDS}
    jobs[4] += [writer(4, 3, folder, variant) for variant in BY_STAGE]
    results: dict[str, Finding] = {}
    for world in WORLDS:
        results |= run_jobs(world, jobs[world], folder)
    written = [job for world in WORLDS for job in jobs[world]]
    for world in WORLDS:
        results |= run_jobs(world, [reader(world, stage, job) for job in written for stage in STAGES], folder)
    return results


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("stage", STAGES)
def test_every_bit_is_read_whoever_wrote_it(found: dict[str, Finding], world: int, stage: ZeroStage) -> None:
    suffix = f" read by {world}-{stage}"
    read = {name.removesuffix(suffix): finding for name, finding in found.items() if name.endswith(suffix)}
    assert len(read) == len(WORLDS) * len(STAGES) + len(BY_STAGE)
    for name, finding in read.items():
        assert finding.state == found[name].state, name


def test_no_save_starts_a_collective(found: dict[str, Finding]) -> None:
    written = {name: finding for name, finding in found.items() if "read by" not in name}
    for name, finding in written.items():
        assert finding.collectives == len(finding.saved_bytes), f"{name}: more than the barrier after it"
