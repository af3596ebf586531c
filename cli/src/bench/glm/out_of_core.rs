//! Rows of the bench that are read from a Parquet file larger than the workers' memory: how long a fit takes beside
//! reading the file once.

use std::time::Instant;

use ndarray::{Array2, Axis, s};
use phalanx_array::{Block, ChunkedArray};
use phalanx_datasets::{ParquetIndex, ParquetOptions, make_regression, write_parquet};
use phalanx_engine::{graph::Delayed, task};
use phalanx_glm::{Family, Glm};
use phalanx_learn::FitOn;
use phalanx_runtime::{Client, LocalCluster, LocalOptions, MemoryLimit};
use serde_json::{Value, json};

use crate::{
    Error, Result,
    bench::{memory, report::round},
    data::on_cluster,
    signals,
};

/// Columns of X.
const N_FEATURES: usize = 20;
/// Rows of a row group.
const GROUP: usize = 250_000;
/// The workers may keep so much of what X takes.
const SHARE: u64 = 4;
/// A fit may take so many times what reading the file takes, for each pass.
const TARGET: f64 = 1.3;
/// A fit may read the file so often.
const MAX_PASSES: usize = 8;

/// A fit to measure.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    target: &'static str,
    glm: fn() -> Glm,
}

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Row {
    name: &'static str,
    n_rows: usize,
    seconds: f64,
    /// Of reading the columns of the file once, into the same blocks by the same threads.
    read_seconds: f64,
    /// How many times the bytes of one read the fit has read; none where nobody counts them.
    n_reads: Option<f64>,
    /// Passes over the rows, and those of them that look at X.
    passes: [usize; 2],
    file_bytes: u64,
    budget: u64,
    objective: f64,
    kkt_relative: f64,
    peak_rss_mb: Option<f64>,
}

pub(super) const PLANS: [Plan; 3] = [
    Plan {
        name: "gaussian elastic net out of core",
        target: "length",
        glm: || Glm::new(Family::Gaussian).alpha(1e-2).l1_ratio(0.5),
    },
    Plan { name: "logistic L2 out of core", target: "side", glm: || Glm::new(Family::Binomial).alpha(1e-4) },
    Plan { name: "Poisson L2 out of core", target: "count", glm: || Glm::new(Family::Poisson).alpha(1e-3) },
];

/// Reads a block, and says no more than that it is there.
#[task(name = "cli.bench_touch")]
fn touch(block: &Block) -> f64 {
    block.as_slice().first().copied().unwrap_or_default()
}

