//! `phalanx worker`: a process that runs tasks for a scheduler.

use std::time::Duration;

use phalanx_runtime::{Client, WorkerOptions, run_worker};

use crate::{Error, Result, args::WorkerArguments, output::Screen, signals};

/// Runs until a signal comes or the scheduler is gone for good; the first line on stdout is the address.
pub(crate) fn worker(arguments: &WorkerArguments, screen: &Screen) -> Result<()> {
    let defaults = WorkerOptions::default();
    let options = WorkerOptions {
        n_threads: arguments.threads.map_or(defaults.n_threads, usize::from),
        name: arguments.name.clone().unwrap_or_else(|| defaults.name.clone()),
        ..defaults
    };
    signals::single_threaded()?.block_on(async {
        let signal = signals::listen()?;
        let url = arguments.scheduler.as_str();
        // As a client it sees itself join, and learns at once when nobody is there to join.
        let client = Client::connect(url).await.map_err(Error::failed)?;
        let shutdown = async {
            let signal = signal.await;
            screen.say(format_args!("{signal}: the worker ends"));
        };
        let run = run_worker(url, &options, shutdown);
        let announced = async {
            let address = joined(&client, &options.name).await;
            drop(client);
            screen.print(format_args!("worker at {address} for {url}, {} threads", options.n_threads))?;
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            ended = run => ended.map_err(Error::failed),
            failed = announced => failed,
        }
    })
}

/// The address of the worker of this name, once it is there.
async fn joined(client: &Client, name: &str) -> String {
    loop {
        if let Some(worker) = client.workers().into_iter().rfind(|worker| worker.name == name) {
            return worker.address.to_string();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
