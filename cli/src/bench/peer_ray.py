"""One row of `phalanx bench runtime`, run by Ray.

Called and answering as peer_dask.py. Ray's workers are always processes of their own.
"""

import json
import logging
import statistics
import sys
import time

import ray


@ray.remote(num_cpus=1)
def nothing(i):
    return i


@ray.remote(num_cpus=1)
def body(spin, n_bytes, *inputs):
    end = time.perf_counter() + spin
    while time.perf_counter() < end:
        pass
    return bytes(n_bytes)


@ray.remote(num_cpus=1)
def size(value):
    return len(value)


def measured(work):
    print("ready", flush=True)
    begin = time.perf_counter()
    seconds = work()
    # Of round trips the median counts, as it does on our side.
    print("seconds", time.perf_counter() - begin if seconds is None else seconds, flush=True)


def independent(n):
    assert sum(ray.get([nothing.remote(i) for i in range(n)])) == n * (n - 1) // 2


def sequential(n):
    seconds = []
    for i in range(n):
        begin = time.perf_counter()
        assert ray.get(nothing.remote(i)) == i
        seconds.append(time.perf_counter() - begin)
    return n * statistics.median(seconds)


def graph(n):
    with open(sys.argv[4]) as file:
        shape = json.load(file)
    last_use = {}
    for i, inputs in enumerate(shape["inputs"]):
        for j in inputs:
            last_use[j] = i
    results = {}
    for i, inputs in enumerate(shape["inputs"]):
        results[i] = body.remote(shape["spin"], shape["n_bytes"], *[results[j] for j in inputs])
        for j in inputs:
            # What nobody needs any more may go.
            if last_use[j] == i:
                results.pop(j, None)
    assert len(ray.get(results[len(shape["inputs"]) - 1])) == shape["n_bytes"]


def main():
    row, n, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    print("version", ray.__version__, flush=True)
    cpus = 1 if row.startswith("tcp") else threads
    ray.init(num_cpus=cpus, include_dashboard=False, logging_level=logging.CRITICAL, log_to_driver=False)
    # Its workers start with the first tasks that need them.
    ray.get([body.remote(0.2, 1) for _ in range(4 * cpus)])
    sequential(10)
    work = {"tasks": independent, "trip": sequential, "graph": graph}[row.split("-")[1]]
    measured(lambda: work(n))
    ray.shutdown()


if __name__ == "__main__":
    main()
