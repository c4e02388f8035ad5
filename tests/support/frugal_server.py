"""The server of a share that may have few descriptors."""

import resource

from osxfs_sim.mount.server import session
from osxfs_sim.mount.server.main import main

LIMIT = 2_048

if __name__ == "__main__":
    session._raise_descriptor_limit = lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (LIMIT, LIMIT)
    )
    main()
