"""How the tests that need no mount read complaints and run properties.

Importing this also sets how properties are run: nothing looks at the time they
take, and one that fails prints its smallest example and a line that replays it
(``pytest --hypothesis-seed=N`` repeats a whole run).
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "osxfs-sim",
    deadline=None,
    # On a machine that is busy, examples may be slow to make.
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
    report_multiple_bugs=False,
)
# What is found in a seeded bug interests nobody: it need not be made small. And
# whether it is found must not be a matter of luck.
hypothesis.settings.register_profile(
    "seeded-bug",
    hypothesis.settings.get_profile("osxfs-sim"),
    database=None,
    derandomize=True,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
hypothesis.settings.load_profile("osxfs-sim")


@contextlib.contextmanager
def noticed(*errors: type[Exception]) -> Iterator[None]:
    """The block checks a seeded bug with a property, which must fail with one of *errors*.

    Without any, an assertion must fail.
    """
    hypothesis.settings.load_profile("seeded-bug")
    try:
        with pytest.raises(errors or AssertionError):
            yield
    finally:
        hypothesis.settings.load_profile("osxfs-sim")


def complaint(
    error_class: type[Exception], call: Callable[..., Any], *args: Any, **keys: Any
) -> str:
    """The message of the error that a call must raise: of exactly that class, and one line."""
    with pytest.raises(error_class) as caught:
        call(*args, **keys)
    assert type(caught.value) is error_class
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message
