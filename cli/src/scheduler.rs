//! `phalanx scheduler`: the process that clients and workers meet at.

use phalanx_runtime::{Scheduler, SchedulerOptions};

use crate::{Error, Result, args::SchedulerArguments, job::security, output::Screen, signals};

/// Listens until a signal comes; the first line on stdout is the address.
pub(crate) fn scheduler(arguments: &SchedulerArguments, screen: &Screen) -> Result<()> {
    signals::single_threaded()?.block_on(async {
        let signal = signals::listen()?;
        let listen = format!("tcp://{}", arguments.listen.trim_start_matches("tcp://"));
        let security = security(&arguments.security)?;
        let (journal, metrics) = (arguments.journal.clone(), arguments.metrics.clone());
        let options = SchedulerOptions { listen, security, journal, metrics, ..SchedulerOptions::default() };
        let scheduler = Scheduler::bind(&options).await.map_err(Error::failed)?;
        screen.print(format_args!("scheduler at {}", scheduler.url()))?;
        if let Some(url) = scheduler.metrics_url() {
            screen.print(format_args!("metrics at {url}"))?;
        }
        scheduler
            .run(async {
                let signal = signal.await;
                screen.say(format_args!("{signal}: the scheduler ends"));
            })
            .await;
        Ok(())
    })
}
