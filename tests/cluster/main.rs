//! Worker processes of a program of one's own: here the test program itself, whose main begins with `phalanx::init()`.

mod memory;
mod out_of_core;
mod sharing;

use std::{
    collections::BTreeSet,
    error::Error,
    pin::Pin,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use libtest_mimic::{Arguments, Failed, Trial};
use phalanx::{
    datasets::make_counts,
    glm::Solver,
    learn::FitOn,
    prelude::*,
    runtime::{ClientOptions, LocalOptions, Security, Tls, Token},
};

type Outcome = Result<(), Box<dyn Error>>;
type Test = fn() -> Pin<Box<dyn Future<Output = Outcome>>>;

/// A task of this program alone.
#[task]
fn process_of(i: u64) -> (u64, u32) {
    (i, std::process::id())
}

#[task]
fn panics(message: String) -> u64 {
    panic!("{message}")
}

/// Ends the process that runs it, as a crash would.
#[task]
fn aborts(i: u64) -> u64 {
    std::process::exit(i as i32)
}

fn main() -> ExitCode {
    if let Err(error) = phalanx::init() {
        panic!("{error}");
    }
    if let Some(outcome) = sharing::publish_if_told() {
        return outcome.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let tests: [(&str, Test); 10] = [
        ("tasks_run_in_processes_that_are_not_this_one", || Box::pin(other_processes())),
        ("a_model_has_the_same_bits_in_memory_on_threads_and_on_processes", || Box::pin(same_bits())),
        ("a_model_has_the_same_bits_when_a_worker_is_killed_under_it", || Box::pin(same_bits_after_a_loss())),
        ("a_grid_search_finds_the_same_on_processes", || Box::pin(same_search())),
        ("a_panic_comes_back_and_a_task_that_kills_workers_fails", || Box::pin(panics_and_crashes())),
        ("workers_end_with_their_cluster", || Box::pin(workers_end())),
        ("with_a_token_and_tls_processes_share_work_and_nobody_else_joins", || Box::pin(with_keys())),
        ("an_array_of_four_times_the_budget_is_summed_within_it", || Box::pin(memory::four_times_the_budget())),
        ("a_fit_over_a_file_larger_than_the_budget_has_the_bits_of_memory", || {
            Box::pin(out_of_core::a_file_larger_than_the_budget())
        }),
        ("an_array_outlives_the_program_that_published_it", || {
            Box::pin(sharing::an_array_outlives_the_program_that_published_it())
        }),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(test()).map_err(|error| Failed::from(error.to_string()))
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

async fn other_processes() -> Outcome {
    let cluster = LocalCluster::processes(2)?;
    let client = cluster.client().await?;
    let calls: Vec<Delayed<(u64, u32)>> = (0..200).map(process_of::delayed).collect();
    let answers = client.compute(&calls).await?;
    assert_eq!(answers.iter().map(|(i, _)| *i).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    let workers = cluster.process_ids();
    assert!(answers.iter().all(|(_, process)| workers.contains(process)), "{workers:?}");
    Ok(())
}

async fn same_bits() -> Outcome {
    let problem = make_counts(5_000, 8).seed(7);
    let here = problem.in_memory()?;
    let there = problem.chunks(1_024)?;
    let estimator = PoissonRegression::new().alpha(0.01).l1_ratio(0.5);
    let bits = |model: &phalanx::glm::GlmModel| model.coef().iter().map(|coef| coef.to_bits()).collect::<Vec<_>>();
    let expected = bits(&estimator.fit(&here.x, &here.y)?);
    for cluster in [LocalCluster::threads(2, 1)?, LocalCluster::processes(2)?] {
        let client = cluster.client().await?;
        let model = estimator.fit_on(&client, &there.x, &there.y).await?;
        assert_eq!(bits(&model), expected);
    }
    Ok(())
}

/// Whenever the kill comes, before the first pass or after the last, nothing about the model may show it.
async fn same_bits_after_a_loss() -> Outcome {
    let problem = make_counts(12_000, 8).seed(7);
    let here = problem.in_memory()?;
    let there = problem.chunks(512)?;
    for solver in [Solver::GradientDescent, Solver::Admm] {
        let estimator = PoissonRegression::new().alpha(0.01).l1_ratio(0.5).solver(solver);
        let expected = estimator.fit(&here.x, &here.y)?;
        let options = LocalOptions { n_workers: 3, n_threads: Some(1), processes: true, ..LocalOptions::default() };
        let cluster = LocalCluster::start(options)?;
        let client = cluster.client().await?;
        // The chunks lie on all three, so that some of them are lost.
        let (x, y) = client.persist(&(there.x.clone(), there.y.clone())).await?;
        let victim = cluster.process_ids()[0].to_string();
        let kill = async { tokio::process::Command::new("kill").args(["-9", &victim]).status().await };
        let (model, killed) = tokio::join!(estimator.fit_on(&client, &x, &y), kill);
        assert!(killed?.success());
        let model = model?;
        assert_eq!(model.intercept().to_bits(), expected.intercept().to_bits(), "{solver:?}");
        assert_eq!(model.coef().mapv(f64::to_bits), expected.coef().mapv(f64::to_bits), "{solver:?}");
    }
    Ok(())
}

async fn same_search() -> Outcome {
    let data = make_counts(600, 4).seed(1).in_memory()?;
    let grid = ParamGrid::new().values("alpha", [0.001, 0.1, 10.]).values("l1_ratio", [0., 1.]);
    let search = GridSearch::new(PoissonRegression::new(), grid).scoring("neg_mean_poisson_deviance").cv(KFold::new(3));
    let here = search.fit(data.x.view(), data.y.view())?;
    let cluster = LocalCluster::processes(2)?;
    let client = cluster.client().await?;
    let there = search.fit_on(&client, &data.x, &data.y).await?;
    let scores = |found: &phalanx::search::SearchResult| -> Vec<_> {
        found.cv_results.candidates().iter().map(phalanx::search::CandidateResult::test_scores).collect()
    };
    assert_eq!(scores(&there), scores(&here));
    assert_eq!((there.best_index, there.best_params), (here.best_index, here.best_params));
    Ok(())
}

async fn panics_and_crashes() -> Outcome {
    let options = LocalOptions { n_workers: 4, n_threads: Some(1), processes: true, ..LocalOptions::default() };
    let cluster = LocalCluster::start(options)?;
    let client = cluster.client().await?;
    let error = client.compute(&panics::delayed("no bread")).await.expect_err("it panics").to_string();
    assert!(error.contains("panicked") && error.contains("no bread"), "{error}");
    // It kills the three workers that it may kill, and the fourth lives to say so.
    let error = client.compute(&aborts::delayed(3)).await.expect_err("it kills").to_string();
    assert!(error.contains("was running on 3 workers when they died"), "{error}");
    assert_eq!(client.compute(&process_of::delayed(5)).await?.0, 5);
    Ok(())
}

async fn workers_end() -> Outcome {
    let cluster = LocalCluster::processes(2)?;
    let client = cluster.client().await?;
    client.wait_for_workers(2, Duration::from_secs(30)).await?;
    let workers = cluster.process_ids();
    assert_eq!(workers.len(), 2);
    drop(client);
    cluster.shutdown().await;
    assert!(workers.iter().all(|worker| !std::path::Path::new(&format!("/proc/{worker}")).exists()));
    Ok(())
}

/// Takes a while, so that there is something to steal.
#[task]
fn length_here(values: Vec<f64>, i: u64) -> (usize, u64, u32) {
    std::thread::sleep(Duration::from_millis(10));
    (values.len(), i, std::process::id())
}

/// Submits, scatters, gathers, and lets work be stolen, all of it encrypted.
async fn with_keys() -> Outcome {
    let folder = tempfile::tempdir()?;
    let keys = folder.path().join("keys");
    let sink = || Arc::new(Mutex::new(Vec::new()));
    let screen = phalanx::cli::output::Screen::new(sink(), sink(), false);
    assert_eq!(phalanx::cli::run(["phalanx", "cluster", "keys", &keys.display().to_string()], &screen), 0);
    let file = |name: &str| keys.join(name);
    let tls = |role: &str| Tls {
        cert: file(&format!("{role}.pem")),
        key: file(&format!("{role}-key.pem")),
        ca: file("ca.pem"),
    };
    let token = Token::from_file(file("token"))?;
    // A worker's certificate is good for everything, so one program that is all of them uses it.
    let security = Security { token: Some(token.clone()), tls: Some(tls("worker")) };
    let options =
        LocalOptions { n_workers: 2, n_threads: Some(1), processes: true, security, ..LocalOptions::default() };
    let cluster = LocalCluster::start(options)?;
    let url = cluster.url().expect("it listens").to_owned();
    let security = Security { token: Some(token), tls: Some(tls("client")) };
    let with = |security: &Security| ClientOptions { security: security.clone(), ..ClientOptions::default() };
    for client in [cluster.client().await?, Client::connect_with(&url, &with(&security)).await?] {
        // It lies on one worker; the other steals some of the work and fetches it from there.
        let values = client.scatter(vec![1.5_f64; 500_000]);
        values.done().await?;
        let calls: Vec<_> = (0..60).map(|i| length_here::delayed(&values, i)).collect();
        let answers = client.gather(&client.submit_all(&calls)).await?;
        assert_eq!(
            answers.iter().map(|(len, i, _)| (*len, *i)).collect::<Vec<_>>(),
            (0..60).map(|i| (500_000, i)).collect::<Vec<_>>()
        );
        let processes: BTreeSet<u32> = answers.iter().map(|(.., process)| *process).collect();
        assert_eq!(processes, cluster.process_ids().into_iter().collect());
        assert_eq!(*values.get().await?, vec![1.5; 500_000]);
    }
    for security in [Security { token: None, ..security.clone() }, Security { tls: None, ..security }] {
        let error = Client::connect_with(&url, &with(&security)).await.expect_err("it is refused");
        assert!(matches!(error, phalanx::runtime::Error::NotLetIn { .. }), "{error}");
    }
    Ok(())
}
