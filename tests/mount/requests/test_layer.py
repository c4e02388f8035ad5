"""What a layer does not do itself is the next one's: bound once, and not looked up again."""

from osxfs_sim.mount.requests.layer import Layer


class Bottom:
    def greet(self) -> str:
        return "bottom"

    def leave(self) -> str:
        return "gone"


class Polite(Layer):
    def greet(self) -> str:
        return f"polite {self.next.greet()}"


class Silent(Layer):
    """Does nothing of its own."""


def test_what_a_layer_does_not_do_is_the_next_one_s() -> None:
    bottom = Bottom()
    top = Silent(Polite(Silent(bottom)))
    assert vars(top)["greet"]() == "polite bottom"
    assert vars(top)["leave"]() == "gone"
    assert vars(top)["leave"].__self__ is bottom, "three layers, and no call of theirs"


def test_a_layer_knows_what_it_lies_over() -> None:
    bottom = Bottom()
    assert Silent(bottom).next is bottom
    assert Silent(Polite(bottom)).next.next is bottom


def test_nobody_is_changed_by_what_lies_over_it() -> None:
    bottom = Bottom()
    Polite(bottom)
    assert not vars(bottom)
    assert bottom.greet() == "bottom"
