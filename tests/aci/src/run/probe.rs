//! Probes of a container that runs. A liveness probe that fails ends it; a readiness probe that fails is told, and no more.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Crew;
use crate::spec::{Container, HttpGet, Probe};

/// Defaults of the documentation.
const PERIOD: u64 = 10;
const FAILURES: u32 = 3;
const TIMEOUT: u64 = 1;

impl Crew {
    /// Returns when a container is to be killed.
    pub(super) async fn probed(&self, container: &Container, id: &str) {
        let (name, of) = (container.name.as_str(), &container.properties);
        let readiness = async {
            loop {
                match &of.readiness_probe {
                    Some(probe) => self.fails(name, id, probe, "Readiness").await,
                    None => std::future::pending().await,
                }
            }
        };
        let liveness = async {
            match &of.liveness_probe {
                Some(probe) => self.fails(name, id, probe, "Liveness").await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = liveness => {}
            () = readiness => {}
        }
    }

    /// Returns when a probe has failed so often, one time after the other, as is too often.
    async fn fails(&self, container: &str, id: &str, probe: &Probe, kind: &str) {
        let seconds = |value: Option<u64>, usual| Duration::from_secs(value.unwrap_or(usual));
        tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
        let (period, limit) = (seconds(probe.period_seconds, PERIOD), seconds(probe.timeout_seconds, TIMEOUT));
        let most = probe.failure_threshold.unwrap_or(FAILURES).max(1);
        let mut failures = 0;
        loop {
            let result = tokio::time::timeout(limit, self.probe(id, probe)).await;
            match result.unwrap_or_else(|_| Err(anyhow::anyhow!("it took longer than {limit:?}"))) {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    let message = format!("{kind} probe failed: {error:#}");
                    self.group.state().view(container).event("Unhealthy", "Warning", &message);
                }
            }
            if failures >= most {
                return;
            }
            tokio::time::sleep(period).await;
        }
    }

    async fn probe(&self, id: &str, probe: &Probe) -> Result<()> {
        if let Some(exec) = &probe.exec {
            let code = self.world.engine.run(id, &exec.command).await?;
            ensure!(code == 0, "exit code {code}");
        }
        match &probe.http_get {
            // Not asked, see the README.
            Some(get) if get.scheme.as_deref() == Some("https") => Ok(()),
            Some(get) => self.get(get).await,
            None => Ok(()),
        }
    }

    async fn get(&self, get: &HttpGet) -> Result<()> {
        let ip = self.place.ip.as_deref().context("the group has no address")?;
        let host = format!("{ip}:{}", get.port);
        let stream = TcpStream::connect(&host).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer's body, or with this call.
        let connection = tokio::spawn(connection);
        let mut request = http::Request::get(get.path.as_deref().unwrap_or("/")).header("host", &host);
        for header in &get.http_headers {
            request = request.header(&header.name, &header.value);
        }
        let status = sender.send_request(request.body(Empty::<Bytes>::new())?).await?.status();
        connection.abort();
        ensure!((200..400).contains(&status.as_u16()), "HTTP probe failed with statuscode: {}", status.as_u16());
        Ok(())
    }
}
