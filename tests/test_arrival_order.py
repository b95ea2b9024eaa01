"""Levels in whatever order they arrive: random histories of a small world."""

import os

import pytest

from tests import arrival_history, arrival_world

HISTORIES = int(os.environ.get("ARRIVAL_HISTORIES", 200))
SEED = int(os.environ.get("ARRIVAL_SEED", 0))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with arrival_world.eagerly():
        yield arrival_world.World(tmp_path_factory.mktemp("arrival"))


def test_levels_arrive_in_any_order(world):
    for number in range(HISTORIES):
        steps = arrival_history.draw(number, SEED)
        try:
            arrival_history.tell(world, steps)
        except AssertionError:
            for step in arrival_history.shortest(world, steps):
                print(step)
            raise
