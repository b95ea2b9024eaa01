"""Levels in whatever order they arrive: random histories of a small world.

30 histories by default, and as many as `ARRIVAL_HISTORIES` says:

```
ARRIVAL_HISTORIES=2000 .venv/bin/python -m pytest tests/test_arrival_order.py
```

`ARRIVAL_SEED=1` gives others. A history that fails is told again without the
steps that do not matter, and printed.

Each mend was taken out once, and an order of `ORDERS` failed:

| mend taken out                               | failing order               |
|----------------------------------------------|-----------------------------|
| ids that are known stay known                | a CPM of an earlier day ... |
| rows are changed by who knows their ids      | a CPM learns ids ...        |
| ids new to a CPM keep what ads taught        | a CPM takes the A-CTR ...   |
| an A-CTR never takes an older CPM            | CPMs become later ...       |
| losses and weights are finite                | every level diverges ...    |
| scores come from a CPM of an earlier day     | CPM and history of ...      |
| rows see history of earlier days             | an A-CTR starts where ...   |
| a first model knows ids of earlier days      | all that score a day        |
| a day is scored before its ids are known     | all that score a day        |
| a version averages all snapshots it may      | snapshots ... together      |
| another window of a last day is told apart   | another window ...          |
| TPM and CPM never go back in time            | another window ...          |
| parents are compared with their hashes       | a CPM is exchanged          |
| artefacts without a manifest are errors      | manifests are lost          |
| states of other windows are not taken up     | a killed window ...         |
| what killed writers left is removed          | a killed window ...         |

Two mends are found by other tests only: that the TPM rolls on
(`test_schedule`) and that batches are even (`test_streams`).
"""

import os

import pytest

from tests import arrival_history, arrival_world
from tests.arrival_history import Step

HISTORIES = int(os.environ.get("ARRIVAL_HISTORIES", 30))
# Then every command is killed at more writes, and every history is told again
# with other logs.
MANY = HISTORIES > 200
# Tests that they are shared out to, so that several processes take part.
PARTS = 10
SEED = int(os.environ.get("ARRIVAL_SEED", 0))


@pytest.fixture(scope="module")
def world(eagerly, tmp_path_factory):
    return arrival_world.World(tmp_path_factory.mktemp("arrival"))


def begin(start="scoring") -> Step:
    return Step("begin", {"start": start})


def train(level, how="next", days=1) -> Step:
    return Step("train", {"level": level, "how": how, "days": days})


def step(name, **arguments) -> Step:
    return Step(name, arguments)


def kill(level, moment, days=2) -> Step:
    return step("kill", level=level, how="next", days=days, moment=moment)


def diverge(level) -> list[Step]:
    """Two steps have a loss that is not finite, one step such weights."""
    return [step("diverge", level=level, days=days) for days in (2, 1)]


# Orders that once went wrong.
ORDERS = {
    "a CPM of an earlier day comes after a day of ads with many new users": [
        begin(),
        train("ctr"),
        train("cpm", days=2),
        train("ctr"),
    ],
    "a CPM takes the A-CTR to more ids than the CPM before knew": [
        begin(),
        train("cpm", days=1),
        train("ctr"),
        train("cpm", days=2),
        train("ctr"),
    ],
    "a CPM learns ids that ads of two days taught before": [
        begin(),
        train("ctr", days=2),
        train("cpm", days=2),
        train("cpm"),
        train("ctr"),
    ],
    "CPMs become later than they were": [
        begin(),
        train("cpm", days=2),
        train("ctr"),
        step("change_pace", pace="late"),
        train("ctr"),
    ],
    "the CPM that an A-CTR has is away when it goes on": [
        begin(),
        train("cpm"),
        train("ctr"),
        step("withhold", level="cpm"),
        train("ctr"),
        step("deliver"),
        train("ctr"),
    ],
    "snapshots are aggregated one by one": [
        begin("nothing"),
        *[train(level) for _ in range(4) for level in ("tpm", "aggregate")],
    ],
    "snapshots are aggregated together": [
        begin("nothing"),
        *[train("tpm")] * 4,
        train("aggregate"),
    ],
    "another window of the same last day": [
        begin("pre-trained"),
        train("tpm", "back", 2),
        train("cpm"),
        train("cpm", "back", 2),
    ],
    "levels are trained at another pace": [
        begin("pre-trained"),
        train("tpm"),
        step("change_pace", pace="pairs"),
        step("more_logs"),
        *[train(level, "planned") for level in arrival_history.LEVELS],
    ],
    "a mistyped setting is corrected": [
        begin("nothing"),
        step("mistype", level="tpm", days=1),
        train("tpm", days=2),
        train("aggregate"),
        step("mistype", level="cpm", days=1),
        train("cpm"),
        step("mistype", level="ctr", days=1),
        train("ctr"),
    ],
    "every level diverges at first": [
        begin("nothing"),
        *diverge("tpm"),
        train("tpm", days=2),
        train("aggregate"),
        *diverge("cpm"),
        train("cpm"),
        *diverge("ctr"),
        train("ctr"),
    ],
    "CPM and history of the day that is scored are there": [
        begin(),
        train("tpm", days=2),
        train("tpm", days=2),
        train("aggregate"),
        train("cpm", days=2),
        train("cpm"),
        train("ctr"),
    ],
    "an A-CTR starts where CPM and history are ahead of it": [
        begin("pre-trained"),
        train("tpm", days=2),
        train("aggregate"),
        train("cpm"),
        train("ctr"),
    ],
    "a CPM is exchanged": [begin(), step("exchange_cpm")],
    "manifests are lost": [
        begin(),
        *[step("lose_manifest", level=v) for v in ("tpm", "cpm", "ctr")],
    ],
    "a window was killed as it kept a state, and a shorter one is trained": [
        begin(),
        kill("tpm", 1 / 3),
        train("tpm"),
    ],
    "a killed window is not that of another one of the same last day": [
        begin("pre-trained"),
        kill("tpm", 0.5),
        train("tpm", "skip"),
    ],
}


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_that_went_wrong(world, order):
    arrival_history.tell(world, ORDERS[order])


@pytest.mark.parametrize("level", arrival_history.LEVELS)
def test_killed_at_any_write_a_command_ends_as_ever(world, level):
    moments = arrival_history.MOMENTS
    for moment in moments[:: 1 if MANY else 4]:
        arrival_history.tell(world, [begin(), kill(level, moment, 1)])


@pytest.mark.parametrize("part", range(PARTS))
def test_levels_arrive_in_any_order(world, part):
    for number in range(part, HISTORIES, PARTS):
        steps = arrival_history.draw(number, SEED)
        # Every tenth one of a part, so that parts take equally long.
        again = MANY or number // PARTS % 10 == 0
        try:
            arrival_history.tell(world, steps, again)
        except AssertionError:
            for each in arrival_history.shortest(world, steps):
                print(each)
            raise
