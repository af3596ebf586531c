//! Real worker processes that die at random moments while arrays are computed and models fitted: the results have the
//! same bits as without, and in the end nothing is left.
//!
//! A few rounds by default; `PHALANX_CHAOS_SECONDS=60` makes it as many as fit into a minute, `PHALANX_CHAOS_SEED=7`
//! repeats a seed that was printed. When exactly a process dies is the machine's own doing.

use std::{
    convert::Infallible,
    error::Error,
    fs::read_dir,
    pin::Pin,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Failed, Trial};
use phalanx::{
    array::ChunkedArray,
    datasets::make_counts,
    glm::Solver,
    learn::FitOn,
    prelude::*,
    runtime::{LocalOptions, RestartOptions},
};

type Outcome = Result<(), Box<dyn Error>>;
type Test = fn(Dice) -> Pin<Box<dyn Future<Output = Outcome>>>;

/// Rounds where nobody asks for more.
const ROUNDS: u32 = 2;

fn main() -> ExitCode {
    if let Err(error) = phalanx::init() {
        panic!("{error}");
    }
    let tests: [(&str, Test); 5] = [
        ("arrays_and_models_have_their_bits_while_workers_die", |dice| Box::pin(arrays_and_models(dice))),
        ("stress_1_a_tree_is_summed_while_workers_die", |dice| Box::pin(tree(dice))),
        ("stress_gc_a_long_chain_is_followed_while_workers_die", |dice| Box::pin(chain(dice))),
        ("cancel_stress_what_is_cancelled_half_done_leaves_a_cluster_that_works", |dice| Box::pin(cancelled(dice))),
        ("stress_creation_and_deletion_workers_come_and_go", |dice| Box::pin(coming_and_going(dice))),
    ];
    let seed = number("PHALANX_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            let before = left();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let outcome = runtime.block_on(test(Dice(seed)));
            drop(runtime);
            outcome.map_err(|error| Failed::from(format!("seed {seed}: {error}")))?;
            let after = left();
            if after != before {
                return Err(
                    format!("seed {seed}: threads, files and sockets, children: {before:?}, now {after:?}").into()
                );
            }
            Ok(())
        })
    });
    // The first runtime of a process opens a pipe for signals that all of them share and that stays.
    drop(tokio::runtime::Builder::new_current_thread().enable_all().build());
    // One at a time: each counts what is left in this process.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    if conclusion.has_failed() {
        println!("repeat with PHALANX_CHAOS_SEED={seed}");
    }
    conclusion.exit_code()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Threads, files and sockets of this process, and processes that it has started.
fn left() -> (usize, usize, usize) {
    let count = |folder: &str| read_dir(folder).map_or(0, Iterator::count);
    let me = std::process::id().to_string();
    let is_child = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&me));
    let stats = read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path().join("stat"));
    let n_children = stats.filter_map(|stat| std::fs::read_to_string(stat).ok()).filter(|stat| is_child(stat.clone()));
    (count("/proc/self/task"), count("/proc/self/fd"), n_children.count())
}

/// A small generator: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Three workers of one thread that are started again however often they die.
fn cluster() -> Result<LocalCluster, phalanx::runtime::Error> {
    let restarts =
        RestartOptions { limit: usize::MAX, longest_pause: Duration::from_millis(100), ..RestartOptions::default() };
    LocalCluster::start(LocalOptions {
        n_workers: 3,
        n_threads: Some(1),
        processes: true,
        restarts,
        // No task is to blame, though some will be running at three deaths.
        allowed_failures: 1_000,
        ..LocalOptions::default()
    })
}

/// Kills workers, each in some way, for as long as it is polled.
async fn fire(dice: &mut Dice, cluster: &LocalCluster) -> Infallible {
    loop {
        tokio::time::sleep(Duration::from_millis(50 + dice.below(400))).await;
        let workers = cluster.process_ids();
        if workers.is_empty() {
            continue;
        }
        let victim = workers[dice.below(workers.len() as u64) as usize].to_string();
        let signal = ["-KILL", "-ABRT", "-TERM", "-SEGV"][dice.below(4) as usize];
        // It may have died just before.
        let _ = Command::new("kill").args([signal, &victim]).output();
    }
}

/// Does something while workers die.
async fn under_fire<T>(dice: &mut Dice, cluster: &LocalCluster, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        never = fire(dice, cluster) => match never {},
    }
}

