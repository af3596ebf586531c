//! `phalanx cluster info`, `dump` and `story`: what a scheduler says of itself.

use phalanx_engine::{
    event::Step,
    id::{ClientId, TaskId},
    inspect::{Overview, Phase, TaskView, WorkerView},
    time::Time,
};
use phalanx_learn::files::write_atomically;
use phalanx_runtime::{Client, ClientOptions, Dump};
use serde_json::{Map, Value, json};

use crate::{
    Error, Result,
    args::{DumpArguments, InfoArguments, SecurityArguments, StoryArguments, TcpAddress},
    job::security,
    output::{self, Screen, Table, count},
    signals,
};

/// A table of the workers, and how much there is to do.
pub(crate) fn info(arguments: &InfoArguments, screen: &Screen) -> Result<()> {
    let overview = ask(&arguments.scheduler, &arguments.security, async |client| client.overview().await)?;
    if arguments.json {
        return screen.print_json(&overview_json(&overview));
    }
    let mut table = Table::new([
        "worker", ">threads", ">running", ">sent", ">queued", ">stored", ">on disk", ">heard", "state", "address",
    ]);
    for worker in &overview.workers {
        table.row([
            worker.name.clone(),
            worker.n_threads.to_string(),
            worker.n_running.to_string(),
            worker.n_assigned.to_string(),
            worker.n_queued.to_string(),
            size(worker.stored_bytes),
            size(worker.spilled_bytes),
            format!("{:.1} s ago", worker.silent_for.as_secs_f64()),
            state(worker).to_owned(),
            worker.address.to_string(),
        ]);
    }
    let counters = &overview.counters;
    let phases: Vec<String> = Phase::ALL
        .iter()
        .zip(&counters.n_tasks)
        .filter(|(_, n)| **n > 0)
        .map(|(phase, n)| format!("{n} {}", phase.name()))
        .collect();
    let tasks = if phases.is_empty() { "no tasks".to_owned() } else { format!("tasks: {}", phases.join(", ")) };
    if !overview.workers.is_empty() {
        screen.print(format_args!("{table}\n"))?;
    }
    screen.print(format_args!(
        "{}, {} beside this one; {tasks}\n\
         in {:.0} s: {} finished, {} failed, {} stolen, {} transferred ({}), {} lost with a worker, {} of a worker",
        count(overview.workers.len(), "worker"),
        count(usize::try_from(counters.n_clients.saturating_sub(1)).unwrap_or(usize::MAX), "client"),
        seconds(overview.time),
        counters.n_finished,
        counters.n_failed,
        counters.n_stolen,
        counters.n_transfers,
        size(counters.transfer_bytes),
        counters.n_worker_lost,
        count(usize::try_from(counters.n_workers_died).unwrap_or(usize::MAX), "death"),
    ))
}

/// What a worker is about, in a word.
const fn state(worker: &WorkerView) -> &'static str {
    match (worker.retiring, worker.paused) {
        (true, _) => "leaving",
        (false, true) => "paused",
        (false, false) => "up",
    }
}

/// What one task has gone through.
pub(crate) fn story(arguments: &StoryArguments, screen: &Screen) -> Result<()> {
    let task = arguments.task;
    screen.print(ask(&arguments.scheduler, &arguments.security, async |client| client.story_of(task).await)?)
}

/// A task as the dump names it.
///
/// # Errors
/// In the words of the command line.
pub(crate) fn task_id(text: &str) -> Result<TaskId, String> {
    let parts = || {
        let (client, sequence) = text.strip_prefix("task-")?.split_once('.')?;
        let client = client.parse().ok().filter(|client| *client <= TaskId::MAX_CLIENT)?;
        let id = TaskId::new(ClientId(client), sequence.parse().ok()?);
        // A number that is too large for its place would name another task.
        (id.to_string() == text).then_some(id)
    };
    parts().ok_or_else(|| "expected a task as `phalanx cluster dump` names it, like task-0.17".to_owned())
}

/// One JSON object with everything.
pub(crate) fn dump(arguments: &DumpArguments, screen: &Screen) -> Result<()> {
    if let Some(path) = &arguments.output {
        output::check_file(path)?;
    }
    let dump = ask(&arguments.scheduler, &arguments.security, async |client| client.dump().await)?;
    let value = dump_json(&dump);
    match &arguments.output {
        Some(path) => {
            let text = format!("{value}\n");
            write_atomically(path, text.as_bytes()).map_err(|error| Error::file("write", path, &error))?;
            let (tasks, steps) = (count(dump.tasks.len(), "task"), count(dump.steps.len(), "step"));
            screen.print(format_args!("{tasks} and {steps} written to {}.", path.display()))
        }
        None => screen.print_json(&value),
    }
}

/// Asks a scheduler something.
fn ask<T>(
    scheduler: &TcpAddress,
    keys: &SecurityArguments,
    question: impl AsyncFnOnce(&Client) -> phalanx_runtime::Result<T>,
) -> Result<T> {
    signals::single_threaded()?.block_on(async {
        let options = ClientOptions { security: security(keys)?, ..ClientOptions::default() };
        let client = Client::connect_with(scheduler.as_str(), &options).await.map_err(Error::failed)?;
        question(&client).await.map_err(Error::failed)
    })
}