/// Writes the file, then measures each row.
pub(super) fn measure(plans: &[Plan], n_rows: usize) -> Result<Vec<Row>> {
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error: std::io::Error| Error::failed(format!("cannot make a temporary folder: {error}"));
    let folder = tempfile::Builder::new().prefix("phalanx-bench-").tempdir().map_err(failed)?;
    let path = folder.path().join("rows.parquet");
    let names: Vec<String> = (0..N_FEATURES).map(|column| format!("x{column}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).chain(["length", "side", "count"]).collect();
    write_parquet(&path, &all, (0..n_rows).step_by(GROUP).map_while(|row| part(GROUP.min(n_rows - row), row).ok()))
        .map_err(Error::failed)?;
    let index = ParquetIndex::of(&path, &ParquetOptions::new()).map_err(Error::failed)?;
    if index.n_rows() != n_rows as u64 {
        return Err(Error::failed("the rows of the file could not be drawn"));
    }
    let file_bytes = std::fs::metadata(&path).map_err(|error| Error::file("read", &path, &error))?.len();
    let x_bytes = (n_rows * N_FEATURES * size_of::<f64>()) as u64;
    let budget = (x_bytes / SHARE).max(32 << 20);
    // A thread works on few rows at a time, so that all threads' chunks fit into the budget.
    let chunk_rows = Some((n_rows / 64).next_multiple_of(phalanx_array::PANEL));
    let x = index.numbers(&names, chunk_rows).map_err(Error::failed)?;
    let runtime = signals::single_threaded()?;
    runtime.block_on(async {
        let options = LocalOptions {
            n_workers: 1,
            memory_limit: MemoryLimit::Bytes(budget),
            spill_dir: Some(folder.path().to_owned()),
            ..LocalOptions::default()
        };
        let cluster = LocalCluster::start(options).map_err(on_cluster)?;
        let client = cluster.client().await.map_err(on_cluster)?;
        let mut rows = Vec::new();
        for plan in plans {
            let y = index.column(plan.target, chunk_rows).map_err(Error::failed)?;
            let [mut read_seconds, mut seconds] = [f64::INFINITY; 2];
            let mut fitted = None;
            memory::reset();
            // In turn, the better of two: who else is at the machine is so to both.
            for _ in 0..2 {
                let before = memory::bytes_read();
                read_seconds = read_seconds.min(read(&client, &x, &y).await?);
                let between = memory::bytes_read();
                let begun = Instant::now();
                let model = (plan.glm)().fit_on(&client, &x, &y).await.map_err(Error::failed)?;
                seconds = seconds.min(begun.elapsed().as_secs_f64());
                let n_bytes = [between.zip(before), memory::bytes_read().zip(between)];
                fitted = Some((model, n_bytes.map(|pair| pair.map(|(late, early)| (late - early) as f64))));
            }
            let Some((model, [of_read, of_fit])) = fitted else { continue };
            let report = model.report();
            // The pass that finds the null model looks at y alone; least squares need no null model.
            let n_null = usize::from(model.family() != Family::Gaussian);
            rows.push(Row {
                name: plan.name,
                n_rows,
                seconds,
                read_seconds,
                n_reads: of_fit.zip(of_read).map(|(fit, read)| fit / read),
                passes: [report.n_passes, report.n_passes - n_null],
                file_bytes,
                budget,
                objective: report.objective,
                kkt_relative: report.kkt_relative,
                peak_rss_mb: memory::peak_mb(),
            });
        }
        drop(client);
        cluster.shutdown().await;
        Ok(rows)
    })
}

/// Some rows of X and their three targets: linear in the same way in every part, with noise that is drawn too.
fn part(n_rows: usize, first_row: usize) -> Result<Array2<f64>> {
    let drawn = make_regression(n_rows, N_FEATURES + 2).seed(first_row as u64).in_memory().map_err(Error::failed)?.x;
    let mut rows = Array2::zeros((n_rows, N_FEATURES + 3));
    rows.slice_mut(s![.., ..N_FEATURES]).assign(&drawn.slice(s![.., ..N_FEATURES]));
    for (mut row, drawn) in rows.axis_iter_mut(Axis(0)).zip(drawn.axis_iter(Axis(0))) {
        let linear: f64 = (0..N_FEATURES).map(|column| 0.3 * (column as f64).cos() * drawn[column]).sum();
        let noise = [drawn[N_FEATURES], drawn[N_FEATURES + 1]];
        row[N_FEATURES] = linear + 2. * noise[0];
        row[N_FEATURES + 1] = f64::from(linear + 1.7 * noise[1] > 0.3);
        row[N_FEATURES + 2] = (0.5 * linear + 0.5 * noise[0]).exp().round();
    }
    Ok(rows)
}

async fn read(client: &Client, x: &ChunkedArray, y: &ChunkedArray) -> Result<f64> {
    let begun = Instant::now();
    let blocks: Vec<Delayed<f64>> = x.blocks().iter().chain(&y.blocks()).map(touch::delayed).collect();
    client.compute(&blocks).await.map_err(on_cluster)?;
    Ok(begun.elapsed().as_secs_f64())
}

impl Row {
    /// What the fit took beside reading the file as often as it looks at it.
    fn ratio(&self) -> f64 {
        self.seconds / (self.passes[1] as f64 * self.read_seconds)
    }

    fn met(&self) -> bool {
        self.ratio() <= TARGET && self.passes[1] <= MAX_PASSES
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": "s",
            "value": self.seconds,
            "peers": {},
            "ratio_to_fastest_peer": null,
            "target": TARGET,
            "met": self.met(),
            "peak_rss_mb": self.peak_rss_mb,
            "limit": self.limit(),
            "n_rows": self.n_rows,
            "n_features": N_FEATURES,
            "read_seconds": self.read_seconds,
            "reads": self.n_reads,
            "ratio_to_reads": self.ratio(),
            "passes": self.passes[0],
            "passes_over_x": self.passes[1],
            "file_bytes": self.file_bytes,
            "budget_bytes": self.budget,
            "objective": self.objective,
            "kkt_relative": self.kkt_relative,
        })
    }

    fn limit(&self) -> String {
        let megabytes = |bytes: u64| round(bytes as f64 / 1e6);
        format!(
            "a file of {} MB in a budget of {} MB, one read of it into blocks {} s",
            megabytes(self.file_bytes),
            megabytes(self.budget),
            round(self.read_seconds)
        )
    }

    /// One line for people.
    pub(super) fn to_text(&self) -> String {
        let reads = self.n_reads.map_or_else(String::new, |reads| format!(", {} reads by the bytes", round(reads)));
        let peak = self.peak_rss_mb.map_or_else(String::new, |peak| format!(", peak {peak:.0} MiB"));
        format!(
            "{}: {} rows in {} s, {} times a read of the file for each of {} passes over it ({TARGET} is the target, \
             and {MAX_PASSES} passes: {}); {}{reads}{peak}",
            self.name,
            self.n_rows,
            round(self.seconds),
            round(self.ratio()),
            self.passes[1],
            if self.met() { "met" } else { "not met" },
            self.limit(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_fitted_and_measured() {
        let rows = measure(&PLANS, 3_000).expect("rows");
        assert_eq!(rows.iter().map(|row| row.name).collect::<Vec<_>>(), PLANS.map(|plan| plan.name));
        assert_eq!(rows[0].passes, [1, 1]);
        assert!(rows.iter().all(|row| row.seconds > 0. && row.read_seconds > 0. && row.kkt_relative < 1e-6));
        assert!(rows[1].to_text().contains("logistic L2 out of core: 3000 rows in "));
        assert_eq!(rows[2].to_json()["passes"], rows[2].passes[0]);
        if cfg!(target_os = "linux") {
            assert!(rows.iter().all(|row| row.n_reads.is_some_and(|reads| reads > 0.)), "{rows:?}");
        }
    }
}
