"""What a server asks the guest's kernel for when the two agree on a protocol.

The kernel decides by it which requests it makes of the same work: whether the listing
of a directory brings what its entries are like (READDIRPLUS) or their names only
(READDIR), and whether it asks several things in one directory at a time.
"""

from dataclasses import dataclass

READDIRPLUS = ("always", "adaptive", "never")
"""*adaptive*: the kernel asks for more than names when a listing begins, and goes on to
while somebody looks at what it lists."""


@dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """*readdirplus* is one of READDIRPLUS. *parallel_directories*: lookups and listings in
    one directory may be under way at the same time, and need not wait for each other.
    """

    readdirplus: str = "always"
    """Whether listings bring attributes: one of READDIRPLUS."""
    parallel_directories: bool = False
    """Whether lookups and listings of one directory go on side by side."""

    def __post_init__(self) -> None:
        assert self.readdirplus in READDIRPLUS, self.readdirplus

    @property
    def lists_names(self) -> bool:
        """Whether the kernel may ask for names only."""
        return self.readdirplus != "always"


USUAL = ProtocolSpec()
"""What pyfuse3 asks for by itself."""
