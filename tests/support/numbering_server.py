"""The server of a share that tells the host's objects by their inode numbers alone."""

from osxfs_sim.mount.server.main import main
from osxfs_sim.mount.tree import generations

if __name__ == "__main__":
    generations._generation = lambda *_: None  # type: ignore[assignment]
    main()
