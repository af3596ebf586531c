"""One solver's side of one row of `phalanx bench glm`, run by scikit-learn, glum or dask-glm.

Called as `PYTHON peer_glm.py JOB`, a JSON file that says what to fit, where the numbers are, and the best objective
that is known. It says `ready` when the numbers are read and one tiny fit has warmed it up, then of each tolerance
`fit` before and `done {...}` after, and `end`. Tolerances tighten until the objective is within reach of the best
known. The caller stops it where one fit takes too long.
"""

import json
import os
import sys
import time
import warnings

with open(sys.argv[1]) as file:
    JOB = json.load(file)
# A path's folds run side by side, one thread each.
INNER = 1 if JOB["path"] else JOB["threads"]
# Before NumPy is imported, which reads them then.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = str(INNER)
# Threads that spin while they wait make a fit many times slower where others compute too.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np

FAMILY, SOLVER, THREADS = JOB["family"], JOB["solver"], JOB["threads"]
ALPHA, L1_RATIO, PATH = JOB["alpha"], JOB["l1_ratio"], JOB["path"]
# Cheap enough for the best of three, as ours is.
CHEAP = 5.0


def read(name):
    return np.fromfile(os.path.join(JOB["folder"], name), dtype="<f8")


# How often each row counts; once where there are none.
WEIGHTS = read("weights.f64") if JOB["weighted"] else None


def weights(n):
    """What `fit` is told of them for the first n rows: a copy, as some write into what they are given."""
    return {} if WEIGHTS is None else {"sample_weight": WEIGHTS[:n].copy()}


