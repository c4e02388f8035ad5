"""The emulated systems, on a terminal."""

from collections.abc import Sequence

from osxfs_sim.model.events import EventSpec
from osxfs_sim.model.formatting import format_duration, format_rate, format_size
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.profile import FILE_RULES, POLICIES, Profile
from osxfs_sim.model.write_back import WriteBackSpec
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.tables import bold, table


def profile_values(profile: Profile) -> dict[str, str]:
    """Each value of *profile* as text, under the key that its TOML file gives it."""
    if profile.is_local:
        return _local_values(profile)
    latency, caching = profile.latency, profile.caching
    values = {
        f"latency.{operation_class.label}": format_duration(latency.base_ns[operation_class])
        for operation_class in OperationClass
    }
    values["latency.bandwidth"] = format_rate(latency.bandwidth_bytes_per_s)
    values["latency.distribution"] = latency.distribution.describe()
    if latency.served_at_once is not None:
        values["latency.served_at_once"] = str(latency.served_at_once)
    if latency.data_path is not None:
        path = latency.data_path
        values["latency.data_path"] = (
            f"{path.copies} copies of {format_duration(path.copy_ns)}, "
            f"{path.context_switches} switches of {format_duration(path.context_switch_ns)}, "
            f"hop {format_duration(path.hypervisor_hop_ns)}"
        )
    values["caching.policy"] = caching.policy
    heard = POLICIES[caching.policy]
    if "cache_timeout" in heard:
        values["caching.cache_timeout"] = format_duration(caching.cache_timeout_ns or 0)
    if "negative_timeout" in heard:
        values["caching.negative_timeout"] = format_duration(caching.negative_timeout_ns or 0)
    if "keep_pages" in heard:
        values["caching.keep_pages"] = _yes_or_no(caching.keep_pages)
    for key in FILE_RULES:
        values[f"files.{key}"] = str(getattr(profile.files, key))
    values |= _event_values(profile.events)
    values["protocol.readdirplus"] = profile.protocol.readdirplus
    values["protocol.parallel_directories"] = _yes_or_no(profile.protocol.parallel_directories)
    for ailment in profile.bugs:
        values[f"bugs.{ailment.bug}"] = str(ailment.limit or "true")
    return values | _write_back_values(profile.write_back)


def _local_values(profile: Profile) -> dict[str, str]:
    values = {"share.transport": profile.transport.value}
    spec = profile.synchronization
    if spec is not None:
        size = "none" if spec.most_file_bytes is None else format_size(spec.most_file_bytes)
        values |= {
            "synchronization.mode": spec.mode.value,
            "synchronization.latency": format_duration(spec.latency_ns),
            "synchronization.rescan": format_duration(spec.rescan_ns),
            "synchronization.ignored": ", ".join(spec.ignored) or "nothing",
            "synchronization.ignore_vcs": _yes_or_no(spec.ignore_vcs),
            "synchronization.most_file_size": size,
        }
    return values


def _write_back_values(spec: WriteBackSpec | None) -> dict[str, str]:
    if spec is None:
        return {"write_back.held": "false"}
    return {
        "write_back.held": "true",
        "write_back.age": format_duration(spec.age_ns),
        "write_back.changes": str(spec.most_changes),
        "write_back.bytes": format_size(spec.most_bytes),
        "write_back.in_flight": str(spec.in_flight),
        "write_back.kernel": _yes_or_no(spec.kernel),
    }


def _event_values(events: EventSpec) -> dict[str, str]:
    stream, notify = events.stream, events.notify
    if stream is None:
        return {"events.stream": "none"}
    values = {
        "events.stream": "fsevents",
        "events.latency": format_duration(stream.latency_ns),
        "events.no_defer": _yes_or_no(stream.no_defer),
        "events.most_pending": str(stream.most_pending),
        "events.inotify": _yes_or_no(notify is not None),
    }
    if notify is not None:
        values |= {
            "events.creates": _yes_or_no(notify.creates),
            "events.modifies": notify.modifies,
            "events.attributes": _yes_or_no(notify.attributes),
            "events.deletes": _yes_or_no(notify.deletes),
            "events.touches": _yes_or_no(notify.touches),
        }
        for key in ("debounce_files", "debounce_directories"):
            debounce_ns = getattr(notify, f"{key}_ns")
            if debounce_ns:
                values[f"events.{key}"] = format_duration(debounce_ns)
    return values


def _yes_or_no(value: bool) -> str:
    """As TOML writes it."""
    return "true" if value else "false"


def profiles_report(profiles: Sequence[Profile]) -> None:
    """Print a line per profile: latency, bandwidth, caching, and what it is."""
    rows = table("profile", ">metadata", ">1 KiB write", ">bandwidth", "caching", "what it is")
    for profile in profiles:
        rows.add_row(bold(profile.name), *_at_a_glance(profile), profile.title)
    console().print(rows)


def _at_a_glance(profile: Profile) -> tuple[str, str, str, str]:
    if profile.is_local:
        what = "synchronized copy" if profile.synchronization else profile.transport.value
        return ("-", "-", "-", what)
    latency = profile.latency
    write_ns = latency.base_ns[OperationClass.WRITE]
    if latency.bandwidth_bytes_per_s is not None:
        write_ns += 1024 * 1_000_000_000 // latency.bandwidth_bytes_per_s
    return (
        format_duration(latency.metadata_ns),
        format_duration(write_ns),
        format_rate(latency.bandwidth_bytes_per_s),
        profile.caching.policy + (", changes held" if profile.write_back else ""),
    )


def profile_report(profile: Profile) -> None:
    """Print one profile: each value, with the basis and source that it has."""
    out = console()
    out.print(f"[bold]{escape(profile.name)}[/bold]: {escape(profile.title)}")
    if profile.about:
        out.print(escape(profile.about))
    rows = table("value", "", "basis", "source")
    for key, value in profile_values(profile).items():
        source = profile.sources.get(key)
        rows.add_row(
            key,
            value,
            source.basis if source else "",
            source.text if source else "",
        )
    out.print(rows)
