"""A plugin that runs modules, and the tests of each, in an order of its own: -p support.shuffled.

The environment's SHUFFLE is the seed. Tests of one module stay together, which use its mounts.
"""

import os
from random import Random

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    random = Random(os.environ.get("SHUFFLE") or 0)
    of_modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        of_modules.setdefault(item.nodeid.partition("::")[0], []).append(item)
    modules = list(of_modules.values())
    random.shuffle(modules)
    for module in modules:
        random.shuffle(module)
    items[:] = [item for module in modules for item in module]