def peak_mb():
    """The most memory so far, its processes with it.

    getrusage would count what the caller had when it started this one.
    """

    def of(process):
        with open(f"/proc/{process}/status") as file:
            return next((int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:")), 0)

    try:
        children = []
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children") as file:
                children += file.read().split()
        return sum(of(process) for process in ["self", *children])
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def objective(X, y, coef, intercept, alpha):
    """Weighted mean of half the unit deviances, plus the penalty: the same formula for all."""
    eta = X @ coef + intercept
    if FAMILY == "gaussian":
        losses = 0.5 * (y - eta) ** 2
    elif FAMILY == "binomial":
        losses = np.logaddexp(0, eta) - y * eta
    else:
        log_y = np.log(np.where(y > 0, y, 1))
        losses = np.exp(eta) - y * eta + y * log_y - y
    return np.average(losses, weights=WEIGHTS) + alpha * (L1_RATIO * np.abs(coef).sum() + (1 - L1_RATIO) / 2 * (coef**2).sum())


def splits(n):
    """The same folds as ours."""
    fold = np.arange(n) % JOB["folds"]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(JOB["folds"])]


def scikit_learn(n, lambdas):
    from sklearn import linear_model as linear

    most = {"max_iter": 100_000}
    if PATH and FAMILY == "gaussian":
        return lambda tol: linear.LassoCV(alphas=lambdas, cv=splits(n), tol=tol, n_jobs=THREADS, **most)
    # liblinear penalises the intercept, as a column of this value: a large one makes that vanish.
    scaling = {"intercept_scaling": 100.0} if SOLVER == "liblinear" else {}
    if PATH:
        return lambda tol: linear.LogisticRegressionCV(
            Cs=1 / (n * lambdas),
            cv=splits(n),
            l1_ratios=(1.0,),
            solver=SOLVER,
            scoring="neg_log_loss",
            use_legacy_attributes=False,
            tol=tol,
            n_jobs=THREADS,
            random_state=0,
            **most,
            **scaling,
        )
    if FAMILY == "binomial":
        return lambda tol: linear.LogisticRegression(
            C=1 / (n * ALPHA), l1_ratio=L1_RATIO, solver=SOLVER, tol=tol, random_state=0, **most, **scaling
        )
    if FAMILY == "poisson":
        return lambda tol: linear.PoissonRegressor(alpha=ALPHA, solver=SOLVER, tol=tol, **most)
    return lambda tol: linear.ElasticNet(
        alpha=ALPHA, l1_ratio=L1_RATIO, precompute=SOLVER == "gram", copy_X=False, tol=tol, **most
    )


def glum(n, lambdas):
    import glum

    same = {"family": {"gaussian": "normal"}.get(FAMILY, FAMILY), "solver": SOLVER, "l1_ratio": L1_RATIO}
    same |= {"max_iter": 10_000, "copy_X": False}
    if PATH:
        return lambda tol: glum.GeneralizedLinearRegressorCV(
            alphas=lambdas, cv=splits(n), gradient_tol=tol, n_jobs=THREADS, **same
        )
    return lambda tol: glum.GeneralizedLinearRegressor(alpha=ALPHA, gradient_tol=tol, **same)


def dask_glm(n, lambdas):
    """It has no intercept of its own: a column of ones is one, which it penalises like the others."""
    import dask
    import dask.array as da
    from dask_glm import algorithms, families, regularizers

    dask.config.set(scheduler="threads", num_workers=THREADS)
    family = {"gaussian": families.Normal, "binomial": families.Logistic, "poisson": families.Poisson}[FAMILY]
    # Its elastic net has no gradient at 0, not even without an L1 part.
    pure = {0: regularizers.L2, 1: regularizers.L1}
    regularizer = pure[L1_RATIO]() if L1_RATIO in pure else regularizers.ElasticNet(weight=L1_RATIO)
    # Its losses are sums over rows, that of least squares not halved.
    strength = ALPHA * n * (2 if FAMILY == "gaussian" else 1)

    class Regressor:
        def __init__(self, tol):
            self.tol = tol

        def fit(self, X, y):
            chunk = -(-len(y) // THREADS)
            X = da.from_array(np.column_stack([X, np.ones(len(y))]), chunks=(chunk, -1))
            how = {"regularizer": regularizer, "lamduh": strength * len(y) / n, "family": family}
            y = da.from_array(y, chunks=chunk)
            beta = getattr(algorithms, SOLVER)(X, y, max_iter=10_000, tol=self.tol, **how)
            self.coef_, self.intercept_ = np.asarray(beta[:-1]), float(beta[-1])
            return self

    return Regressor


def main():
    warnings.simplefilter("ignore")
    # Processes that it starts itself are told so too.
    os.environ["PYTHONWARNINGS"] = "ignore"
    import threadpoolctl

    y = read("y.f64")
    X = read("x.f64").reshape(len(y), -1)
    lambdas, best = read("lambdas.f64"), read("best.f64")
    make = {"scikit-learn": scikit_learn, "glum": glum, "dask-glm": dask_glm}[JOB["peer"]]
    # Coordinate descent on columns copies rows first: it may have them as it likes, at no charge.
    by_columns = FAMILY == "gaussian" and JOB["peer"] == "scikit-learn"
    with threadpoolctl.threadpool_limits(INNER):
        few = min(len(y), 400)
        # One strong penalty is warm-up enough of a path.
        make(few, lambdas[:1])(1e-2).fit(np.array(X[:few], order="F" if by_columns else "C"), y[:few], **weights(few))
        new = make(len(y), lambdas)

        def once(tol):
            # Some write into what they are given, so each has a fresh copy; making it is not measured.
            mine = np.array(X, order="F" if by_columns else "C") if by_columns else X
            target, counts = y.copy(), weights(len(y))
            print("fit", flush=True)
            begin = time.perf_counter()
            model = new(tol).fit(mine, target, **counts)
            return time.perf_counter() - begin, model

        print("ready", flush=True)
        ladder(once, X, y, lambdas, best)
    print("end", flush=True)


def ladder(once, X, y, lambdas, best):
    exponent, least, stalled = (4 if PATH else 2), np.inf, 0
    while exponent <= 12 and stalled < 3:
        tol = 10.0**-exponent
        seconds, model = once(tol)
        place = 0
        if PATH:
            alpha = 1 / (len(y) * np.ravel(model.C_)[0]) if hasattr(model, "C_") else model.alpha_
            place = int(np.argmin(np.abs(np.log(lambdas / alpha))))
        alpha = lambdas[place] if PATH else ALPHA
        coef, intercept = np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])
        value = float(objective(X, y, coef, intercept, alpha))
        short_by = float(value / best[place] - 1)
        reached = short_by <= JOB["within"]
        if reached:
            for _ in range(2):
                if seconds < CHEAP:
                    seconds = min(seconds, once(tol)[0])
        found = {"tol": tol, "seconds": seconds, "objective": value, "short_by": max(short_by, 0.0)}
        print("done", json.dumps(found | {"reached": reached, "peak_rss_mb": peak_mb()}), flush=True)
        if reached:
            return
        # What tighter tolerances do not mend any more, they will not.
        stalled = 0 if short_by < 0.5 * least else stalled + 1
        least = min(least, short_by)
        exponent += 1 if seconds < CHEAP else 2


if __name__ == "__main__":
    main()
