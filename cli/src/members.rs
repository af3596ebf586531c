//! `phalanx cluster retire` and `phalanx cluster published`: what is asked of a cluster that runs.

use std::{collections::BTreeSet, time::Duration};

use phalanx_engine::request::Retirement;
use phalanx_runtime::{Client, ClientOptions};

use crate::{
    Error, Result,
    args::{PublishedArguments, RetireArguments, SecurityArguments, TcpAddress},
    job::security,
    output::{Screen, bytes, count},
    signals,
};

/// Lets workers go, and says of each how it went. Fails where one stays, or died on the way.
pub(crate) fn retire(arguments: &RetireArguments, screen: &Screen) -> Result<()> {
    on_client(&arguments.scheduler, &arguments.security, async |client| {
        let mut workers = BTreeSet::new();
        for name in &arguments.workers {
            workers.insert(client.worker_named(name).map_err(Error::failed)?);
        }
        let names = client.workers();
        let name_of = |worker| {
            let name = names.iter().find(|info| info.worker == worker).map(|info| info.name.clone());
            name.filter(|name| *name != worker.to_string()).map_or_else(String::new, |name| format!(" ({name})"))
        };
        let workers: Vec<_> = workers.into_iter().collect();
        let grace = Duration::from_secs(arguments.grace);
        let mut stays = Vec::new();
        for (worker, end) in client.retire_workers(&workers, Some(grace)).await.map_err(Error::failed)? {
            let name = format!("{worker}{}", name_of(worker));
            match said(&end, arguments.grace) {
                Ok(said) => screen.print(format_args!("{name} {said}"))?,
                Err(said) => stays.push(format!("{name} {said}")),
            }
        }
        if stays.is_empty() { Ok(()) } else { Err(Error::failed(stays.join("; "))) }
    })
}

/// Prints the names of all that is published.
pub(crate) fn published(arguments: &PublishedArguments, screen: &Screen) -> Result<()> {
    on_client(&arguments.scheduler, &arguments.security, async |client| {
        let names = client.published().await.map_err(Error::failed)?;
        names.iter().try_for_each(|name| screen.print(name))
    })
}

/// How a worker's leaving ended, in words that follow its name; an error where it did not end well.
fn said(end: &Retirement, grace: u64) -> Result<String, String> {
    match end {
        Retirement::Done { n_moved: 0, .. } => Ok("is gone; only it held nothing".to_owned()),
        Retirement::Done { n_moved, n_bytes } => {
            let results = count(*n_moved as usize, "result");
            Ok(format!("is gone; {results} ({}) moved to other workers", bytes(*n_bytes)))
        }
        Retirement::TimedOut { n_running, n_lost } => {
            let (running, lost) = (count(*n_running as usize, "task"), count(*n_lost as usize, "result"));
            Ok(format!(
                "is gone, not done after {grace} s: {running} that it still ran and {lost} that only it held are made \
                 again where they are needed"
            ))
        }
        Retirement::Unknown => Ok("was gone already".to_owned()),
        Retirement::Died => Err("died before it was done; what only it held is made again where it is needed".into()),
        Retirement::Refused { reason } => Err(format!("stays: {reason}")),
        end => Err(format!("ended in a way that this program does not know: {end:?}")),
    }
}

/// Asks something of a cluster that runs. A signal ends the asking.
fn on_client<T>(
    scheduler: &TcpAddress,
    arguments: &SecurityArguments,
    ask: impl AsyncFnOnce(&Client) -> Result<T>,
) -> Result<T> {
    let options = ClientOptions { security: security(arguments)?, ..ClientOptions::default() };
    signals::single_threaded()?.block_on(async {
        let signal = signals::listen()?;
        let asked = async {
            let client = Client::connect_with(scheduler.as_str(), &options).await.map_err(Error::failed)?;
            ask(&client).await
        };
        tokio::select! {
            done = asked => done,
            signal = signal => {
                let message = format!("{signal}: the cluster at {} goes on", scheduler.as_str());
                Err(Error::Interrupted { message })
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_said_in_words() {
        let done = |n_moved| Retirement::Done { n_moved, n_bytes: 3 << 20 };
        assert_eq!(said(&done(0), 60), Ok("is gone; only it held nothing".into()));
        assert_eq!(said(&done(1200), 60), Ok("is gone; 1,200 results (3.0 MiB) moved to other workers".into()));
        assert_eq!(
            said(&Retirement::TimedOut { n_running: 1, n_lost: 2 }, 5),
            Ok("is gone, not done after 5 s: 1 task that it still ran and 2 results that only it held are made again \
                where they are needed"
                .into())
        );
        let refused = Retirement::Refused { reason: "nobody else is there".into() };
        assert_eq!(said(&refused, 60), Err("stays: nobody else is there".into()));
    }
}
