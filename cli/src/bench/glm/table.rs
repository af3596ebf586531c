//! What the bench of GLMs found, for people and for programs.

use serde_json::{Map, Value, json};

use super::{
    Plan,
    ours::Ours,
    out_of_core,
    peer::{Outcome, Peer, Side},
};
use crate::{
    bench::report::{self, SCHEMA, machine, machine_line, peer_lines, round},
    output::Table,
};

/// What the bench found.
#[derive(Debug)]
pub(super) struct Report {
    /// The peers' names and versions; for one that is missing, why.
    pub(super) peers: Vec<report::Peer>,
    pub(super) rows: Vec<Row>,
    /// Those that are read from a file.
    pub(super) out_of_core: Vec<out_of_core::Row>,
}

/// One measured row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) plan: Plan,
    pub(super) n_rows: usize,
    pub(super) n_features: usize,
    pub(super) ours: Ours,
    /// Each solver of each peer that is there.
    pub(super) sides: Vec<Side>,
}

impl Row {
    /// The side that counts as the fastest: one that came near enough, or was stopped on the way.
    fn fastest(&self) -> Option<&Side> {
        fastest(self.sides.iter())
    }

    /// How far ahead of it we are, and whether that is the least it can be because it was stopped.
    fn ratio(&self) -> Option<(f64, bool)> {
        let side = self.fastest()?;
        Some((side.seconds()? / self.ours.seconds, matches!(side.outcome, Outcome::Stopped(..))))
    }

    /// The side that came nearest, where none came near enough.
    fn nearest(&self) -> Option<&Side> {
        let shorts = self.sides.iter().filter_map(|side| Some((side, side.found()?.short_by)));
        shorts.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(side, _)| side)
    }

    /// Unknown where the ratio is more than what it was stopped at, and that is too little; none without a target.
    fn met(&self) -> Option<bool> {
        let ((ratio, at_least), target) = (self.ratio()?, self.plan.target?);
        match ratio >= target {
            false if at_least => None,
            met => Some(met),
        }
    }

    fn objective(&self) -> f64 {
        self.ours.fitted.objectives[self.ours.fitted.place]
    }

    /// What holds our side back.
    fn limit(&self) -> String {
        let bytes = (self.n_rows * self.n_features * size_of::<f64>()) as f64;
        let (n_passes, seconds) = (self.ours.fitted.n_passes, self.ours.seconds);
        let speed = round(n_passes as f64 * bytes / seconds / 1e9);
        let passes = if n_passes == 1 { "pass" } else { "passes" };
        format!("{n_passes} {passes} over {} MB of rows, {speed} GB/s", round(bytes / 1e6))
    }

    /// How each side fared, as a line.
    fn sides_line(&self, all: &[report::Peer]) -> String {
        let sides = self.sides.iter().map(|side| {
            let name = format!("{} {}", side.peer.name(), side.solver);
            let short = side.found().map(|found| format!("short by {:.0e}", found.short_by));
            match &side.outcome {
                Outcome::Reached(found) => {
                    format!("{name} {} s at tol {:e}, {:.0} MiB", round(found.seconds), found.tol, found.peak_rss_mb)
                }
                Outcome::Short(found) => {
                    format!("{name} short by {:.0e} in {} s", found.short_by, round(found.seconds))
                }
                Outcome::Stopped(seconds, _) => {
                    let before = short.map_or_else(String::new, |short| format!(" ({short} before)"));
                    format!("{name} was stopped at {seconds:.0} s and is counted as that{before}")
                }
                Outcome::Failed(why) => format!("{name} failed: {why}"),
            }
        });
        let mut parts = vec![self.limit(), format!("tol {:e}", self.ours.tol)];
        parts.extend(sides);
        // Where a Python was given, each row says of whom it knows nothing.
        if all.iter().any(|(_, version)| version.is_ok()) {
            for peer in Peer::ALL {
                let version = all.iter().find(|(name, _)| *name == peer.name()).map(|(_, version)| version);
                if version.is_some_and(Result::is_err) {
                    parts.push(format!("{} not installed", peer.name()));
                } else if peer.solvers(&self.plan).is_empty() {
                    parts.push(format!("{} has none of the kind", peer.name()));
                }
            }
        }
        format!("{}: {}", self.plan.name, parts.join("; "))
    }

    fn to_json(&self, all: &[report::Peer]) -> Value {
        let of =
            |peer: &str| fastest(self.sides.iter().filter(|side| side.peer.name() == peer)).and_then(Side::seconds);
        let peers: Map<String, Value> = all.iter().map(|(name, _)| ((*name).to_owned(), of(name).into())).collect();
        let (ours, fitted) = (&self.ours, &self.ours.fitted);
        json!({
            "name": self.plan.name,
            "unit": "s",
            "value": ours.seconds,
            "peers": peers,
            "ratio_to_fastest_peer": self.ratio().map(|(ratio, _)| ratio),
            "ratio_is_at_least": self.ratio().map(|(_, at_least)| at_least),
            "target": self.plan.target,
            "met": self.met(),
            "peak_rss_mb": ours.peak_rss_mb,
            "limit": self.limit(),
            "n_rows": self.n_rows,
            "n_features": self.n_features,
            "tol": ours.tol,
            "passes": fitted.n_passes,
            "kkt_relative": fitted.kkt_relative,
            "objective": self.objective(),
            "short_by": ours.short_by,
            "solvers": self.sides.iter().map(side_json).collect::<Vec<_>>(),
        })
    }
}

