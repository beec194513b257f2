"""Answers that nothing has cached: 200 different questions of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .draw import Draw
    from .ground import Ground
    from .questions import Kind

ROUNDS = 8
QUESTIONS = 25  # of each kind in each round
ATTEMPTS = 50  # to draw a question that was not asked before
SKIP_MAX = 10_000

Sample = dict[str, Any]


def measure(ground: Ground, draw: Draw, kinds: Sequence[Kind]) -> list[Sample]:
    """Ask each round some questions of every kind, each time beginning with another kind."""
    asked: set[str] = set()
    for kind in kinds:  # connections, and what PostgreSQL and Python read when they first need it
        ground.ask_cold(_question(ground, draw, kind, asked))
    samples = []
    for number in range(ROUNDS):
        turn = number * len(kinds) // ROUNDS
        for kind in [*kinds[turn:], *kinds[:turn]]:
            questions = [_question(ground, draw, kind, asked) for _ in range(QUESTIONS)]
            samples.append({"round": number, **_ask(ground, kind, questions)})
        print(f"cold, round {number + 1} of {ROUNDS}", flush=True)
    return samples


def _ask(ground: Ground, kind: Kind, questions: list[str]) -> Sample:
    if kind.keep:
        ground.ask(questions[0])
    ground.look_anew()
    milliseconds, waited, before = [], [], ground.cpu_seconds()
    for question in questions:
        found = ground.ask_cold(question, kind.keep)
        milliseconds.append(round(found.milliseconds, 2))
        waited.append(round(found.waited, 2))
    after = ground.cpu_seconds()
    cpu = {name: round(after[name] - seconds, 2) for name, seconds in before.items()}
    return {"kind": kind.name, "milliseconds": milliseconds, "waited": waited, "cpu": cpu}


def _question(ground: Ground, draw: Draw, kind: Kind, asked: set[str]) -> str:
    """Draw a question that was not asked before; a page of its list, if it is to be any page."""
    for _ in range(ATTEMPTS):
        question: str | None = kind.question(draw)
        if question and kind.far:
            question = _any_page(ground, draw, question)
        if question and question not in asked:
            asked.add(question)
            return question
    raise BenchError(f"there are not enough different questions: {kind.name}")


def _any_page(ground: Ground, draw: Draw, question: str) -> str | None:
    """Return the address of a page within the list by `after`, as the page before it has it."""
    skip = draw.chance.randint(1, SKIP_MAX)
    while skip:
        if found := ground.ask(f"{question}&skip={skip}").next:
            return found
        skip //= 4  # the list is shorter
    return None
