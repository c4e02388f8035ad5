"""``python -m osxfs_sim`` is ``osxfs-sim``."""

from osxfs_sim.cli import main

if __name__ == "__main__":
    main()
