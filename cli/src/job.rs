//! Opens the cluster that a job was told to run on, and ends all that it started, however the job ends.

use phalanx_runtime::{Client, ClientOptions, LocalCluster, LocalOptions, Security, Tls, Token};

use crate::{
    Error, Result,
    args::{ClusterSpec, JobArguments, SecurityArguments},
    output::{self, Screen},
    record::Recording,
    signals,
};

/// Runs a job on a cluster. Waiting that only people can end is said on stderr; Ctrl-C and SIGTERM end the job.
pub(crate) fn on_cluster<T>(
    arguments: &JobArguments,
    screen: &Screen,
    job: impl AsyncFnOnce(&Client) -> Result<T>,
) -> Result<T> {
    let spec = &arguments.cluster;
    arguments.trace.as_deref().map_or(Ok(()), output::check_file)?;
    signals::single_threaded()?.block_on(async {
        let mut signal = std::pin::pin!(signals::listen()?);
        let interrupted = |signal| Err(Error::Interrupted { message: format!("{signal}: {}", ended(spec)) });
        let open = tokio::select! {
            open = open(arguments) => open?,
            signal = &mut signal => return interrupted(signal),
        };
        let notices = screen.clone();
        open.client.on_notice(move |notice| notices.say(notice));
        let recording = arguments.trace.as_deref().map(|path| Recording::begin(path, &open.client)).transpose()?;
        let (done, is_over) = tokio::select! {
            done = job(&open.client) => (done, true),
            // The job is dropped here, and with it its work.
            signal = signal => (interrupted(signal), false),
        };
        // A job that failed has a timeline too, which may show why; one that was broken off leaves nothing.
        let written = match recording {
            Some(recording) if is_over => recording.end().await,
            Some(recording) => recording.abandon().await,
            None => Ok(()),
        };
        let done = match written {
            Ok(()) => done,
            Err(error) => done.and(Err(error)),
        };
        drop(open.client);
        if let Some(cluster) = open.cluster {
            cluster.shutdown().await;
        }
        done
    })
}

/// A client, and the cluster behind it where it is ours.
struct Open {
    client: Client,
    cluster: Option<LocalCluster>,
}

async fn open(arguments: &JobArguments) -> Result<Open> {
    let local = LocalOptions { memory_limit: arguments.memory_limit, ..LocalOptions::default() };
    match &arguments.cluster {
        ClusterSpec::Local(threads) => {
            let options = LocalOptions { n_threads: threads.map(usize::from), ..local };
            Ok(Open { client: Client::local_with(options).await.map_err(Error::failed)?, cluster: None })
        }
        ClusterSpec::Processes(processes) => {
            let options = LocalOptions { n_workers: processes.get(), processes: true, ..local };
            let cluster = LocalCluster::start(options).map_err(Error::failed)?;
            let client = cluster.client().await.map_err(Error::failed)?;
            Ok(Open { client, cluster: Some(cluster) })
        }
        ClusterSpec::Tcp(address) => {
            let options = ClientOptions { security: security(&arguments.security)?, ..ClientOptions::default() };
            let client = Client::connect_with(address.as_str(), &options).await.map_err(Error::failed)?;
            Ok(Open { client, cluster: None })
        }
    }
}

/// What the command line and the environment say of how programs know each other.
pub(crate) fn security(arguments: &SecurityArguments) -> Result<Security> {
    let token = match &arguments.token_file {
        Some(file) => Token::from_file(file).map(Some),
        None => Token::from_env(),
    };
    let SecurityArguments { tls_cert, tls_key, tls_ca, .. } = arguments.clone();
    let tls = tls_cert.zip(tls_key).zip(tls_ca).map(|((cert, key), ca)| Tls { cert, key, ca });
    Ok(Security { token: token.map_err(Error::failed)?, tls })
}

/// What a signal has ended.
fn ended(spec: &ClusterSpec) -> String {
    let what = match spec {
        ClusterSpec::Local(_) => "the job is ended".to_owned(),
        ClusterSpec::Processes(processes) => format!("the job and its {processes} worker processes are ended"),
        ClusterSpec::Tcp(address) => format!("the job is ended; the cluster at {address} goes on"),
    };
    format!("{what}, and nothing was written")
}
