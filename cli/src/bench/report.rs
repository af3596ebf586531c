//! A bench's table and JSON, in the one form that all areas share.

use serde_json::{Map, Value, json};

use super::peers::Outcome;
use crate::output::{Table, column};

/// What the form is called.
pub(super) const SCHEMA: &str = "bench/v1";

/// What a bench found.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The peers' names and versions; for one that is missing, why.
    pub(super) peers: Vec<Peer>,
    pub(super) rows: Vec<Row>,
}

/// A peer's name, and its version or why it is missing.
pub(super) type Peer = (&'static str, Result<String, String>);

/// Which way a unit points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// More is better.
    TasksPerSecond,
    /// Less is better: of one of `n` things.
    Microseconds,
    /// Less is better: of one of `n` tasks, beside what its body takes.
    OverheadMicroseconds,
    /// Less is better: from the first to the last.
    Seconds,
    /// More is better; `n` counts bytes.
    GigabytesPerSecond,
    /// Less is better; what is measured is not a time.
    BytesPerTask,
}

/// One measured thing.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: Unit,
    /// How many tasks, round trips or bytes a measurement has.
    pub(super) n: usize,
    /// How long ours took, in seconds; in bytes where the unit counts them.
    pub(super) seconds: f64,
    /// What the bodies alone take at best, in seconds.
    pub(super) ideal: f64,
    /// What became of each peer's.
    pub(super) peers: Vec<(&'static str, Outcome)>,
    pub(super) peak_rss_mb: Option<f64>,
    /// What holds the row back.
    pub(super) limit: String,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::TasksPerSecond => "tasks/s",
            Self::Microseconds => "us",
            Self::OverheadMicroseconds => "us/task beside the bodies",
            Self::Seconds => "s",
            Self::GigabytesPerSecond => "GB/s",
            Self::BytesPerTask => "bytes/task",
        }
    }

    /// A duration for `n` things, in this unit.
    pub(super) fn of(self, n: usize, seconds: f64) -> f64 {
        match self {
            Self::TasksPerSecond => n as f64 / seconds,
            Self::Microseconds | Self::OverheadMicroseconds => seconds / n as f64 * 1e6,
            Self::Seconds => seconds,
            Self::GigabytesPerSecond => n as f64 / seconds / 1e9,
            Self::BytesPerTask => seconds / n as f64,
        }
    }

    /// Whether a larger value is a better one.
    const fn more_is_better(self) -> bool {
        matches!(self, Self::TasksPerSecond | Self::GigabytesPerSecond)
    }
}

impl Row {
    pub(super) fn value(&self) -> f64 {
        self.unit.of(self.n, self.counted(self.seconds))
    }

    /// What counts of a time: in a row of overheads, what is beside the bodies.
    fn counted(&self, seconds: f64) -> f64 {
        // A peer that runs bodies shorter than it was told would be a wonder; nothing is divided by 0 then either.
        if self.unit == Unit::OverheadMicroseconds { (seconds - self.ideal).max(1e-9) } else { seconds }
    }

    fn peer_value(&self, outcome: &Outcome) -> Option<f64> {
        match outcome {
            Outcome::Done(seconds) | Outcome::Stopped(seconds) => Some(self.unit.of(self.n, self.counted(*seconds))),
            Outcome::Missing(_) => None,
        }
    }

    /// How far ahead of the fastest peer this is: above 1, whichever way the unit points.
    fn ratio(&self) -> Option<f64> {
        let seconds = self.peers.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Done(seconds) | Outcome::Stopped(seconds) => Some(self.counted(*seconds)),
            Outcome::Missing(_) => None,
        });
        seconds.reduce(f64::min).map(|fastest| fastest / self.counted(self.seconds))
    }

    /// What holds the row back, and what has to be known of its peers.
    fn limit(&self, all: &[Peer]) -> String {
        let mut text = self.limit.clone();
        for (name, outcome) in &self.peers {
            match outcome {
                Outcome::Done(_) => {}
                Outcome::Stopped(seconds) => {
                    text += &format!("; {name} was stopped at {seconds:.0} s and is counted as that");
                }
                // A peer that is missing altogether is said once, with the machine.
                Outcome::Missing(_) if all.iter().any(|(peer, version)| peer == name && version.is_err()) => {}
                Outcome::Missing(why) => text += &format!("; {name}: {why}"),
            }
        }
        text
    }
}

impl Report {
    /// The one JSON object.
    pub(super) fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let peers: Map<String, Value> =
                row.peers.iter().map(|(name, outcome)| ((*name).to_owned(), row.peer_value(outcome).into())).collect();
            json!({
                "name": row.name,
                "unit": row.unit.name(),
                "value": row.value(),
                "peers": peers,
                "ratio_to_fastest_peer": row.ratio(),
                "peak_rss_mb": row.peak_rss_mb,
                "limit": row.limit(&self.peers),
            })
        });
        json!({ "schema": SCHEMA, "machine": machine(&self.peers), "rows": rows.collect::<Vec<_>>() })
    }

    /// The table for people, with what has to be known to read it.
    pub(super) fn to_text(&self) -> String {
        let mut lines = vec![machine_line(&machine(&self.peers)), String::new()];
        let names: Vec<String> = self.peers.iter().map(|(name, _)| format!(">{name}")).collect();
        let mut heads = vec!["row", "unit", ">phalanx"];
        heads.extend(names.iter().map(String::as_str));
        heads.extend([">times the fastest peer", ">peak MiB"]);
        let mut table = Table::new(heads);
        for row in &self.rows {
            let peer = |outcome: &Outcome| match (row.peer_value(outcome), outcome) {
                (Some(value), Outcome::Stopped(_)) => {
                    format!("{}{}", if row.unit.more_is_better() { "<" } else { ">" }, round(value))
                }
                (Some(value), _) => round(value),
                (None, _) => "-".to_owned(),
            };
            let mut cells = vec![row.name.clone(), row.unit.name().to_owned(), round(row.value())];
            cells.extend(self.peers.iter().map(|(name, _)| {
                let outcome = row.peers.iter().find(|(peer, _)| peer == name);
                outcome.map_or_else(|| "-".to_owned(), |(_, outcome)| peer(outcome))
            }));
            cells.push(row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}")));
            cells.push(row.peak_rss_mb.map_or_else(|| "-".to_owned(), |peak| format!("{peak:.0}")));
            table.row(cells);
        }
        lines.push(table.to_string());
        lines.push(String::new());
        lines.extend(self.rows.iter().map(|row| format!("{}: {}", row.name, row.limit(&self.peers))));
        lines.extend(peer_lines(&self.peers));
        lines.join("\n")
    }
}

