"""A pair of directories for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.pairs import Pair


@pytest.fixture
def make_pair(tmp_path: Path) -> Iterator[Callable[..., Pair]]:
    made: list[Pair] = []

    def make(**spec: Any) -> Pair:
        made.append(Pair(tmp_path, **spec))
        return made[-1]

    yield make
    for pair in made:
        pair.engine.close()


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()
