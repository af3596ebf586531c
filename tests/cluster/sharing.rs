//! What one program publishes, another works with.

use std::process::Command;

use phalanx::{array::ChunkedArray, prelude::*, runtime::LocalCluster};

use crate::Outcome;

/// Says to this program, started anew, that it is to publish on the cluster at this address and end.
const PUBLISHES_ON: &str = "PHALANX_TEST_PUBLISHES_ON";

/// Publishes and says so, where that is what this process is there for.
pub(crate) fn publish_if_told() -> Option<Outcome> {
    let url = std::env::var(PUBLISHES_ON).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Some(runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(publish(&url))))
}

fn numbers() -> phalanx::array::Result<ChunkedArray> {
    ChunkedArray::random_normal(3, 0., 1., &[3_000, 40], 512)
}

async fn publish(url: &str) -> Outcome {
    let client = Client::connect(url).await?;
    client.publish("numbers", &numbers()?.t()).await?;
    Ok(())
}

pub(crate) async fn an_array_outlives_the_program_that_published_it() -> Outcome {
    let cluster = LocalCluster::processes(2)?;
    let url = cluster.url().ok_or("it listens")?.to_owned();
    let published = Command::new(std::env::current_exe()?).env(PUBLISHES_ON, &url).status()?;
    assert!(published.success());

    let client = Client::connect(&url).await?;
    assert_eq!(client.published().await?, ["numbers"]);
    let found = client.get_published::<ChunkedArray>("numbers").await?;
    let expected = numbers()?.t();
    assert_eq!((found.shape(), found.axes()), (vec![40, 3_000], expected.axes()));
    let gram = |x: &ChunkedArray| x.dot(&x.t());
    let there = client.compute(&gram(&found)?).await?;
    let here = Client::local().await?.compute(&gram(&expected)?).await?;
    assert_eq!(there.mapv(f64::to_bits), here.mapv(f64::to_bits));
    let error = client.get_published::<phalanx::array::Table>("numbers").await.expect_err("it is an array");
    assert!(error.to_string().contains("published as array of f64, and asked for as table"), "{error}");

    client.unpublish("numbers").await?;
    let error = client.get_published::<ChunkedArray>("numbers").await.expect_err("it is gone").to_string();
    assert_eq!(error, "nothing is published as \"numbers\"; published: nothing is");
    // Who has got it holds it still.
    assert_eq!(client.compute(&gram(&found)?).await?.mapv(f64::to_bits), here.mapv(f64::to_bits));
    Ok(())
}