/// Where a bench ran and beside what.
pub(super) fn machine(all: &[Peer]) -> Value {
    let peers: Map<String, Value> =
        all.iter().map(|(name, version)| ((*name).to_owned(), version.clone().ok().into())).collect();
    let missing: Map<String, Value> =
        all.iter().filter_map(|(name, version)| Some(((*name).to_owned(), version.clone().err()?.into()))).collect();
    json!({
        "cpu": cpu(),
        "threads": std::thread::available_parallelism().map_or(1, usize::from),
        "memory_mb": memory_mb(),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "phalanx": env!("CARGO_PKG_VERSION"),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "peers": peers,
        "missing": missing,
    })
}

/// The first line of a table: where it was measured.
pub(super) fn machine_line(machine: &Value) -> String {
    let text = |key: &str| machine[key].as_str().map_or_else(|| machine[key].to_string(), str::to_owned);
    format!(
        "{}, {} threads, {} MiB; phalanx {} ({} build)",
        text("cpu"),
        text("threads"),
        text("memory_mb"),
        text("phalanx"),
        text("build")
    )
}

/// The last lines of a table: which peers there were.
pub(super) fn peer_lines(all: &[Peer]) -> impl Iterator<Item = String> {
    all.iter().map(|(name, version)| match version {
        Ok(version) => format!("{name} is {version}"),
        Err(why) => format!("{name} was not measured: {why}"),
    })
}

pub(super) fn round(value: f64) -> String {
    if value >= 100. { format!("{value:.0}") } else { column(&[value], 3).concat() }
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}

fn memory_mb() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(unit: Unit, outcome: Outcome) -> Row {
        let (name, limit) = ("local 1000 tasks".to_owned(), "the pool".to_owned());
        Row {
            name,
            unit,
            n: 1000,
            seconds: 0.01,
            ideal: 0.,
            peers: vec![("dask", outcome)],
            peak_rss_mb: Some(12.5),
            limit,
        }
    }

    #[test]
    fn a_ratio_above_one_says_we_are_ahead_whichever_way_the_unit_points() {
        for unit in [Unit::TasksPerSecond, Unit::Microseconds] {
            assert_eq!(row(unit, Outcome::Done(0.5)).ratio(), Some(50.));
        }
        assert_eq!(row(Unit::Microseconds, Outcome::Missing(String::new())).ratio(), None);
    }

    #[test]
    fn an_overhead_is_what_is_beside_the_bodies() {
        let row = Row { ideal: 0.005, ..row(Unit::OverheadMicroseconds, Outcome::Done(0.505)) };
        assert!((row.value() - 5.).abs() < 1e-9);
        assert!(row.ratio().is_some_and(|ratio| (ratio - 100.).abs() < 1e-9));
        assert_eq!(Unit::GigabytesPerSecond.of(2_000_000_000, 0.5), 4.);
    }

    #[test]
    fn a_row_has_the_form_that_all_benches_share() {
        let peers = vec![("dask", Ok("2026.8.0".to_owned()))];
        let report = Report { peers, rows: vec![row(Unit::TasksPerSecond, Outcome::Stopped(20.))] };
        let json = report.to_json();
        assert_eq!(
            json["rows"],
            json!([{
                "name": "local 1000 tasks", "unit": "tasks/s", "value": 100_000.0, "peers": {"dask": 50.0},
                "ratio_to_fastest_peer": 2000.0, "peak_rss_mb": 12.5,
                "limit": "the pool; dask was stopped at 20 s and is counted as that",
            }])
        );
        assert_eq!(json["machine"]["peers"], json!({"dask": "2026.8.0"}));
        assert!(report.to_text().contains("<50"), "{}", report.to_text());
    }

    #[test]
    fn a_missing_peer_is_null_and_said() {
        let peers = vec![("dask", Err("python3 has none".to_owned()))];
        let report =
            Report { peers, rows: vec![row(Unit::Microseconds, Outcome::Missing("not installed".to_owned()))] };
        let json = report.to_json();
        assert_eq!(json["rows"][0]["peers"], json!({"dask": null}));
        assert_eq!(json["rows"][0]["ratio_to_fastest_peer"], Value::Null);
        assert_eq!(json["rows"][0]["limit"], "the pool");
        assert_eq!(json["machine"]["missing"], json!({"dask": "python3 has none"}));
        assert!(report.to_text().ends_with("dask was not measured: python3 has none"), "{}", report.to_text());
    }
}
