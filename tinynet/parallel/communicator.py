"""What ranks do together. An engine only has to exchange arrays between two of them.

    P ranks, a power of 2   n elements of an array

The rounding of a floating-point sum depends on the order of its terms. Here it is always the order
of one binary tree, ((0 + 1) + (2 + 3)) + ..., whichever rank is ready first.
"""

from tinynet.backend import array_module


class ParallelError(ValueError):
    """The ranks cannot work together; the message is one line for the user."""


class Communicator:
    """The ranks of a program, as one of them sees them. This class itself is a rank without others.

    rank  the number of this rank, from 0
    size  P, how many ranks there are
    sent  how many bytes this rank has sent to others

    Raises   ParallelError if size is not a power of 2
    """

    rank, size = 0, 1

    def __init__(self):
        self.sent = 0
        if self.size & (self.size - 1):
            raise ParallelError(f"{self.size} ranks: the number of ranks must be a power of 2")

    def exchange(self, partner, send, receive):
        """Send an array to another rank, and receive one from it at the same time.

        Args     send, receive: contiguous arrays, receive is overwritten; None: only the other way
        """
        raise NotImplementedError("a rank without others has no partner")

    def share(self, value):
        """Return a list of the values of all ranks, of any type that can be pickled."""
        return [value]

    def from_first(self, value):
        """Return the value that rank 0 has given."""
        return self.share(value if self.rank == 0 else None)[0]

    def barrier(self):
        """Return when every rank has come here."""
        self.share(None)

    def all_reduce(self, x):
        """Replace x, on every rank, by the sum over all ranks.

        Formula  each rank sends 2 n (P - 1) / P elements
        """
        self.reduce_scatter(x)
        self.all_gather(x)

    def reduce_scatter(self, x):
        """Replace the piece of x that belongs to this rank by its sum over all ranks.

        The ranks halve what they are responsible for, with a partner at distance 1, 2, 4, ...
        The rest of x is left with partial sums.

        Formula  each rank sends n (P - 1) / P elements
        Returns  the piece, a view of the flattened array
        """
        flat = x.reshape(-1)
        for partner, kept, given in self._halves(flat):
            received = array_module(x).empty_like(kept)
            self.exchange(partner, given, received)
            kept += received
            flat = kept
        return flat

    def all_gather(self, x):
        """Fill x, of which every rank has its own piece, with the pieces of the others.

        Formula  each rank sends n (P - 1) / P elements
        """
        for partner, mine, other in reversed(list(self._halves(x.reshape(-1)))):
            self.exchange(partner, mine, other)

    def broadcast(self, x):
        """Overwrite x, on every rank, with that of rank 0.

        Those that have it pass it on: to distance 1, then 2, 4, ...
        """
        distance = 1
        while distance < self.size:
            if self.rank < distance:
                self.exchange(self.rank + distance, x, None)
            elif self.rank < 2 * distance:
                self.exchange(self.rank - distance, None, x)
            distance *= 2

    def _halves(self, flat):
        """Yield (partner, the half that stays with this rank, the partner's half), again and
        again.
        """
        distance = 1
        while distance < self.size:
            halves = flat[:flat.size // 2], flat[flat.size // 2:]
            upper = bool(self.rank & distance)
            flat = halves[upper]
            yield self.rank ^ distance, flat, halves[not upper]
            distance *= 2
