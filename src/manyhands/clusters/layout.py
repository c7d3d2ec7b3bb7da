"""Where in the flat vectors what stands."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """How many numbers a model has: ``parameters`` trainable ones (T), then ``buffers`` (float, e.g. batch-norm's)."""

    parameters: int
    buffers: int
    shapes: tuple[tuple[int, ...], ...] = ()
    """of the trainable tensors, in the order in which they stand in the vector"""

    def shard(self, place: int, shards: int) -> slice:
        """Which of the T parameters are in one of ``shards`` parts of nearly the same size, as in tensor_split."""
        size, longer = divmod(self.parameters, shards)
        start = place * size + min(place, longer)
        return slice(start, start + size + (place < longer))

    def layers(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The shapes that make up a vector: of the trainable tensors, of these and the buffers, or it is a part."""
        whole = self.parameters + self.buffers
        return {self.parameters: self.shapes, whole: (*self.shapes, (self.buffers,))}.get(size, ((size,),))
