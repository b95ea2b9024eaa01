"""A history: what users do to one work directory, and what has to come of it.

A history is a list of steps, each drawn at random, so that it can be told again
and told with steps left out.
"""

import random
import typing

import numpy as np

from tests import arrival_rules as rules
from tests import arrival_world as world_lib
from tests.arrival_world import Command, Tree

EMPTY = Tree({})
LEVELS = ("tpm", "aggregate", "cpm", "ctr")
DIRECTORY = {"aggregate": "historical"}
# The day before the first that a level is trained on.
BEGINNING = {"tpm": 0, "cpm": 2, "ctr": 3}
# States that histories begin with.
STARTS = {
    "nothing": (),
    "pre-trained": (
        Command("tpm", (1, 2), 4),
        Command("aggregate", None, 4),
        Command("cpm", (3, 3), 4),
    ),
    "scoring": (
        Command("tpm", (1, 2), 5),
        Command("aggregate", None, 5),
        Command("cpm", (3, 3), 5),
        Command("ctr", (4, 5), 5),
    ),
}


class Step(typing.NamedTuple):
    """A step of a history: a method of `History` and its arguments."""

    name: str
    arguments: dict

    def __str__(self) -> str:
        """Return the call."""
        pairs = (f"{k}={v!r}" for k, v in self.arguments.items())
        return f"{self.name}({', '.join(pairs)})"


MOMENTS = tuple(i / 12 for i in range(12))
HOWS = ("next", "next", "next", "planned", "skip", "back")
ORDERLY = ("next", "next", "planned")
# Steps: how often, the method, its arguments and what they are drawn from.
STEPS = (
    (12, "train", {"level": LEVELS, "how": HOWS, "days": (1, 1, 2)}),
    (2, "change_pace", {"pace": tuple(world_lib.PACES)}),
    (2, "more_logs", {}),
    (3, "withhold", {"level": ("tpm", "aggregate", "cpm", "cpm")}),
    (3, "deliver", {}),
    (1, "again", {}),
    (
        2,
        "kill",
        {"level": LEVELS, "how": ORDERLY, "days": (1, 2), "moment": MOMENTS},
    ),
    (1, "mistype", {"level": ("tpm", "cpm", "ctr"), "days": (1, 2)}),
    (1, "diverge", {"level": ("tpm", "cpm", "ctr"), "days": (1, 2)}),
    (1, "lose_manifest", {"level": ("tpm", "cpm", "ctr")}),
    (1, "exchange_cpm", {}),
)
# Steps of a history after its beginning.
LENGTH = 6


def draw(number: int, seed: int = 0) -> list[Step]:
    """Return a random history; the same for the same numbers."""
    rng = random.Random(f"{seed} {number}")
    chosen = rng.choices(STEPS, [step[0] for step in STEPS], k=LENGTH)
    return [
        Step("begin", {"start": rng.choice(tuple(STARTS))}),
        *(
            Step(name, {k: rng.choice(v) for k, v in choices.items()})
            for _, name, choices in chosen
        ),
    ]


def tell(world, steps: list[Step], again: bool = True) -> None:
    """Carry out a history.

    Args:
      world: the world.
      steps: the history.
      again: whether it is told again with other logs, see `History.end`.

    Raises:
      AssertionError: something was not as it has to be.
    """
    history = History(world)
    for step in steps:
        getattr(history, step.name)(**step.arguments)
    if again:
        history.end()


def shortest(world, steps: list[Step]) -> list[Step]:
    """Return a history that fails without the steps that do not matter."""
    for step in steps[:0:-1]:
        fewer = [each for each in steps if each is not step]
        try:
            tell(world, fewer)
        except AssertionError:
            steps = fewer
    return steps


def moved(place: str, source: Tree, target: Tree) -> tuple[Tree, Tree]:
    """Return two trees after an artefact went from the first to the second."""
    files = {f"{place}/{f}": h for f, h in source.of(place).items()}
    return source.without(place), target.joined(Tree(files))