fn fastest<'a>(sides: impl Iterator<Item = &'a Side>) -> Option<&'a Side> {
    // A side that came there in its time is before one that was stopped at the same.
    let counted = sides.filter_map(|side| Some((side, side.seconds()?)));
    counted.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(side, _)| side)
}

fn side_json(side: &Side) -> Value {
    let (outcome, why) = match &side.outcome {
        Outcome::Reached(_) => ("reached", None),
        Outcome::Short(_) => ("short", None),
        Outcome::Stopped(..) => ("stopped", None),
        Outcome::Failed(why) => ("failed", Some(why)),
    };
    let found = side.found();
    json!({
        "peer": side.peer.name(),
        "solver": side.solver,
        "outcome": outcome,
        "seconds": side.seconds().or_else(|| found.map(|found| found.seconds)),
        "tol": found.map(|found| found.tol),
        "objective": found.map(|found| found.objective),
        "short_by": found.map(|found| found.short_by),
        "peak_rss_mb": found.map(|found| found.peak_rss_mb),
        "why": why,
    })
}

impl Report {
    /// The one JSON object.
    pub(super) fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| row.to_json(&self.peers));
        let rows: Vec<Value> = rows.chain(self.out_of_core.iter().map(out_of_core::Row::to_json)).collect();
        json!({ "schema": SCHEMA, "machine": machine(&self.peers), "rows": rows })
    }

    /// The table for people, with what has to be known to read it.
    pub(super) fn to_text(&self) -> String {
        let mut lines = vec![machine_line(&machine(&self.peers)), String::new()];
        let mut table = Table::new([
            "row",
            ">rows",
            ">phalanx s",
            ">passes",
            ">kkt",
            ">objective",
            "best peer",
            ">its s",
            ">times it",
            ">target",
            "met",
            ">peak MiB",
            ">its MiB",
        ]);
        let none = || "-".to_owned();
        for row in &self.rows {
            let best = row.fastest().or_else(|| row.nearest());
            let its = best.map_or_else(none, |side| match &side.outcome {
                Outcome::Stopped(seconds, _) => format!("more than {seconds:.0}"),
                Outcome::Reached(found) => round(found.seconds),
                Outcome::Short(found) => format!("short by {:.0e}", found.short_by),
                Outcome::Failed(_) => none(),
            });
            let ratio = row
                .ratio()
                .map_or_else(none, |(ratio, at_least)| format!("{}{ratio:.1}", if at_least { ">" } else { "" }));
            table.row([
                row.plan.name.to_owned(),
                row.n_rows.to_string(),
                round(row.ours.seconds),
                row.ours.fitted.n_passes.to_string(),
                format!("{:.0e}", row.ours.fitted.kkt_relative),
                format!("{:.9}", row.objective()),
                best.map_or_else(none, |side| format!("{} {}", side.peer.name(), side.solver)),
                its,
                ratio,
                row.plan.target.map_or_else(none, |target| target.to_string()),
                row.met().map_or("-", |met| if met { "yes" } else { "no" }).to_owned(),
                row.ours.peak_rss_mb.map_or_else(none, |peak| format!("{peak:.0}")),
                best.and_then(Side::found).map_or_else(none, |found| format!("{:.0}", found.peak_rss_mb)),
            ]);
        }
        if !self.rows.is_empty() {
            lines.push(table.to_string());
            lines.push(String::new());
        }
        lines.extend(self.out_of_core.iter().map(out_of_core::Row::to_text));
        lines.extend(self.rows.iter().map(|row| row.sides_line(&self.peers)));
        lines.extend(peer_lines(&self.peers));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::glm::{ours::Fitted, peer::Found};

    fn found(seconds: f64, short_by: f64) -> Found {
        let text = json!({
            "tol": 1e-6, "seconds": seconds, "objective": 0.5, "short_by": short_by, "peak_rss_mb": 90.,
            "reached": short_by <= 1e-8,
        });
        serde_json::from_value(text).expect("what a peer says")
    }

    fn report(outcomes: impl IntoIterator<Item = Outcome>) -> Report {
        let fitted = Fitted { objectives: vec![0.5], place: 0, n_passes: 7, kkt_relative: 1e-11 };
        let (best, lambdas) = (vec![0.5], Vec::new());
        let ours = Ours { seconds: 0.5, tol: 1e-4, fitted, short_by: 0., peak_rss_mb: Some(50.), best, lambdas };
        let side = |outcome| Side { peer: Peer::ScikitLearn, solver: "saga", outcome };
        let sides = outcomes.into_iter().map(side).collect();
        let row = Row { plan: Plan::ALL[1].clone(), n_rows: 1_000, n_features: 50, ours, sides };
        let versions = [Ok("1.9.1".to_owned()), Ok("3.4.1".to_owned()), Err("it has none".to_owned())];
        Report {
            peers: Peer::ALL.map(Peer::name).into_iter().zip(versions).collect(),
            rows: vec![row],
            out_of_core: Vec::new(),
        }
    }

    #[test]
    fn the_fastest_of_those_that_came_near_enough_counts() {
        let sides =
            [Outcome::Short(found(0.1, 3e-7)), Outcome::Reached(found(2., 0.)), Outcome::Reached(found(3., 0.))];
        let report = report(sides);
        let row = &report.to_json()["rows"][0];
        assert_eq!((&row["ratio_to_fastest_peer"], &row["met"]), (&json!(4.), &json!(true)));
        assert_eq!(row["peers"], json!({"scikit-learn": 2., "glum": null, "dask-glm": null}));
        assert_eq!(row["solvers"][0]["outcome"], "short");
        let text = report.to_text();
        for part in ["short by 3e-7 in 0.10", "dask-glm not installed", "glum is 3.4.1", "scikit-learn saga 2.00 s"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn one_that_was_stopped_says_the_least_that_the_ratio_can_be() {
        let report = report([Outcome::Stopped(60., Some(found(20., 2e-3)))]);
        let row = &report.to_json()["rows"][0];
        assert_eq!((&row["ratio_to_fastest_peer"], &row["ratio_is_at_least"]), (&json!(120.), &json!(true)));
        let text = report.to_text();
        assert!(text.contains("more than 60") && text.contains(">120.0"), "{text}");
    }

    #[test]
    fn a_row_without_a_target_is_reported() {
        let mut report = report([Outcome::Reached(found(2., 0.))]);
        report.rows[0].plan = Plan::ALL[8].clone();
        let row = &report.to_json()["rows"][0];
        assert_eq!(
            (&row["target"], &row["met"], &row["ratio_to_fastest_peer"]),
            (&Value::Null, &Value::Null, &json!(4.))
        );
        let text = report.to_text();
        let line = text.lines().find(|line| line.starts_with("flights")).expect("its line");
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells[8..12], ["2.00", "4.0", "-", "-"], "{text}");
    }

    #[test]
    fn where_nobody_comes_near_enough_there_is_no_ratio() {
        let report = report([Outcome::Short(found(0.1, 3e-7)), Outcome::Failed("no such option".into())]);
        let row = &report.to_json()["rows"][0];
        assert_eq!((&row["ratio_to_fastest_peer"], &row["met"]), (&Value::Null, &Value::Null));
        let text = report.to_text();
        assert!(text.contains("short by 3e-7") && text.contains("failed: no such option"), "{text}");
    }
}
