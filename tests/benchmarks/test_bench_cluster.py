"""Scoring on hosts in namespaces, by the packed engine and a tiny model: hosts and workers killed, links cut, hosts
that join late, jobs killed; and the speed of two hosts. Needs root, iproute2 and util-linux.

The hosts are those of one machine, which shares its cores with the tests: times are upper bounds.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from tests.support import hosts
from tests.support.hosts import Host
from tests.support.ray_hosts import RayHosts, environment, ray_hosts
from tests.support.scoring_studies import documents, parts, put_sample, run_job, scores, scoring_study

pytestmark = pytest.mark.bench

SHARDS, PER_SHARD = 60, 1600
"""Shards of a scoring, and documents of each."""
KILLS = 25
HOSTS = 3
SECONDS = 900
"""Longest time of a scoring."""


@dataclass
class Watch:
    """What is seen of a scoring from outside: when each part came, and what was written twice."""

    home: Path
    came: dict[str, float] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    rewritten: set[str] = field(default_factory=set)
    redone: set[str] = field(default_factory=set)

    def look(self) -> int:
        """Note what is new; returns the number of parts."""
        for part in parts(self.home):
            self._seen(part, self.rewritten)
            self.came.setdefault(part.name, time.monotonic())
        self.redone |= {cost.name for cost in self.home.glob("parts/.scoring/demo/*/costs/again-*.json")}
        return len(self.came)

    def _seen(self, file: Path, changed: set[str]) -> None:
        try:
            number = file.stat().st_ino
        except FileNotFoundError:
            return
        if self.files.setdefault(str(file), number) != number:
            changed.add(file.name)

    def longest_gap(self, since: float = 0.0) -> float:
        """Longest time between two parts, in seconds. since: of the clock; earlier parts are left out."""
        times = sorted(moment for moment in self.came.values() if moment >= since)
        return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scoring_study(tmp_path_factory.mktemp("study"), documents_per_shard=PER_SHARD)


def home_of(study: Path, name: str) -> Path:
    home = study.parent / name
    put_sample(study, home, documents(SHARDS * PER_SHARD))
    return home


@pytest.fixture(scope="module")
def alone(study: Path) -> pl.DataFrame:
    """Scores by one process."""
    home = home_of(study, "alone")
    done = run_job(study, home)
    assert done.returncode == 0, done.stderr
    return scores(home)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHosts]:
    assert not hosts.missing(), hosts.missing()
    with ray_hosts(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def members(cluster: RayHosts, n: int = HOSTS) -> list[Host]:
    """The hosts beside the head that are up; new ones join until there are n."""
    while len([host for host in cluster.network.hosts[1:] if host.is_up]) < n:
        cluster.add()
    return [host for host in cluster.network.hosts[1:] if host.is_up]


def scored(
    cluster: RayHosts,
    study: Path,
    home: Path,
    meanwhile: Callable[[Watch], None] = lambda watch: None,
    pause: float = 0.05,
) -> tuple[Watch, int]:
    """A scoring to its end, and its exit status. meanwhile: called at every look. pause: between two looks, seconds."""
    watch = Watch(home)
    job = cluster.score(study, home)
    ends = time.monotonic() + SECONDS
    try:
        while job.poll() is None:
            assert time.monotonic() < ends, cluster.log.read_text()[-3000:]
            watch.look()
            meanwhile(watch)
            time.sleep(pause)
    finally:
        if job.poll() is None:
            job.kill()
    watch.look()
    return watch, job.wait()


def check(watch: Watch, alone: pl.DataFrame, most_redone: int) -> None:
    """All parts are there, none was replaced, and their rows are those of one process."""
    assert len(parts(watch.home)) == SHARDS
    assert watch.rewritten == set()
    assert len(watch.redone) <= most_redone, watch.redone
    assert scores(watch.home).equals(alone)


def say(what: str, watch: Watch, **figures: object) -> None:
    times = sorted(watch.came.values())
    base = {
        "parts": len(times),
        "seconds": round(times[-1] - times[0], 1),
        "longest gap": round(watch.longest_gap(), 1),
    }
    print(f"\n{what}:", base | {"redone": len(watch.redone)} | figures, "load", os.getloadavg()[0], flush=True)


def once(condition: Callable[[Watch], bool], deed: Callable[[], object]) -> tuple[Callable[[Watch], None], list[float]]:
    """What to call at every look, so that something is done once; and the moment of it."""
    when: list[float] = []

    def meanwhile(watch: Watch) -> None:
        if not when and condition(watch):
            deed()
            when.append(time.monotonic())

    return meanwhile, when


def test_undisturbed(cluster: RayHosts, study: Path, alone: pl.DataFrame) -> None:
    members(cluster)
    watch, status = scored(cluster, study, home_of(study, "undisturbed"))
    assert status == 0, cluster.log.read_text()[-3000:]
    check(watch, alone, 0)
    say("undisturbed, 3 hosts", watch)


def test_workers_are_killed(cluster: RayHosts, study: Path, alone: pl.DataFrame) -> None:
    """kill -9, 25 times, after every second part, of the worker that is longest at work: the others may still load."""
    up = members(cluster)
    killed: list[float] = []

    def kill_one(watch: Watch) -> None:
        if len(killed) == KILLS or len(watch.came) < 2 * (len(killed) + 1):
            return
        found = [(seconds, worker, host) for host in up for seconds, worker in cluster.workers(host)]
        if found:
            _, worker, host = max(found, key=lambda one: one[0])
            host.run("kill", "-9", str(worker), environment=environment())
            killed.append(time.monotonic())

    watch, status = scored(cluster, study, home_of(study, "killed"), kill_one)
    assert status == 0, cluster.log.read_text()[-3000:]
    assert len(killed) == KILLS
    check(watch, alone, 2 * KILLS)
    say("25 workers killed", watch, kills_in=round(killed[-1] - killed[0], 1))


def test_the_job_is_killed_and_started_again(cluster: RayHosts, study: Path, alone: pl.DataFrame) -> None:
    members(cluster)
    home = home_of(study, "job-killed")
    watch = Watch(home)
    job = cluster.score(study, home)
    while watch.look() < SHARDS // 3:
        assert job.poll() is None, cluster.log.read_text()[-3000:]
        time.sleep(0.05)
    # The job itself, below nsenter, which only enters the host.
    cluster.head.run("pkill", "-9", "-f", f"score_documents.*{home}", environment=environment())
    job.wait()
    n_before = watch.look()
    again, status = scored(cluster, study, home)
    assert status == 0, cluster.log.read_text()[-3000:]
    again.rewritten |= watch.rewritten | {name for name in watch.files if again.files.get(name) != watch.files[name]}
    check(again, alone, 2 * HOSTS)
    say("job killed", again, done_before=n_before)


def test_a_host_is_killed(cluster: RayHosts, study: Path, alone: pl.DataFrame) -> None:
    lost = members(cluster)[-1]
    meanwhile, when = once(lambda watch: len(watch.came) >= SHARDS // 3, lost.kill)
    watch, status = scored(cluster, study, home_of(study, "host-killed"), meanwhile)
    assert status == 0, cluster.log.read_text()[-3000:]
    check(watch, alone, 2)
    say("host killed", watch, longest_gap_afterwards=round(watch.longest_gap(when[0]), 1))


def test_a_host_joins_late(cluster: RayHosts, study: Path, alone: pl.DataFrame) -> None:
    """The new host does at least a quarter of what is left when its worker is ready."""
    for host in members(cluster)[1:]:
        host.kill()
    late: list[Host] = []
    meanwhile, when = once(lambda watch: len(watch.came) >= 5, lambda: late.append(cluster.add()))
    home = home_of(study, "late")
    watch, status = scored(cluster, study, home, meanwhile)
    assert status == 0, cluster.log.read_text()[-3000:]
    check(watch, alone, 2)
    starts = sorted(home.glob("parts/.scoring/demo/*/costs/start-*.json"), key=lambda path: path.stat().st_mtime)
    assert len(starts) >= 2
    ready = time.monotonic() - time.time() + starts[1].stat().st_mtime
    left = [name for name, moment in watch.came.items() if moment > ready]
    say("host joins late", watch, at_work_after=round(ready - when[0], 1), left_then=len(left))
    assert len(left) > 8


def test_a_link_is_cut(cluster: RayHosts, study: Path, alone: pl.DataFrame) -> None:
    cut = members(cluster)[-1]
    meanwhile, when = once(lambda watch: len(watch.came) >= SHARDS // 3, lambda: cluster.network.cut(cut))
    watch, status = scored(cluster, study, home_of(study, "cut"), meanwhile)
    assert status == 0, cluster.log.read_text()[-3000:]
    check(watch, alone, 2)
    say("link cut", watch, longest_gap_afterwards=round(watch.longest_gap(when[0]), 1))
    cut.kill()


def test_the_share_of_ray_in_a_shard_of_ten_seconds(cluster: RayHosts, tmp_path: Path) -> None:
    """One worker sleeps for ten seconds, six times: what is more from the first part to the last is Ray's."""
    for host in members(cluster, 1)[1:]:
        host.kill()
    words = ["-m", "tests.support.shard_workers", str(tmp_path), "6", "10"]
    done = cluster.head.run(sys.executable, *words, environment=environment(), seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    ends = sorted(part.stat().st_mtime for part in tmp_path.glob("*.part"))
    per_shard = (ends[-1] - ends[0]) / (len(ends) - 1)
    print(f"\nRay's share of a shard of 10 s: {1 - 10 / per_shard:.4f}", "load", os.getloadavg()[0], flush=True)
    assert len(ends) == 6 and 10 <= per_shard <= 10 / 0.95


def test_two_hosts_of_one_core_against_one(tmp_path: Path, study: Path) -> None:
    """Parts per second of two hosts while both work, over those of one; each host has a core of its own.

    Looks are rare: they would take their time from the hosts.
    """
    assert (os.cpu_count() or 1) >= 2
    rates = {}
    with ray_hosts(tmp_path / "cluster") as cluster:
        for n in (1, 2):
            cluster.add(pinned=str(n - 1))
            home = home_of(study, f"speed-{n}")
            watch, status = scored(cluster, study, home, pause=5.0)
            assert status == 0, cluster.log.read_text()[-3000:]
            starts = [path.stat().st_mtime for path in home.glob("parts/.scoring/demo/*/costs/start-*.json")]
            assert len(starts) == n
            ends = sorted(moment for part in parts(home) if (moment := part.stat().st_mtime) > max(starts))
            rates[n] = (len(ends) - 1) / (ends[-1] - ends[0])
            say(f"{n} hosts", watch, shards_per_second=round(rates[n], 3))
    print(f"\ntwo hosts over one: {rates[2] / rates[1]:.2f}", "load", os.getloadavg()[0], flush=True)
    assert rates[2] >= 1.7 * rates[1]
