//! Counters for Prometheus, at `/metrics` of a scheduler or a worker.
//!
//! Nothing is collected in between: when somebody asks, the machine is asked what it has counted, and that is written
//! as text. The page is there only where somebody asked for it, and on loopback unless he named another address: it has
//! no password, tells the names of workers and tasks, and can change nothing.

use std::{
    convert::Infallible,
    fmt::{Display, Write as _},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use phalanx_engine::{
    inspect::{Overview, Phase, WorkerView},
    time::Time,
    worker,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{
    error::{Error, Result},
    transport::plain,
};

/// What the text is: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Where it is unless another address is named.
const LOOPBACK: &str = "127.0.0.1";
/// Connections at once; Prometheus keeps one.
const CONNECTIONS: usize = 16;
/// How long somebody may take to say what he wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// Workers and functions that have lines of their own.
const LISTED: usize = 1_000;

/// A page of metrics that has its port and waits to be served.
#[derive(Debug)]
pub(crate) struct MetricsPage {
    listener: TcpListener,
    url: String,
}

impl MetricsPage {
    /// Takes a port: `127.0.0.1:8787`, or `8787` for the same; port 0 takes one that is free.
    ///
    /// # Errors
    /// When the address cannot be found or is taken.
    pub(crate) async fn bind(address: &str) -> Result<Self> {
        let address = match address.parse::<u16>() {
            Ok(port) => format!("{LOOPBACK}:{port}"),
            Err(_) => address.to_owned(),
        };
        let url = format!("http://{address}");
        let failed = |error: std::io::Error| Error::Listen { url: url.clone(), reason: plain(&error) };
        let listener = TcpListener::bind(&address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        if !bound.ip().is_loopback() {
            tracing::info!(%bound, "metrics have no password: who reaches this address sees names of workers and tasks");
        }
        Ok(Self { listener, url: format!("http://{bound}/metrics") })
    }

    /// Where it is: `http://127.0.0.1:8787/metrics`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Answers who asks, for ever; `sample` is called for each answer.
    pub(crate) async fn serve<F: Future<Output = Option<String>> + Send>(
        self,
        sample: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) {
        serve(self.listener, sample).await;
    }
}

/// The address that [`WorkerOptions::metrics`](crate::WorkerOptions::metrics) or
/// [`SchedulerOptions::metrics`](crate::SchedulerOptions::metrics) will mean, with a port that is free now where it
/// names port 0: a worker that is started again keeps it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let address = phalanx_runtime::metrics_address("0").await?;
/// assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"));
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// When the address cannot be found or is taken.
pub async fn metrics_address(address: &str) -> Result<String> {
    let page = MetricsPage::bind(address).await?;
    Ok(page.url.trim_start_matches("http://").trim_end_matches("/metrics").to_owned())
}

async fn serve<F: Future<Output = Option<String>> + Send>(
    listener: TcpListener,
    sample: impl Fn() -> F + Clone + Send + Sync + 'static,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let sample = sample.clone();
                connections.spawn(async move {
                    answer(stream, sample).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: some will be given back.
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer<F: Future<Output = Option<String>> + Send>(
    stream: TcpStream,
    sample: impl Fn() -> F + Clone + Send + Sync + 'static,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let sample = sample.clone();
        async move { Ok::<_, Infallible>(page(&request, sample).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 << 10);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection for metrics broke");
    }
}

async fn page<F: Future<Output = Option<String>>>(
    request: &Request<Incoming>,
    sample: impl Fn() -> F,
) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match sample().await {
            Some(text) => (StatusCode::OK, text),
            None => (StatusCode::SERVICE_UNAVAILABLE, "it is not connected now\n".into()),
        },
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into()),
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".into()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(TEXT));
    response
}

/// What a shell counts beside its machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShellCounters {
    /// Messages that came.
    pub(crate) n_in: u64,
    /// Messages that went.
    pub(crate) n_out: u64,
    /// The longest time between two looks at the sockets since the last sample.
    pub(crate) longest_turn: Duration,
}

/// Lines of the exposition format.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    /// A metric with its samples, each with labels and a value.
    fn family<'a, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, String)>, V)>,
    ) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    /// What every program says of itself.
    fn info(&mut self, role: &str, version: &str) {
        let labels = vec![("role", role.to_owned()), ("version", version.to_owned())];
        self.family("phalanx_build_info", "gauge", "What this program is, as labels.", [(labels, 1)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help, [(Vec::new(), value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help, [(Vec::new(), value)]);
    }
}

/// A label's value between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The scheduler's page.
pub(crate) fn of_scheduler(overview: &Overview, shell: &ShellCounters) -> String {
    let counters = &overview.counters;
    let mut text = Text::default();
    text.info("scheduler", &overview.version);
    text.gauge("phalanx_scheduler_uptime_seconds", "Since its start.", (overview.time - Time::ZERO).as_secs_f64());
    let by_phase =
        Phase::ALL.iter().zip(&counters.n_tasks).map(|(phase, n)| (vec![("state", phase.name().to_owned())], *n));
    text.family("phalanx_scheduler_tasks", "gauge", "Tasks that are known, by state.", by_phase);
    for (name, help, value) in [
        ("workers", "Workers that are connected.", counters.n_workers),
        ("clients", "Clients that are connected, or may come back.", counters.n_clients),
        ("stored_bytes", "Bytes of results that workers keep.", counters.stored_bytes),
        ("spilled_bytes", "Bytes of those that are on disk only.", counters.spilled_bytes),
    ] {
        text.gauge(&format!("phalanx_scheduler_{name}"), help, value);
    }
    for (name, help, value) in [
        ("tasks_assigned", "Tasks sent to workers.", counters.n_assigned),
        ("tasks_finished", "Tasks that got a result.", counters.n_finished),
        ("attempts_failed", "Tries that ended with an error or a panic.", counters.n_failed_attempts),
        ("tasks_failed", "Tasks that failed for good.", counters.n_failed),
        ("tasks_stolen", "Tasks that an idle worker took from another.", counters.n_stolen),
        ("tasks_rescheduled", "Tries that asked to be run elsewhere.", counters.n_rescheduled),
        ("tasks_straggling", "Tasks that ran so long that another try was begun.", counters.n_straggling),
        ("tasks_worker_lost", "Tasks that were on a worker that was lost.", counters.n_worker_lost),
        ("results_lost", "Results that no worker had any more.", counters.n_lost),
        ("results_missed", "Results that were not where they should be.", counters.n_missed),
        ("transfers", "Results that a worker fetched from another.", counters.n_transfers),
        ("transfer_bytes", "Bytes of those.", counters.transfer_bytes),
        ("workers_joined", "Workers that joined, those that came back among them.", counters.n_workers_joined),
        ("workers_left", "Workers that went or were lost.", counters.n_workers_left),
        ("workers_died", "Worker processes that died and are started again.", counters.n_workers_died),
    ] {
        text.counter(&format!("phalanx_scheduler_{name}_total"), help, value);
    }
    let messages = [("in", shell.n_in), ("out", shell.n_out)].map(|(way, n)| (vec![("direction", way.to_owned())], n));
    text.family("phalanx_scheduler_messages_total", "counter", "Messages by direction.", messages);
    let longest = "Longest time that the event loop was busy without a pause, since the last sample.";
    text.gauge("phalanx_scheduler_longest_turn_seconds", longest, shell.longest_turn.as_secs_f64());
    let functions = || counters.functions.iter().take(LISTED);
    let runs = functions().map(|f| (vec![("function", f.name.to_string())], f.n_runs));
    text.family("phalanx_scheduler_function_runs_total", "counter", "Runs that had a result, by function.", runs);
    let seconds = functions().map(|f| (vec![("function", f.name.to_string())], f.total.as_secs_f64()));
    text.family("phalanx_scheduler_function_seconds_total", "counter", "How long they ran, by function.", seconds);
    let mut by_worker = |name: &str, help: &str, value: fn(&WorkerView) -> u64| {
        let workers = overview.workers.iter().take(LISTED);
        let samples = workers.map(|w| (vec![("worker", w.name.clone()), ("id", w.worker.0.to_string())], value(w)));
        text.family(&format!("phalanx_scheduler_worker_{name}"), "gauge", help, samples);
    };
    by_worker("threads", "Tasks that a worker runs at once.", |w| w.n_threads.into());
    by_worker("running", "Tasks that run on a worker.", |w| w.n_running.into());
    by_worker("stored_bytes", "Bytes of results that a worker keeps.", |w| w.stored_bytes);
    by_worker("spilled_bytes", "Bytes of those that are on disk only.", |w| w.spilled_bytes);
    by_worker("paused", "Whether a worker takes no task until its memory is free.", |w| w.paused.into());
    text.0
}

/// A worker's page.
pub(crate) fn of_worker(name: &str, n_threads: usize, n_restarts: u64, counters: &worker::Counters) -> String {
    let mut text = Text::default();
    text.info("worker", env!("CARGO_PKG_VERSION"));
    let named = vec![("worker", name.to_owned())];
    text.family("phalanx_worker_info", "gauge", "The worker's name, as a label.", [(named, 1)]);
    let restarts = "How often its process died and was started again; all other counters begin anew then.";
    text.counter("phalanx_worker_restarts_total", restarts, n_restarts);
    for (name, help, value) in [
        ("threads", "Tasks that it runs at once.", n_threads as u64),
        ("running", "Tasks that run now.", counters.n_running),
        ("waiting", "Tasks that wait for inputs or for a thread.", counters.n_waiting),
        ("results", "Results that are kept.", counters.n_held),
        ("stored_bytes", "Bytes of results in memory.", counters.held_bytes),
        ("spilled_bytes", "Bytes of results that are on disk only.", counters.spilled_bytes),
        ("paused", "Whether no new task starts until memory is free.", counters.is_paused.into()),
    ] {
        text.gauge(&format!("phalanx_worker_{name}"), help, value);
    }
    let limit = counters.memory_limit.map(|limit| (Vec::new(), limit));
    let help = "Bytes that results and running tasks may take, where that is bounded.";
    text.family("phalanx_worker_memory_limit_bytes", "gauge", help, limit);
    for (name, help, value) in [
        ("runs", "Function calls that are over.", counters.n_ran),
        ("runs_failed", "Those that ended with an error or a panic.", counters.n_failed),
        ("fetches", "Results that were fetched from other workers.", counters.n_fetched),
        ("fetch_bytes", "Bytes of those.", counters.fetched_bytes),
    ] {
        text.counter(&format!("phalanx_worker_{name}_total"), help, value);
    }
    text.counter("phalanx_worker_run_seconds_total", "How long functions ran.", counters.run_time.as_secs_f64());
    text.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_values_stand_at_the_end() {
        let mut text = Text::default();
        text.family("a_total", "counter", "As.", [(vec![("name", "x\"y\\z\n".to_owned())], 1.5)]);
        text.gauge("b", "Bs.", 7);
        assert_eq!(
            text.0,
            "# HELP a_total As.\n# TYPE a_total counter\na_total{name=\"x\\\"y\\\\z\\n\"} 1.5\n# HELP b Bs.\n# TYPE b gauge\nb 7\n"
        );
    }
}
