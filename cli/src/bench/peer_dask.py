"""One row of `phalanx bench runtime`, run by dask.distributed.

Called as `PYTHON peer_dask.py ROW N THREADS`. It says `version X`, then `ready` when the cluster is up and warm, then
`seconds S` for the work alone. The caller stops it where it takes too long.
"""

import sys
import time


def nothing(i):
    return i


def leaf(i):
    return float(i)


def add(a, b):
    return a + b


def measured(work):
    print("ready", flush=True)
    begin = time.perf_counter()
    work()
    print("seconds", time.perf_counter() - begin, flush=True)


def independent(client, n):
    futures = client.map(nothing, range(n), pure=False)
    total = sum(client.gather(futures))
    assert total == n * (n - 1) // 2


def tree(client, n):
    import dask

    level = [dask.delayed(leaf, pure=False)(i) for i in range(n)]
    call = dask.delayed(add, pure=False)
    while len(level) > 1:
        level = [call(a, b) for a, b in zip(level[::2], level[1::2])]
    assert client.compute(level[0], optimize_graph=False).result() == n * (n - 1) / 2


def sequential(client, n):
    for i in range(n):
        assert client.submit(nothing, i, pure=False).result() == i


def main():
    row, n, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    import logging

    import dask
    import distributed

    print("version", distributed.__version__, flush=True)
    # What a cluster says while it is taken down is no result.
    dask.config.set({"distributed.logging.distributed": "critical", "distributed.admin.tick.limit": "1h"})
    logging.disable(logging.CRITICAL)

    quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    if row.startswith("local"):
        cluster = distributed.LocalCluster(processes=False, n_workers=1, threads_per_worker=threads, **quiet)
    elif row.startswith("processes"):
        cluster = distributed.LocalCluster(processes=True, n_workers=threads, threads_per_worker=1, **quiet)
    else:
        from distributed.deploy import SubprocessCluster

        # Scheduler and worker are programs of their own, as they are for us.
        cluster = SubprocessCluster(
            n_workers=1,
            threads_per_worker=1,
            scheduler_kwargs={"dashboard": False},
            worker_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        )
    with cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(1 if row.startswith(("local", "tcp")) else threads)
        sequential(client, 10)
        work = {"tasks": independent, "tree": tree, "trip": sequential}[row.split("-")[1]]
        measured(lambda: work(client, n))


if __name__ == "__main__":
    main()
