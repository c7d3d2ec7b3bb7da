"""Notes what a benchmark says of itself."""

from manyhands.measure.results import Say


class Noting(Say):
    def __init__(self) -> None:
        self.expected = 0
        self.said: list[str] = []

    def expect(self, things: int) -> None:
        self.expected += things

    def __call__(self, words: str) -> None:
        self.said.append(words)
        assert len(self.said) <= self.expected
