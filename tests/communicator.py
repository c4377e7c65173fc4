"""Processes of one distributed run, played by threads."""

import threading


class Communicator:
    """Adds the arrays of all members, as an MPI communicator's Allreduce does."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size, timeout=60)
        self.arrays = [None] * size
        self.calls = 0

    def member(self, rank):
        return Member(self, rank)

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

    def add(self, array):
        """Add in place, as the engines want it."""
        assert array.ndim == 1 and array.flags.c_contiguous and array.flags.writeable
        array[...] = self.communicator.total(self.rank, array)


def together(communicator, work):
    """Run work(rank) in a thread each; return the results in order, or raise the first error."""
    results, errors = [None] * communicator.size, []

    def run(rank):
        try:
            results[rank] = work(rank)
        except BaseException as error:
            communicator.barrier.abort()
            errors.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(communicator.size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next(
            (e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0]
        )
    return results
