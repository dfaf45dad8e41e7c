"""What ranks do together. An engine only has to carry arrays and values between ranks.

    P ranks, a power of 2   n elements of an array

The rounding of a floating-point sum depends on the order of its terms. Here it is always the order
of one binary tree, ((0 + 1) + (2 + 3)) + ..., whichever rank is ready first.

Every operation has a label, mostly the name of a layer, under which its bytes are counted.
"""

import functools
import pickle  # ranks are one program: what they send each other comes from no stranger
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tinynet.backend import array_module


class ParallelError(ValueError):
    """The ranks cannot work together; the message is one line for the user."""


def require_power_of_2(size):
    """Raise ParallelError unless the number of ranks is a power of 2."""
    if size & (size - 1):
        below = 1 << size.bit_length() - 1
        raise ParallelError(f"{size} ranks: the number of ranks must be a power of 2; start "
                            f"{below} or {2 * below}")


class Communicator:
    """The ranks of a program, as one of them sees them. This class itself is a rank without others.

    rank            the number of this rank, from 0
    size            P, the number of ranks
    sent, received  bytes that this rank has sent to others and received: {"conv3": 11075584, ...}

    An engine has _exchange and _share.

    Raises   ParallelError if size is not a power of 2
    """

    rank, size = 0, 1

    def __init__(self):
        require_power_of_2(self.size)
        self.sent, self.received = Counter(), Counter()

    def exchange(self, partner, send, receive, label):
        """Send an array to another rank, and receive one from it at the same time.

        Args     send, receive: contiguous arrays; receive is overwritten. None: nothing goes that
                 way
        """
        self._exchange(partner, send, receive)
        for counter, array in ((self.sent, send), (self.received, receive)):
            if array is not None:
                counter[label] += array.nbytes

    def share(self, value, label="the run"):
        """Return a list of the values of all ranks, of any type that can be pickled."""
        if self.size == 1:
            return [value]
        data = pickle.dumps(value)
        others = self._share(data)  # {rank: bytes}
        self.sent[label] += len(data) * len(others)
        self.received[label] += sum(map(len, others.values()))
        values = {rank: pickle.loads(other) for rank, other in others.items()} | {self.rank: value}
        return [values[rank] for rank in range(self.size)]

    def _exchange(self, partner, send, receive):
        raise NotImplementedError("a rank without others has no partner")

    def _share(self, data):
        raise NotImplementedError("a rank without others has no partner")

    def from_first(self, value):
        """Return the value that rank 0 has given."""
        return self.share(value if self.rank == 0 else None)[0]

    def barrier(self):
        """Return when every rank has come here."""
        self.share(None)

    def all_reduce(self, x, label):
        """Replace x, on every rank, by the sum over all ranks.

        Formula  each rank sends 2 n (P - 1) / P elements
        """
        self.reduce_scatter(x, label)
        self.all_gather(x, label)

    def begin_all_reduce(self, x, label):
        """Begin all_reduce in the background; return a function that waits for its end."""
        return self._background.submit(self.all_reduce, x, label).result

    @functools.cached_property
    def _background(self):
        return ThreadPoolExecutor(1, "tinynet gradients")

    def reduce_scatter(self, x, label):
        """Replace the piece of x that belongs to this rank by its sum over all ranks.

        The ranks halve what they are responsible for, with a partner at distance 1, 2, 4, ...
        The rest of x is left with partial sums.

        Formula  each rank sends n (P - 1) / P elements
        Returns  the piece, a view of the flattened array
        """
        flat = x.reshape(-1)
        for partner, kept, given in self._halves(flat):
            received = array_module(x).empty_like(kept)
            self.exchange(partner, given, received, label)
            kept += received
            flat = kept
        return flat

    def all_gather(self, x, label):
        """Fill x, of which every rank has its own piece, with the pieces of the others.

        Formula  each rank sends n (P - 1) / P elements
        """
        for partner, mine, other in reversed(list(self._halves(x.reshape(-1)))):
            self.exchange(partner, mine, other, label)

    def gather_rows(self, x, ends, label):
        """Fill x, of which rank r has the rows ends[r] to ends[r + 1], with the rows of the others.

        After each exchange a rank has the rows of twice as many neighbours.
        """
        distance = 1
        while distance < self.size:
            partner = self.rank ^ distance
            mine, other = (slice(ends[first], ends[first + distance])
                           for first in (rank // distance * distance
                                         for rank in (self.rank, partner)))
            self.exchange(partner, x[mine], x[other], label)
            distance *= 2

    def broadcast(self, x, label):
        """Overwrite x, on every rank, with that of rank 0.

        Every rank that has it passes it on: to distance 1, then 2, 4, ...
        """
        distance = 1
        while distance < self.size:
            if self.rank < distance:
                self.exchange(self.rank + distance, x, None, label)
            elif self.rank < 2 * distance:
                self.exchange(self.rank - distance, None, x, label)
            distance *= 2

    def _halves(self, flat):
        """Yield, for each halving, (partner, the half that stays here, the partner's half)."""
        distance = 1
        while distance < self.size:
            halves = flat[:flat.size // 2], flat[flat.size // 2:]
            upper = bool(self.rank & distance)
            flat = halves[upper]
            yield self.rank ^ distance, flat, halves[not upper]
            distance *= 2
