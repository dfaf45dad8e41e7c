"""Several processes, called ranks, that train one network: with the same bits as one process.

    communicator.py  what ranks can do together: exchange, all_reduce, all_gather, ..., alone or not
    threads.py       an engine: ranks that are threads of one process, for lessons and tests
    mpi.py           an engine: processes that mpiexec starts
    data.py          DataParallel: every rank has the whole network, and a part of each batch
"""

from tinynet.parallel.communicator import Communicator, ParallelError
from tinynet.parallel.data import Batches, DataParallel, own_shards, require_shards
from tinynet.parallel.mpi import connect, execute

__all__ = ["Batches", "Communicator", "DataParallel", "ParallelError", "connect", "execute",
           "own_shards", "require_shards"]
