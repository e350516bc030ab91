//! A temporary database on the given PostgreSQL server.

use anyhow::{Context as _, Result};
use uuid::Uuid;

/// Creates a database, passes its URL to the work, and removes it whatever the result.
pub(crate) async fn with_database<T>(server: &str, work: impl AsyncFnOnce(&str) -> Result<T>) -> Result<T> {
    let name = format!("gatehouse_bench_{}", Uuid::now_v7().simple());
    administer(server, &format!("CREATE DATABASE {name}")).await?;
    let done = match named(server, &name) {
        Ok(url) => work(&url).await,
        Err(error) => Err(error),
    };
    administer(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    done
}

async fn administer(server: &str, sql: &str) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await?;
    let talking = tokio::spawn(connection);
    client.batch_execute(sql).await?;
    drop(client);
    Ok(talking.await??)
}

fn named(server: &str, name: &str) -> Result<String> {
    let (start, query) = server.split_once('?').map_or((server, ""), |(start, query)| (start, query));
    let (host, _) = start
        .rsplit_once('/')
        .filter(|(host, _)| host.contains("://") && !host.ends_with('/'))
        .context("the URL of the PostgreSQL server names a database")?;
    Ok(if query.is_empty() { format!("{host}/{name}") } else { format!("{host}/{name}?{query}") })
}
