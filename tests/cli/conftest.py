"""How the command is asked, and what it says about a mistake."""

from pathlib import Path

import pytest
from support.command import Command


@pytest.fixture(scope="session")
def complaint(cli: Command):
    def complaint(*arguments: str | Path) -> str:
        """What the command says about a mistake; checks that it is one line, and an error."""
        result = cli(*arguments)
        assert result.returncode in (1, 2), (result.stdout, result.stderr)
        assert "Traceback" not in result.stderr
        line = result.stderr.strip().splitlines()[-1]
        if result.returncode == 1:
            assert result.stderr.strip() == line
        return line.removeprefix("osxfs-sim: ").removeprefix("Error: ")

    return complaint
