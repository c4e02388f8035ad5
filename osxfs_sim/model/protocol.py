"""What a server negotiates with the guest's kernel (FUSE_INIT).

The kernel decides by it which requests it makes of the same work: whether the listing
of a directory brings what its entries are like (READDIRPLUS) or their names only
(READDIR), and whether it makes several requests in one directory at a time.
"""

from dataclasses import dataclass

READDIRPLUS = ("always", "adaptive", "never")
"""*adaptive*: the kernel uses READDIRPLUS when a listing begins, and goes on to while the
entries are looked up (FUSE_READDIRPLUS_AUTO)."""


@dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """The features of the protocol that a system negotiates."""

    readdirplus: str = "always"
    """Whether listings bring attributes: one of READDIRPLUS."""
    parallel_directories: bool = False
    """Whether lookups and listings of one directory run concurrently (FUSE_PARALLEL_DIROPS)."""

    def __post_init__(self) -> None:
        assert self.readdirplus in READDIRPLUS, self.readdirplus

    @property
    def lists_names(self) -> bool:
        """Whether the kernel may list names without attributes (READDIR, not READDIRPLUS)."""
        return self.readdirplus != "always"


USUAL = ProtocolSpec()
"""What pyfuse3 negotiates by itself."""
