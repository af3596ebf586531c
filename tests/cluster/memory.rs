//! An array four times as large as the memory budget, on worker processes whose resident memory is looked at.
//!
//! `PHALANX_MEMORY_MIB` is the budget of all workers together in MiB, 128 if unset. What counts is how far a worker's
//! peak (`VmHWM`) is above what it was before the array, when the program was loaded and had run some tasks.

use std::{fs, path::Path};

use phalanx::{
    array::ChunkedArray,
    runtime::{LocalCluster, LocalOptions, MemoryLimit},
};

use crate::{Outcome, process_of};

/// `x = random, y = x + xᵀ, sum`.
fn symmetric_sum(n: usize) -> phalanx::array::Result<ChunkedArray> {
    let x = ChunkedArray::random_normal(7, 0., 1., &[n, n], phalanx::array::PANEL)?;
    (&x + &x.t()).sum()
}

fn options(n_workers: usize, memory_limit: MemoryLimit, spill_dir: &Path) -> LocalOptions {
    LocalOptions {
        n_workers,
        n_threads: Some(1),
        processes: true,
        memory_limit,
        spill_dir: Some(spill_dir.into()),
        ..LocalOptions::default()
    }
}

pub(crate) async fn four_times_the_budget() -> Outcome {
    let budget = std::env::var("PHALANX_MEMORY_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(128_u64);
    let n = (4 * (budget << 20) / 8).isqrt() as usize;
    let folder = tempfile::tempdir()?;

    let cluster = LocalCluster::start(options(2, MemoryLimit::None, folder.path()))?;
    let expected = cluster.client().await?.compute(&symmetric_sum(n)?).await?;
    cluster.shutdown().await;

    for n_workers in [1, 2] {
        let limit = MemoryLimit::Bytes((budget << 20) / n_workers as u64);
        let cluster = LocalCluster::start(options(n_workers, limit, folder.path()))?;
        let client = cluster.client().await?;
        client.wait_for_workers(n_workers, std::time::Duration::from_secs(60)).await?;
        client.compute(&(0..100).map(process_of::delayed).collect::<Vec<_>>()).await?;
        let workers = cluster.process_ids();
        let before = workers.iter().map(|worker| peak_kib(*worker)).collect::<Result<Vec<_>, _>>()?;
        let sum = client.compute(&symmetric_sum(n)?).await?;
        assert_eq!(sum.mapv(f64::to_bits), expected.mapv(f64::to_bits), "{n_workers} workers");
        for (worker, before) in workers.iter().zip(before) {
            let grown = (peak_kib(*worker)? - before) >> 10;
            let allowed = budget / n_workers as u64 * 115 / 100;
            assert!(grown <= allowed, "worker {worker} of {n_workers} took {grown} MiB, {allowed} MiB are allowed");
        }
        drop(client);
        cluster.shutdown().await;
    }
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "files stay behind");
    Ok(())
}

/// The most memory that a process ever had, in KiB.
fn peak_kib(process: u32) -> Result<u64, Box<dyn std::error::Error>> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
