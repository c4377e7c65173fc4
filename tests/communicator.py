"""Processes of one distributed run, played by threads."""

import threading

from amcore.errors import ProcessError


class Communicator:
    """Adds the arrays of all members, as an MPI communicator's Allreduce does.

    Its members know their ranks if it is `ranked`.
    """

    def __init__(self, size, ranked=False):
        self.size, self.ranked = size, ranked
        self.barrier = threading.Barrier(size, timeout=20)
        self.arrays = [None] * size
        self.calls = 0

    def member(self, rank):
        return (RankedMember if self.ranked else Member)(self, rank)

    def total(self, rank, array):
        self.arrays[rank] = array.copy()
        self.barrier.wait()
        shapes = {(a.shape, a.dtype) for a in self.arrays}
        assert len(shapes) == 1, "the members add different things"
        total = sum(self.arrays[1:], self.arrays[0])
        self.barrier.wait()
        if rank == 0:
            self.calls += 1
        return total


class Member:
    def __init__(self, communicator, rank):
        self.communicator, self.rank = communicator, rank

    def Allreduce(self, send, receive):
        assert send.flags.c_contiguous and receive.flags.c_contiguous
        receive[...] = self.communicator.total(self.rank, send)


class RankedMember(Member):
    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.communicator.size


def outcomes(communicator, work):
    """Run work(rank) in a thread each; return the results or errors in order.

    A member that waits for one that does not come ends in a BrokenBarrierError.
    """
    found = [None] * communicator.size

    def run(rank):
        try:
            found[rank] = work(rank)
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(communicator.size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def together(communicator, work):
    """Run work(rank) in a thread each; return the results in order, or raise the first error."""
    results = outcomes(communicator, work)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        of_others = (threading.BrokenBarrierError, ProcessError)
        raise next((error for error in errors if not isinstance(error, of_others)), errors[0])
    return results
