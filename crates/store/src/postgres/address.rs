//! The address of a PostgreSQL server, and connecting to it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::driver::DEADLINE;
use crate::fault::postgres::fault;
use crate::postgres::connection::PostgresConnection;
use crate::{Fault, Trouble};

/// Maximum time for a server to accept a connection.
const WAIT: Duration = Duration::from_secs(5);

/// A server's address, and whether to use TLS.
#[derive(Clone)]
pub(crate) struct Address {
    config: Config,
    tls: bool,
}

impl Address {
    pub(crate) fn new(mut config: Config) -> Self {
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => false,
            SslMode::Require => true,
            _ => !config.get_hosts().iter().all(is_here),
        };
        config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(2 * WAIT);
        }
        if config.get_application_name().is_none() {
            config.application_name("gatehouse");
        }
        Self { config, tls }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    #[cfg(test)]
    pub(crate) fn tls(&self) -> bool {
        self.tls
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        Host::Unix(_) => true,
    }
}

/// Opens connections.
pub(super) struct Dialler {
    address: Address,
    tls: MakeRustlsConnect,
}

impl Dialler {
    pub(super) fn new(address: Address) -> Result<Self, Fault> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Fault::failed)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: MakeRustlsConnect::new(tls) })
    }

    pub(super) async fn dial(&self) -> Result<Client, Fault> {
        let dialled = timeout(WAIT, self.connect()).await;
        let silent = |_| Fault::because(Trouble::Silent, "the server does not answer");
        dialled.map_err(silent)?.map_err(|error| match error.as_db_error() {
            Some(_) => fault(error),
            None => Fault::because(Trouble::Gone, error),
        })
    }

    async fn connect(&self) -> Result<Client, Error> {
        let config = &self.address.config;
        // The task ends, and the connection with it, when the client is dropped or the server goes away; its error also
        // reaches every pending query.
        if self.address.tls {
            let (client, connection) = config.connect(self.tls.clone()).await?;
            tokio::spawn(connection.map(drop));
            Ok(client)
        } else {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(connection.map(drop));
            Ok(client)
        }
    }

    /// Opens a connection on which nothing waits for ever, neither for a lock nor for an answer.
    pub(super) async fn dial_for(&self, access: &str) -> Result<PostgresConnection, Fault> {
        let client = self.dial().await?;
        let settings = format!(
            "SET SESSION CHARACTERISTICS AS TRANSACTION {access}; SET lock_timeout = '5s'; SET statement_timeout = {}",
            DEADLINE.as_millis()
        );
        client.batch_execute(&settings).await.map_err(fault)?;
        Ok(PostgresConnection::new(client))
    }
}