async fn arrays_and_models(mut dice: Dice) -> Outcome {
    let problem = make_counts(12_000, 8).seed(7);
    let (here, there) = (problem.in_memory()?, problem.chunks(512)?);
    let estimator = |solver| PoissonRegression::new().alpha(0.01).l1_ratio(0.5).solver(solver);
    let solvers = [Solver::GradientDescent, Solver::Admm];
    let models = solvers.map(|solver| estimator(solver).fit(&here.x, &here.y));
    let bits = |arrays: Vec<ndarray::ArrayD<f64>>| -> Vec<u64> {
        arrays.iter().flat_map(|array| array.iter().map(|number| number.to_bits())).collect()
    };
    let expected = {
        let calm = LocalCluster::threads(1, 1)?;
        let computed = calm.client().await?.compute(&arrays()?).await?;
        calm.shutdown().await;
        bits(computed)
    };
    let cluster = cluster()?;
    let client = cluster.client().await?;
    let (start, seconds) = (Instant::now(), number("PHALANX_CHAOS_SECONDS"));
    let mut round = 0;
    while seconds.map_or(round < ROUNDS, |seconds| start.elapsed() < Duration::from_secs(seconds)) {
        round += 1;
        let computed = under_fire(&mut dice, &cluster, client.compute(&arrays()?)).await?;
        assert_eq!(bits(computed), expected, "arrays in round {round}");
        for (solver, expected) in solvers.into_iter().zip(&models) {
            let expected = expected.as_ref().map_err(ToString::to_string)?;
            let fit = async { estimator(solver).fit_on(&client, &there.x, &there.y).await };
            let model = under_fire(&mut dice, &cluster, fit).await?;
            assert_eq!(model.intercept().to_bits(), expected.intercept().to_bits(), "{solver:?} in round {round}");
            assert_eq!(model.coef().mapv(f64::to_bits), expected.coef().mapv(f64::to_bits), "{solver:?}");
        }
    }
    drop(client);
    cluster.shutdown().await;
    Ok(())
}

/// Sums, products and moments over a few hundred chunks.
fn arrays() -> Result<Vec<ChunkedArray>, phalanx::array::Error> {
    let x = ChunkedArray::random_normal(1, 3., 2., &[300_000, 6], 1_024)?;
    let centred = (&x - &x.mean_axis(0)?) / &x.std_axis(0, 1.)?;
    Ok(vec![x.sum()?, x.var(0.)?, centred.t().dot(&centred)?])
}

/// Takes a moment, so that workers die in the middle of many.
#[task]
fn slow_leaf(n: u64) -> u64 {
    for round in 0..1_000_000 {
        std::hint::black_box(round);
    }
    n
}

#[task]
fn sum(a: u64, b: u64) -> u64 {
    a + b
}

#[task]
fn next(a: u64) -> u64 {
    a + 1
}

/// The sum of 0, 1, ..., n - 1.
fn sum_of(n: u64) -> Delayed<u64> {
    let mut row: Vec<Delayed<u64>> = (0..n).map(slow_leaf::delayed).collect();
    while row.len() > 1 {
        row = row.chunks(2).map(|pair| pair.get(1).map_or(pair[0].clone(), |b| sum::delayed(&pair[0], b))).collect();
    }
    row.remove(0)
}

async fn tree(mut dice: Dice) -> Outcome {
    let cluster = cluster()?;
    let client = cluster.client().await?;
    for _ in 0..ROUNDS {
        assert_eq!(under_fire(&mut dice, &cluster, client.compute(&sum_of(512))).await?, 511 * 512 / 2);
    }
    drop(client);
    cluster.shutdown().await;
    Ok(())
}

async fn chain(mut dice: Dice) -> Outcome {
    let cluster = cluster()?;
    let client = cluster.client().await?;
    for _ in 0..ROUNDS {
        let mut last = slow_leaf::delayed(0);
        for _ in 0..1_000 {
            last = next::delayed(&last);
        }
        assert_eq!(under_fire(&mut dice, &cluster, client.compute(&last)).await?, 1_000);
    }
    drop(client);
    cluster.shutdown().await;
    Ok(())
}

async fn cancelled(mut dice: Dice) -> Outcome {
    let cluster = cluster()?;
    let client = cluster.client().await?;
    for _ in 0..5 {
        let work = client.submit(&sum_of(2_000));
        let soon = Duration::from_millis(dice.below(300));
        under_fire(&mut dice, &cluster, tokio::time::sleep(soon)).await;
        drop(work);
    }
    assert_eq!(client.compute(&sum_of(100)).await?, 99 * 100 / 2);
    drop(client);
    cluster.shutdown().await;
    Ok(())
}

/// Workers are added and let go, and die, while they work.
async fn coming_and_going(mut dice: Dice) -> Outcome {
    let cluster = cluster()?;
    let client = cluster.client().await?;
    let sums: Vec<Delayed<u64>> = (0..10).map(|_| sum_of(200)).collect();
    let mut sizes = Dice(dice.below(1 << 32));
    let scaling = async {
        for _ in 0..6 {
            cluster.scale(2 + sizes.below(3) as usize).await?;
        }
        Ok::<(), phalanx::runtime::Error>(())
    };
    let both = async { tokio::join!(client.compute(&sums), scaling) };
    let (sums, scaled) = under_fire(&mut dice, &cluster, both).await;
    scaled?;
    assert_eq!(sums?, [199 * 200 / 2; 10]);
    drop(client);
    cluster.shutdown().await;
    Ok(())
}
