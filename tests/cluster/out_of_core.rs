//! A fit over a Parquet file that is larger than the workers' memory budget.

use phalanx::{
    datasets::{ParquetIndex, ParquetOptions, make_classification, write_parquet},
    learn::FitOn,
    prelude::*,
    runtime::{LocalOptions, MemoryLimit},
};

use crate::Outcome;

const N_FEATURES: usize = 20;

/// 40,000 rows are 6.4 MB; the workers may have 4 MB together, so most rows are read in every pass.
pub(crate) async fn a_file_larger_than_the_budget() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rows.parquet");
    let made = make_classification(40_000, N_FEATURES).n_informative(10).seed(3).in_memory()?;
    let names: Vec<String> = (0..N_FEATURES).map(|j| format!("x{j}")).chain(["y".into()]).collect();
    let mut rows = ndarray::Array2::zeros((made.y.len(), N_FEATURES + 1));
    rows.slice_mut(ndarray::s![.., ..N_FEATURES]).assign(&made.x);
    rows.column_mut(N_FEATURES).assign(&made.y);
    // Row groups whose borders are not those of chunks.
    let parts = (0..4).map(|part| rows.slice(ndarray::s![part * 10_000..(part + 1) * 10_000, ..]).to_owned());
    write_parquet(&path, &names, parts)?;

    let index = ParquetIndex::of(&path, &ParquetOptions::new())?;
    let chunk_rows = Some(8 * phalanx::array::PANEL);
    let x = index.numbers(&names[..N_FEATURES], chunk_rows)?;
    let y = index.column("y", chunk_rows)?;
    let spill = folder.path().join("spill");
    std::fs::create_dir(&spill)?;
    for glm in [Glm::new(Family::Binomial).alpha(1e-3), Glm::new(Family::Gaussian).alpha(1e-2).l1_ratio(0.5)] {
        let expected = glm.fit(&made.x, &made.y)?;
        for processes in [false, true] {
            let cluster = LocalCluster::start(LocalOptions {
                n_workers: 2,
                n_threads: Some(1),
                processes,
                memory_limit: MemoryLimit::Bytes(2 << 20),
                spill_dir: Some(spill.clone()),
                ..LocalOptions::default()
            })?;
            let client = cluster.client().await?;
            client.wait_for_workers(2, std::time::Duration::from_secs(60)).await?;
            let found = glm.fit_on(&client, &x, &y).await?;
            assert_eq!(found, expected, "{:?}, processes: {processes}", glm.family);
            drop(client);
            cluster.shutdown().await;
        }
    }
    Ok(())
}
