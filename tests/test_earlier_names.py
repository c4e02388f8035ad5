"""A name of an earlier version is refused by the one of today, wherever it can be given.

That of an option of the command line is in tests/cli/test_command_line.py, that of an arm's in
tests/lab/test_arms_of_comparisons.py.
"""

import importlib

import pytest
from support.complaints import complaint

import osxfs_sim
from osxfs_sim.catalogue import load_policy, load_profile
from osxfs_sim.exports import load_exports
from osxfs_sim.model.profile import ProfileError

OPTIONS = [("lifetime", "cache_timeout"), ("missing_lifetime", "negative_timeout")]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("old", "new"), OPTIONS)
def test_a_key_of_a_profile_is(here, old, new):
    (here / "mine.toml").write_text(
        f'name = "mine"\nextends = "osxfs-negative"\n[caching]\n{old} = "1s"\n'
    )
    assert complaint(ProfileError, load_profile, "mine.toml") == (
        f"mine.toml: caching.{old} is called {new} now"
    )


@pytest.mark.parametrize(("old", "new"), OPTIONS)
def test_a_key_of_a_share_file_is(here, old, new):
    (here / "share.toml").write_text(
        f'[exports.a]\nsource = "."\nprofile = "osxfs-negative"\n{old} = "1s"\n'
    )
    assert complaint(ProfileError, load_exports, "share.toml", "/mnt", {}) == (
        f"share file share.toml: exports.a.{old} is called {new} now"
    )


@pytest.mark.parametrize(("old", "new"), OPTIONS)
def test_a_keyword_of_share_is(old, new):
    message = complaint(TypeError, osxfs_sim.share, "/", "/mnt", **{f"{old}_ns": 1})
    assert message == f"share()'s keyword '{old}_ns' is called '{new}_ns' now"


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("osxfs_sim", "Lifetimes", "CacheTimeouts"),
        ("osxfs_sim.model.caching", "Lifetimes", "CacheTimeouts"),
        ("osxfs_sim.model.caching", "NOT_BELIEVED", "UNCACHED"),
    ],
)
def test_what_policies_import_is(here, monkeypatch, module, old, new):
    (here / "policies_of_before.py").write_text(f"from {module} import {old}\n")
    monkeypatch.syspath_prepend(here)
    importlib.invalidate_caches()
    said = f"{module}.{old} is called {new} now"
    assert complaint(ProfileError, load_policy, "policies_of_before:Mine") == (
        f"cannot import the policy's module: {said}"
    )
    # No other name is found by this, nor taken for one that is.
    assert hasattr(importlib.import_module(module), new)
    assert not hasattr(importlib.import_module(module), f"{old}x")


def test_a_method_of_a_policy_is(here, monkeypatch):
    """Else it would never be asked, and nobody would learn why nothing is cached."""
    (here / "policy_of_before.py").write_text(
        "from osxfs_sim import CachePolicy\n"
        "class Mine(CachePolicy):\n"
        "    def missing_ns(self, name, now_ns):\n"
        "        return 1\n"
        "class Today(CachePolicy):\n"
        "    def negative_timeout_ns(self, name, now_ns):\n"
        "        return 1\n"
    )
    monkeypatch.syspath_prepend(here)
    importlib.invalidate_caches()
    assert complaint(ProfileError, load_policy, "policy_of_before:Mine") == (
        "the policy policy_of_before:Mine: its method missing_ns is called negative_timeout_ns now"
    )
    assert load_policy("policy_of_before:Today").negative_timeout_ns(b"", 0) == 1
