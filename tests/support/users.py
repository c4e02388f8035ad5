"""Other users of the machine: what they do, from processes of their own."""

import errno
import gc
import os
import pickle
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OK = "ok"


@dataclass(frozen=True)
class User:
    """Somebody with these ids, as user and groups of a process."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


ROOT = User(0, 0)
OWNER = User(65534, 65534)
STRANGER = User(65533, 65533)
THIRD = User(65532, 65532)
MEMBER = User(65531, OWNER.gid)
"""Whose own group is OWNER's."""
JOINED = User(65530, 65530, (65529, OWNER.gid))
"""Who is in OWNER's group besides others."""


def become(user: User) -> None:
    """Be *user* from now on, without a way back."""
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)


def _forked(act: Callable[[], object]) -> tuple[bytes, int]:
    """What *act* returned in a child process, pickled, and how the child ended.

    A child that became another program has said nothing.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # The child of a process with threads may use nothing that another thread
        # could have held: it makes system calls, says what came of them, and ends.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        code = 1
        gc.disable()  # it would copy much of the parent's memory
        try:
            os.close(reading)
            try:
                said = pickle.dumps((True, act()))
            except OSError as error:
                said = pickle.dumps((True, error))
            except BaseException:
                said = pickle.dumps((False, traceback.format_exc()))
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(said)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    return said, os.waitstatus_to_exitcode(status)


def act_as(user: User, act: Callable[[], Any]) -> Any:
    """Do *act* in a child process as *user*: what it returned, or the OSError it raised.

    What it returns must be plain values. An OSError is raised here again;
    anything else that it raised fails the test.
    """

    def act_there() -> object:
        become(user)
        return act()

    said, code = _forked(act_there)
    assert said, f"the child said nothing and ended with {code}"
    good, answer = pickle.loads(said)
    assert good, answer
    if isinstance(answer, OSError):
        raise answer
    return answer


def program_as(user: User, path: str | os.PathLike[str], *arguments: str) -> int:
    """Run the program at *path* as *user*, and return its exit code. Raises OSError."""

    def become_it() -> None:
        become(user)
        os.execv(path, [os.fspath(path), *arguments])

    said, code = _forked(become_it)
    if not said:
        return code
    good, answer = pickle.loads(said)
    assert good, answer
    raise answer


def outcome(act: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """The name of the errno that *act* fails with, or OK."""
    try:
        act(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return OK


def outcome_as(user: User, act: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """As outcome, of what *user* does."""
    if user == ROOT and os.getresuid() == (0, 0, 0):
        return outcome(act, *arguments, **options)
    return outcome(act_as, user, lambda: _nothing(act, *arguments, **options))


def outcomes_as(user: User, acts: dict[str, Callable[[], object]]) -> dict[str, str]:
    """As outcome_as, for many acts, one after the other in one process."""
    answer = act_as(user, lambda: {name: outcome(act) for name, act in acts.items()})
    assert isinstance(answer, dict)
    return answer


def _nothing(act: Callable[..., object], *arguments: Any, **options: Any) -> None:
    act(*arguments, **options)
