"""The systems that predictions are of: an arm of a comparison, as simulate/ wants it."""

from osxfs_sim.emulated_shares import settings_of
from osxfs_sim.lab.arms import Arm
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.profile import XattrPolicy
from osxfs_sim.model.user_error import UserError
from osxfs_sim.simulate.share import System


def system_of(arm: Arm) -> System:
    """The system that *arm* stands for.

    Raises UserError for one that cannot be predicted: without requests, with the kernel's own
    write-back, or with direct I/O, whose every read(2) is a request that no recording has.
    """
    if arm.is_native:
        raise UserError("native makes no requests: what was measured beside it is shown anyway")
    emulated = settings_of(arm).system()
    if emulated.profile.is_local:
        raise UserError(
            f"{arm.label} makes no requests, and cannot be predicted: measure it with compare"
        )
    if emulated.write_back is not None and emulated.write_back.kernel:
        raise UserError(
            f"{arm.label} has the guest's kernel hold writes back, which is not predicted yet: "
            "measure it with compare"
        )
    if emulated.policy.direct:
        raise UserError(
            f"{arm.label} reads directly, which is not predicted yet: measure it with compare"
        )
    return System(
        arm.label,
        emulated.policy,
        emulated.latency,
        readdirplus=emulated.profile.protocol.readdirplus,
        write_back=emulated.write_back,
        keeps_xattrs=emulated.files.extended_attributes is XattrPolicy.HOST,
        checks_permissions=emulated.files.ownership is Ownership.HOST,
    )
