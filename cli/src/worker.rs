//! `phalanx worker`: a process that runs tasks for a scheduler.

use std::time::Duration;

use phalanx_runtime::{
    Client, ClientOptions, RestartOptions, SupervisorNotice, WorkerOptions, metrics_address, run_supervised_worker,
    run_worker,
};

use crate::{Error, Result, args::WorkerArguments, job::security, output::Screen, signals};

/// Runs until a signal comes or the scheduler is gone for good; the first line on stdout is the address.
pub(crate) fn worker(arguments: &WorkerArguments, screen: &Screen) -> Result<()> {
    let defaults = WorkerOptions::default();
    let mut options = WorkerOptions {
        n_threads: arguments.threads.map_or(defaults.n_threads, usize::from),
        name: arguments.name.clone().unwrap_or_else(|| defaults.name.clone()),
        security: security(&arguments.security)?,
        listen: arguments.listen.as_deref().map(data_port),
        resources: arguments.resources.clone().unwrap_or_default(),
        memory_limit: arguments.memory_limit,
        spill_dir: arguments.spill_dir.clone(),
        ..defaults
    };
    signals::single_threaded()?.block_on(async {
        let signal = signals::listen()?;
        let url = arguments.scheduler.as_str();
        // As a client it sees itself join, and learns at once when nobody is there to join.
        let as_client = ClientOptions { security: options.security.clone(), ..ClientOptions::default() };
        let client = Client::connect_with(url, &as_client).await.map_err(Error::failed)?;
        if let Some(address) = &arguments.metrics {
            options.metrics = Some(metrics_address(address).await.map_err(Error::failed)?);
        }
        let options = options;
        let shutdown = async {
            let signal = signal.await;
            screen.say(format_args!("{signal}: the worker ends"));
            let again = async {
                match signals::listen() {
                    Ok(again) => drop(again.await),
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                () = hand_over(url, &as_client, &options.name, Duration::from_secs(arguments.drain)) => {}
                () = again => {}
            }
        };
        let run = async {
            if arguments.no_supervise {
                return run_worker(url, &options, shutdown).await;
            }
            let notices = screen.clone();
            let tell = move |notice: &SupervisorNotice| notices.say(notice);
            run_supervised_worker(url, &options, &RestartOptions::default(), tell, shutdown).await
        };
        let announced = async {
            let address = joined(&client, &options.name).await;
            drop(client);
            screen.print(format_args!("worker at {address} for {url}, {} threads", options.n_threads))?;
            if let Some(address) = &options.metrics {
                screen.print(format_args!("metrics at http://{address}/metrics"))?;
            }
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            ended = run => ended.map_err(Error::failed),
            failed = announced => failed,
        }
    })
}

/// Lets the worker finish what it runs and hand over what only it holds, as far as there is a scheduler to ask.
async fn hand_over(url: &str, options: &ClientOptions, name: &str, grace: Duration) {
    let Ok(client) = Client::connect_with(url, options).await else { return };
    let worker = async {
        let _ = client.wait_for_workers(1, grace).await;
        client.workers().into_iter().rfind(|worker| worker.name == name)
    };
    if let Some(worker) = worker.await {
        // Where nobody else is there, nobody can take anything.
        let grace = if client.workers().len() == 1 { Duration::ZERO } else { grace };
        // Whatever comes of it, the worker ends.
        let _ = client.retire_workers(&[worker.worker], Some(grace)).await;
    }
}

/// Where `--listen` says, with any free port where it names none.
fn data_port(listen: &str) -> String {
    let place = listen.trim_start_matches("tcp://");
    let names_a_port = place.rsplit_once(':').is_some_and(|(host, port)| {
        // An IPv6 address has colons of its own, unless it is in brackets.
        port.parse::<u16>().is_ok() && (host.ends_with(']') || !host.contains(':'))
    });
    match (names_a_port, place.parse::<std::net::Ipv6Addr>()) {
        (true, _) => format!("tcp://{place}"),
        (false, Ok(address)) => format!("tcp://[{address}]:0"),
        (false, Err(_)) => format!("tcp://{place}:0"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_port_is_any_free_one_unless_it_is_named() {
        let said = ["10.0.0.5", "node1:9000", "::1", "[::1]", "[fd00::2]:9000", "tcp://0.0.0.0:0"].map(data_port);
        let expected = ["10.0.0.5:0", "node1:9000", "[::1]:0", "[::1]:0", "[fd00::2]:9000", "0.0.0.0:0"]
            .map(|at| format!("tcp://{at}"));
        assert_eq!(said, expected);
    }
}
