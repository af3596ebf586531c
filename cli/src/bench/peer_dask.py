"""One row of `phalanx bench runtime`, run by dask.distributed.

Called as `PYTHON peer_dask.py ROW N THREADS [GRAPH]`. It says `version X`, then `ready` when the cluster is up and warm,
then `seconds S` for the work alone. The caller stops it where it takes too long.
"""

import json
import statistics
import sys
import time


def nothing(i):
    return i


def body(spin, n_bytes, inputs):
    end = time.perf_counter() + spin
    while time.perf_counter() < end:
        pass
    return bytes(n_bytes)


def size(value):
    return len(value)


def measured(work):
    print("ready", flush=True)
    begin = time.perf_counter()
    seconds = work()
    # Of round trips the median counts, as it does on our side.
    print("seconds", time.perf_counter() - begin if seconds is None else seconds, flush=True)


def independent(client, n):
    futures = client.map(nothing, range(n), pure=False)
    total = sum(client.gather(futures))
    assert total == n * (n - 1) // 2


def sequential(client, n):
    seconds = []
    for i in range(n):
        begin = time.perf_counter()
        assert client.submit(nothing, i, pure=False).result() == i
        seconds.append(time.perf_counter() - begin)
    return n * statistics.median(seconds)


def graph(client, n):
    with open(sys.argv[4]) as file:
        shape = json.load(file)
    spin, n_bytes = shape["spin"], shape["n_bytes"]
    key = "body-{}".format
    tasks = {key(i): (body, spin, n_bytes, [key(j) for j in inputs]) for i, inputs in enumerate(shape["inputs"])}
    last = client.get(tasks, key(len(tasks) - 1), optimize_graph=False)
    assert len(last) == n_bytes


def payload(client, n):
    one, two = list(client.scheduler_info()["workers"])[:2]
    value = client.submit(bytes, n, workers=[one], pure=False)
    assert client.submit(size, value, workers=[two], pure=False).result() == n


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
        work = {"tasks": independent, "trip": sequential, "graph": graph, "payload": payload}[row.split("-")[1]]
        measured(lambda: work(client, n))


if __name__ == "__main__":
    main()
