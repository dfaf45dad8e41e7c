"""Several processes, called ranks, that train one network together.

    communicator.py  what ranks can do together: exchange, all_reduce, all_gather, ..., alone or not
    threads.py       an engine: ranks that are threads of one process, for lessons and tests
    mpi.py           an engine: processes that mpiexec starts
    nccl.py          an engine: such processes with a GPU each
    data.py          DataParallel: every rank has the whole network, and a part of each batch
    columns.py       Columns: each of two ranks has half of every layer, and the whole batch
    mixed.py         Mixed: a part of each batch below, half of every layer above
"""

from tinynet.parallel.columns import Columns, ColumnSGD
from tinynet.parallel.communicator import Communicator, ParallelError
from tinynet.parallel.data import Batches, DataParallel, own_shards, require_shards
from tinynet.parallel.mixed import Mixed
from tinynet.parallel.mpi import connect, execute
from tinynet.parallel.nccl import Nccl, choose_device

SPLIT = {"columns": Columns, "mixed": Mixed}  # where a rank has a part of the network only

__all__ = ["Batches", "ColumnSGD", "Columns", "Communicator", "DataParallel", "Mixed", "Nccl",
           "ParallelError", "SPLIT", "choose_device", "connect", "execute", "own_shards",
           "require_shards"]