fn overview_json(overview: &Overview) -> Value {
    let counters = &overview.counters;
    let tasks: Map<String, Value> =
        Phase::ALL.iter().zip(counters.n_tasks).map(|(phase, n)| (phase.name().to_owned(), n.into())).collect();
    let functions: Map<String, Value> = counters
        .functions
        .iter()
        .map(|f| (f.name.to_string(), json!({ "runs": f.n_runs, "seconds": f.total.as_secs_f64() })))
        .collect();
    let workers: Vec<Value> = overview
        .workers
        .iter()
        .map(|w| {
            json!({
                "id": w.worker.to_string(), "name": w.name, "address": w.address.to_string(), "threads": w.n_threads,
                "running": w.n_running, "sent": w.n_assigned, "queued": w.n_queued, "stored_bytes": w.stored_bytes,
                "spilled_bytes": w.spilled_bytes, "memory_limit": w.memory_limit, "state": state(w),
                "silent_seconds": w.silent_for.as_secs_f64(),
            })
        })
        .collect();
    let clients: Vec<Value> = overview
        .clients
        .iter()
        .map(|c| {
            json!({
                "id": c.client.to_string(), "active": c.n_active, "submitted": c.n_submitted,
                "silent_seconds": c.silent_for.as_secs_f64(),
            })
        })
        .collect();
    let config: Map<String, Value> =
        overview.config.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    json!({
        "version": overview.version,
        "seconds": seconds(overview.time),
        "config": config,
        "tasks": tasks,
        "counters": {
            "assigned": counters.n_assigned, "finished": counters.n_finished, "failed": counters.n_failed,
            "failed_attempts": counters.n_failed_attempts, "stolen": counters.n_stolen,
            "worker_lost": counters.n_worker_lost, "lost": counters.n_lost, "missed": counters.n_missed,
            "transfers": counters.n_transfers, "transfer_bytes": counters.transfer_bytes,
            "stored_bytes": counters.stored_bytes, "spilled_bytes": counters.spilled_bytes,
            "rescheduled": counters.n_rescheduled, "straggling": counters.n_straggling,
            "workers_joined": counters.n_workers_joined, "workers_left": counters.n_workers_left,
            "workers_died": counters.n_workers_died,
        },
        "life": counters.life,
        "functions": functions,
        "workers": workers,
        "clients": clients,
    })
}

fn dump_json(dump: &Dump) -> Value {
    let mut value = overview_json(&dump.overview);
    value["some_tasks"] = dump.tasks.iter().map(task_json).collect();
    value["last_steps"] = dump.steps.iter().map(step_json).collect();
    value["left_out"] = dump.left_out.clone().into();
    value
}

/// A step with its parts side by side: `{"seconds": 1.5, "task": "task-0.1", "step": "Finished", "worker": "worker-0", ..}`.
fn step_json((time, task, step): &(Time, TaskId, Step)) -> Value {
    let mut all = Map::new();
    all.insert("seconds".into(), seconds(*time).into());
    all.insert("task".into(), task.to_string().into());
    // Steps are plain, so this does not fail.
    match serde_json::to_value(step).unwrap_or_default() {
        Value::Object(named) => {
            for (name, parts) in named {
                all.insert("step".into(), name.into());
                for (part, value) in parts.as_object().into_iter().flatten() {
                    let worker = value.as_u64().filter(|_| part == "worker" || part == "from");
                    let value = worker.map_or_else(|| value.clone(), |number| format!("worker-{number}").into());
                    all.insert(part.clone(), value);
                }
            }
        }
        name => drop(all.insert("step".into(), name)),
    }
    all.into()
}

fn task_json(task: &TaskView) -> Value {
    json!({
        "task": task.task.to_string(), "function": &*task.function, "state": task.phase.name(),
        "attempts": task.n_attempts, "bytes": task.n_bytes,
        "workers": task.workers.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn seconds(time: Time) -> f64 {
    (time - Time::ZERO).as_secs_f64()
}

/// Bytes for people: `512 B`, `1.5 MiB`.
fn size(n_bytes: u64) -> String {
    let mut number = n_bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if number < 1_024. {
            return if unit == "B" { format!("{n_bytes} B") } else { format!("{number:.1} {unit}") };
        }
        number /= 1_024.;
    }
    format!("{number:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_as_it_is_shown() {
        let task = TaskId::new(ClientId(3), 17);
        assert_eq!(task_id(&task.to_string()), Ok(task));
        for text in ["", "17", "task-3", "task-3.x", "task-99999999999.0", "task-03.17", "task-3.99999999999999999"] {
            assert!(task_id(text).is_err_and(|said| said.contains("task-0.17")), "{text}");
        }
    }

    #[test]
    fn a_step_is_one_flat_object() {
        let (worker, attempt) = (phalanx_engine::id::WorkerId(2), phalanx_engine::id::Attempt(1));
        let task = TaskId::new(ClientId(0), 7);
        let told =
            [Step::Waiting, Step::Started { worker, attempt }].map(|step| step_json(&(Time(500_000_000), task, step)));
        let waiting = json!({ "seconds": 0.5, "task": "task-0.7", "step": "Waiting" });
        let started =
            json!({ "seconds": 0.5, "task": "task-0.7", "step": "Started", "worker": "worker-2", "attempt": 1 });
        assert_eq!(told, [waiting, started]);
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([size(0), size(1_023), size(1_536), size(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}