class History:
    """A work directory, and what its users do to it.

    Args:
      world: runs their commands.
    """

    def __init__(self, world: world_lib.World):
        self.world = world
        self.tree = EMPTY
        self.withheld = EMPTY
        self.until = 4
        self.pace = "calm"
        # Whether a command failed or was killed since the last one that did
        # not: it must have left nothing that matters.
        self.disturbed = False
        self.last = None
        # What it takes to come here: commands, and trees kept or moved.
        self.story = []

    def begin(self, start):
        """Be where an orderly beginning leads."""
        for command in STARTS[start]:
            self.until = command.until
            self._carry_out(command)
            assert not self.error

    # Levels: early, late, missing, skipped, delivered twice.

    def train(self, level, how, days):
        command = self._command(level, how, days)
        if command is None:
            return
        back = self._goes_back(command)
        there = self._is_there(command)
        must = self._has_to_succeed(command, how)
        before = self.tree
        self._carry_out(command)
        if there:
            assert not self.error, self.error
            assert self.tree.artefacts() == before.artefacts()
        elif back:
            assert self.error, f"{command} went back in time"
        elif must:
            assert not self.error, self.error

    def change_pace(self, pace):
        self.pace = pace

    def more_logs(self):
        self.until = min(self.until + 1, world_lib.LAST)

    def withhold(self, level):
        """Take the newest of a level away: it is delivered later."""
        level = DIRECTORY.get(level, level)
        found = rules.published(self.world, self.tree, level)
        if found:
            self._move(found[-1].place, away=True)

    def deliver(self):
        for place in sorted(self.withheld.names()):
            self._move(place, away=False)

    def again(self):
        """The same command twice: nothing is left to be done."""
        if self.last is None or self.withheld.files:
            return
        before = self.tree
        self._carry_out(self.last)
        assert not self.error, self.error
        assert self.tree.artefacts() == before.artefacts()

    # What goes wrong.

    def kill(self, level, how, days, moment):
        """Killed at any write and given again, a command ends as ever."""
        command = self._command(level, how, days)
        if command is None or self._collides(command):
            return
        whole = self.world.run(self.tree, command)
        if whole.error or not whole.shots:
            return
        killed = whole.shots[int(moment * len(whole.shots))]
        again = self.world.run(killed, command)
        assert not again.error, again.error
        assert again.tree.artefacts() == whole.tree.artefacts()
        self._check_swept(command, killed, again.tree)
        self._check(command, killed)
        self._tell_unfinished(command, killed)
        self.tree, self.disturbed, self.last = killed, True, None

    def mistype(self, level, days):
        self._fail(level, days, ("prise",), "model.exclude=prise")

    def diverge(self, level, days):
        """The error names the window, the step and what to try.

        A level that has begun goes on with its learning rates only.
        """
        words = "diverged", "2024-01-", "by step", "dense_learning_rate"
        if rules.published(self.world, self.tree, level):
            words = ("other settings",)
        self._fail(level, days, words, f"{level}.dense_learning_rate=1e39")

    def lose_manifest(self, level):
        """Without its manifest a level is damaged, not absent."""
        found = rules.published(self.world, self.tree, level)
        command = self._command(level, "next", 1)
        if not found or command is None or self.withheld.files:
            return
        lost = f"{found[-1].place}/manifest.json"
        files = {f: h for f, h in self.tree.files.items() if f != lost}
        outcome = self.world.run(Tree(files), command)
        assert outcome.error, f"{found[-1].place} is passed over"

    def exchange_cpm(self):
        """The CPM that an A-CTR comes from is exchanged for another."""
        command = self._command("ctr", "next", 1)
        days = rules.published(self.world, self.tree, "ctr")
        if not days or command is None or self.withheld.files:
            return
        number = rules.parent_day(days[-1], "cpm")
        place = f"{world_lib.MODEL}/cpm/{world_lib.day(number)}"
        cpm = self.world.read(self.tree, place)
        first = cpm.last if cpm.first < cpm.last else cpm.last - 1
        levels = [
            name
            for name in self.tree.names()
            if rules.level_of(name) in ("cpm", "ctr")
        ]
        other = Command(
            "cpm",
            (first, cpm.last),
            self.until,
            self.pace,
            ("history.start_tables=false",),
        )
        made = self.world.run(self.tree.artefacts().without(*levels), other)
        if made.error:
            return
        files = {f"{place}/{f}": h for f, h in made.tree.of(place).items()}
        exchanged = self.tree.without(place).joined(Tree(files))
        outcome = self.world.run(exchanged, command)
        assert outcome.error, f"{place} was exchanged without a word"

    def end(self):
        """No day was scored by what has seen it or a later one."""
        everything = self.tree.joined(self.withheld)
        days = rules.published(self.world, everything, "ctr")
        if days:
            self._check_cut(everything, days[-1], days[-1].last)

    # How.

    def _command(self, level, how, days) -> Command | None:
        if level == "aggregate":
            found = rules.published(self.world, self.tree, "tpm")
            window = None
            if how == "back" and found:
                window = 1, max(found[-1].last - 1, 1)
            return Command(level, window, self.until, self.pace)
        if how == "planned":
            return Command(level, None, self.until, self.pace)
        found = rules.published(self.world, self.tree, level)
        end = found[-1].last if found else BEGINNING[level]
        first = end + 1 + (how == "skip")
        if how == "back":
            first = max(end - 1, BEGINNING[level] + 1)
        last = first + days - 1
        if last > world_lib.LAST:
            return None
        self.until = max(self.until, last)
        return Command(level, (first, last), self.until, self.pace)

    def _goes_back(self, command) -> bool:
        if command.stage not in ("tpm", "cpm") or command.days is None:
            return False
        found = rules.published(self.world, self.tree, command.stage)
        return bool(found) and command.days[0] <= found[-1].last

    def _is_there(self, command) -> bool:
        if command.stage not in ("tpm", "cpm") or command.days is None:
            return False
        found = rules.published(self.world, self.tree, command.stage)
        return command.days in [(each.first, each.last) for each in found]

    def _has_to_succeed(self, command, how) -> bool:
        """Return whether all that a command needs is there, in order."""
        if self.withheld.files or how == "back":
            return False
        there = {
            level: rules.published(self.world, self.tree, level)
            for level in ("tpm", "historical", "cpm", "ctr")
        }
        if command.stage == "aggregate":
            return bool(there["tpm"])
        if command.stage == "cpm":
            seen = there["historical"]
            if command.days is None or there["cpm"]:
                last = there["cpm"][-1].last if there["cpm"] else 0
            else:
                tpm = there["tpm"]
                starts = tpm and tpm[0].last < command.days[0]
                last = command.days[1] if starts else 0
            return bool(seen) and seen[0].last <= last
        if command.stage == "ctr":
            days = [n for each in there["ctr"] for n in rules.days_of(each)]
            whole = days == [*range(BEGINNING["ctr"] + 1, len(days) + 4)]
            return bool(days) and (whole or how != "planned")
        return True

    def _collides(self, command) -> bool:
        """Return whether a command makes anew what is withheld."""
        after = self.world.run(self.tree, command).tree
        return bool(after.names() & self.withheld.names())

    def _carry_out(self, command) -> None:
        self.error = ""
        if self._collides(command):
            return
        outcome = self.world.run(self.tree, command)
        if self.disturbed:
            clean = self.world.run(self.tree.artefacts(), command)
            assert bool(outcome.error) == bool(clean.error), (
                outcome.error or clean.error
            )
            assert outcome.tree.artefacts() == clean.tree.artefacts()
        self._check(command, outcome.tree)
        self.error = outcome.error
        if outcome.error:
            if command.days is not None and command.stage != "ctr":
                assert outcome.tree.artefacts() == self.tree.artefacts()
            self._tell_unfinished(command, outcome.tree)
        else:
            self._check_swept(command, self.tree, outcome.tree)
            self.story.append(command)
            self.last = command
        self.disturbed = bool(outcome.error)
        self.tree = outcome.tree

    def _tell_unfinished(self, command, after) -> None:
        """Add a command to the story, unless it published nothing."""
        kept = after.artefacts().names()
        if kept - self.tree.names():
            self.story += [command, ("keep", kept | self.withheld.names())]

    def _check(self, command, after) -> None:
        rules.check_step(self.world, self.tree, self.withheld, after, command)
        rules.check_state(self.world, after, self.withheld)
        self._check_unseen(command, after)

    def _check_unseen(self, command, after) -> None:
        """A CPM is the same without the history of its last day and later.

        That history may be loaded with the rest, for the day after.
        """
        cpms = rules.published(self.world, after, "cpm")
        if command.stage != "cpm" or command.days is None or not cpms:
            return
        last = command.days[1]
        later = [
            table.place
            for table in rules.published(self.world, self.tree, "historical")
            if table.last >= last
        ]
        place = cpms[-1].place
        if not later or place in self.tree.names():
            return
        without = self.tree.artefacts().without(*later)
        again = self.world.run(without, command)
        if again.error:
            return
        cpm = self.world.read(again.tree, place)
        for name, array in cpms[-1].arrays["weights"].items():
            other = cpm.arrays["weights"][name]
            assert np.array_equal(array, other), f"{place} sees {later}"

    def _check_swept(self, command, before, after) -> None:
        """What was left over is gone once the level publishes again."""
        if after.names() - before.names():
            assert not after.leftovers(command.stage)

    def _fail(self, level, days, words, setting) -> None:
        """Give a command that has to fail and to leave nothing behind."""
        command = self._command(level, "next", days)
        if command is None:
            return
        wrong = command._replace(settings=(setting,))
        outcome = self.world.run(self.tree, wrong)
        assert outcome.error, f"{wrong} ended well"
        if any(word not in outcome.error for word in words):
            # Then something else is missing.
            assert self.world.run(self.tree, command).error, outcome.error
        assert outcome.tree.artefacts() == self.tree.artefacts()
        self.tree, self.disturbed = outcome.tree, True

    def _move(self, place: str, away: bool) -> None:
        if away:
            self.tree, self.withheld = moved(place, self.tree, self.withheld)
        else:
            self.withheld, self.tree = moved(place, self.withheld, self.tree)
        self.story.append(("away" if away else "back", place))
        self.last = None

    def _check_cut(self, everything, scored, cut: int) -> None:
        """Tell the story again with other logs from a day on."""
        compared = {
            place
            for place in everything.names()
            if self.world.read(everything, place).last < cut
        }
        told = self._told(cut, compared | {scored.place})
        again = self.world.read(told, scored.place)
        count = world_lib.ADS_ROWS * (cut - scored.first) + world_lib.PROBES
        assert (
            scored.scores["ctr"][:count] == again.scores["ctr"][:count]
        ).all(), f"{scored.place} has seen day {cut} or a later one"
        for place in compared:
            assert told.of(place) == everything.of(place), place

    def _told(self, cut: int, wanted: set[str]) -> Tree:
        """Tell the story up to where all that is wanted has come."""
        tree, withheld = EMPTY, EMPTY
        for step in self.story:
            if isinstance(step, Command):
                if wanted <= tree.names() | withheld.names():
                    break
                step = step._replace(cut=cut)
                tree = self.world.run(tree, step).tree.artefacts()
                rules.check_state(
                    self.world, tree, withheld, cut if cut <= step.until else 0
                )
                continue
            what, place = step
            if what == "keep":
                gone = tree.names() - place
                tree = tree.without(*gone)
                continue
            if what == "away":
                tree, withheld = moved(place, tree, withheld)
            else:
                withheld, tree = moved(place, withheld, tree)
        return tree.joined(withheld)
