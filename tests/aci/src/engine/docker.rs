//! Containers of a real engine, through a client that is not ours.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, KillContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    UploadToContainerOptionsBuilder, WaitContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, body_full};
use futures::StreamExt as _;
use jiff::Timestamp;
use tar::{Builder, Header};

use super::{Attempt, Bind, Exit, File, LABEL, Login, Place, Sandbox, Source, Tail};

/// What a container is, for people.
const OF: &str = "vk-fake-aci.of";
/// Where a sandbox has its volumes.
const VOLUMES: &str = "/volumes";
/// Longer than any call takes.
const PATIENCE: u64 = 600;
const GIGABYTE: f64 = 1e9;

/// An engine.
pub(crate) struct Docker {
    client: bollard::Docker,
    pause: String,
    owner: String,
    /// More cores than there are cannot be asked for.
    cores: f64,
}

impl Docker {
    /// The engine that listens at a socket.
    pub(crate) async fn at(socket: &Path, pause: &str, owner: &str) -> Result<Self> {
        let socket = socket.to_str().context("the socket's path is no text")?;
        let client = bollard::Docker::connect_with_unix(socket, PATIENCE, API_DEFAULT_VERSION)?;
        let client = client.negotiate_version().await.with_context(|| format!("no engine answers at {socket}"))?;
        let cores = client.info().await?.ncpu.and_then(|count| i32::try_from(count).ok()).map_or(1.0, f64::from);
        Ok(Self { client, pause: pause.to_owned(), owner: owner.to_owned(), cores })
    }

    pub(super) async fn is_accessible(&self, image: &str, login: Option<&Login>) -> bool {
        self.client.inspect_image(image).await.is_ok()
            || self.client.inspect_registry_image(image, login.map(credentials)).await.is_ok()
    }

    pub(super) async fn pull(&self, image: &str, login: Option<&Login>) -> Result<()> {
        if self.client.inspect_image(image).await.is_ok() {
            return Ok(());
        }
        let options = CreateImageOptionsBuilder::default().from_image(image).build();
        let mut pulled = self.client.create_image(Some(options), None, login.map(credentials));
        while let Some(step) = pulled.next().await {
            step?;
        }
        Ok(())
    }

    pub(super) async fn place(&self, sandbox: &Sandbox) -> Result<Place> {
        for (name, _) in &sandbox.volumes {
            // A container that mounts what is not there makes it too, but without a label.
            let labels = Some(self.labels(&sandbox.label));
            let volume = VolumeCreateRequest { name: Some(name.clone()), labels, ..VolumeCreateRequest::default() };
            self.client.create_volume(volume).await?;
        }
        let binds = sandbox.volumes.iter().map(|(name, _)| format!("{name}:{VOLUMES}/{name}")).collect();
        let words =
            |text: Option<&String>| text.map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let dns = sandbox.dns.as_ref();
        let host = HostConfig {
            binds: Some(binds),
            dns: dns.map(|dns| dns.name_servers.clone()),
            dns_search: words(dns.and_then(|dns| dns.search_domains.as_ref())),
            dns_options: words(dns.and_then(|dns| dns.options.as_ref())),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(self.pause.clone()),
            entrypoint: Some(vec!["sleep".to_owned()]),
            cmd: Some(vec!["1000000000".to_owned()]),
            hostname: Some(sandbox.hostname.clone()),
            labels: Some(self.labels(&sandbox.label)),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let id = self.client.create_container(None, body).await?.id;
        let started = async {
            for (name, files) in sandbox.volumes.iter().filter(|(_, files)| !files.is_empty()) {
                self.upload(&id, &format!("{VOLUMES}/{name}"), files).await?;
            }
            self.start(&id).await?;
            self.address(&id).await
        };
        match started.await {
            Ok(ip) => Ok(Place { id, ip }),
            Err(error) => {
                self.remove(&id).await?;
                Err(error)
            }
        }
    }

    fn labels(&self, of: &str) -> HashMap<String, String> {
        [(LABEL, self.owner.as_str()), (OF, of)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    async fn address(&self, id: &str) -> Result<Option<String>> {
        let networks = self.client.inspect_container(id, None).await?.network_settings.and_then(|of| of.networks);
        let mut addresses = networks.into_iter().flatten().filter_map(|(_, network)| network.ip_address);
        Ok(addresses.find(|address| !address.is_empty()))
    }

    async fn upload(&self, id: &str, folder: &str, files: &[File]) -> Result<()> {
        let mut archive = Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(u64::try_from(content.len())?);
            archive.append_data(&mut header, path.trim_start_matches('/'), content.as_slice())?;
        }
        let options = UploadToContainerOptionsBuilder::default().path(folder).build();
        Ok(self.client.upload_to_container(id, Some(options), body_full(archive.into_inner()?.into())).await?)
    }

    pub(super) async fn make(&self, place: &Place, attempt: &Attempt) -> Result<String> {
        let memory = attempt.memory.map(|gigabytes| bytes(gigabytes * GIGABYTE));
        let host = HostConfig {
            network_mode: Some(format!("container:{}", place.id)),
            binds: Some(attempt.mounts.iter().map(bind).collect()),
            nano_cpus: attempt.cpu.map(|cores| bytes(cores.min(self.cores) * 1e9)),
            memory,
            memory_swap: memory,
            cap_add: Some(attempt.cap_add.clone()),
            cap_drop: Some(attempt.cap_drop.clone()),
            security_opt: attempt.no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]),
            ..HostConfig::default()
        };
        // A command stands in place of the image's entrypoint and its arguments.
        let entrypoint = (!attempt.command.is_empty()).then(|| attempt.command.clone());
        let body = ContainerCreateBody {
            image: Some(attempt.image.clone()),
            entrypoint,
            env: Some(attempt.env.clone()),
            user: attempt.user.clone(),
            labels: Some(self.labels(&attempt.label)),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        Ok(self.client.create_container(None, body).await?.id)
    }

    pub(super) async fn start(&self, id: &str) -> Result<()> {
        Ok(self.client.start_container(id, None).await?)
    }

    pub(super) async fn wait(&self, id: &str) -> Result<Exit> {
        loop {
            // What it says is asked for once more, with the times.
            let mut ended = self.client.wait_container(id, None::<WaitContainerOptions>);
            while let Some(Ok(_)) = ended.next().await {}
            let state = self.client.inspect_container(id, None).await?.state.context("a container without a state")?;
            if state.running == Some(true) {
                continue;
            }
            let time = |text: Option<String>| {
                text.and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or_else(Timestamp::now)
            };
            return Ok(Exit {
                since: time(state.started_at),
                until: time(state.finished_at),
                code: state.exit_code.unwrap_or(-1),
                out_of_memory: state.oom_killed == Some(true),
            });
        }
    }

    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<()> {
        self.kill(id, "SIGTERM").await?;
        if tokio::time::timeout(grace, self.wait(id)).await.is_err() {
            self.kill(id, "SIGKILL").await?;
            self.wait(id).await?;
        }
        Ok(())
    }

    async fn kill(&self, id: &str, signal: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.client.kill_container(id, Some(options)).await {
            // It does not run, or is no more.
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            result => Ok(result?),
        }
    }

    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        gone(self.client.remove_container(id, Some(options)).await)
    }

    pub(super) async fn remove_volume(&self, name: &str) -> Result<()> {
        gone(self.client.remove_volume(name, None::<bollard::query_parameters::RemoveVolumeOptions>).await)
    }

    pub(super) async fn run(&self, id: &str, command: &[String]) -> Result<i64> {
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.client.create_exec(id, options).await?.id;
        if let StartExecResults::Attached { mut output, .. } = self.client.start_exec(&exec, None).await? {
            while let Some(Ok(_)) = output.next().await {}
        }
        match self.client.inspect_exec(&exec).await?.exit_code {
            Some(code) => Ok(code),
            None => bail!("the command has not ended"),
        }
    }

    pub(super) async fn logs(&self, id: &str, tail: Tail) -> Result<String> {
        let lines = tail.lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines).timestamps(tail.timestamps);
        let mut parts = self.client.logs(id, Some(options.build()));
        let mut log = Vec::new();
        while let Some(part) = parts.next().await {
            let (LogOutput::StdErr { message }
            | LogOutput::StdOut { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message }) = part?;
            log.extend_from_slice(&message);
        }
        Ok(String::from_utf8_lossy(&log).into_owned())
    }
}

fn bind(Bind { source, target, read_only }: &Bind) -> String {
    let source = match source {
        Source::Volume(name) => name.clone(),
        Source::Folder(folder) => folder.display().to_string(),
    };
    format!("{source}:{target}{}", if *read_only { ":ro" } else { "" })
}

fn credentials(login: &Login) -> DockerCredentials {
    let Login { server, username, password } = login.clone();
    DockerCredentials {
        username: Some(username),
        password: Some(password),
        serveraddress: Some(server),
        ..DockerCredentials::default()
    }
}

/// A whole number of something positive.
fn bytes(number: f64) -> i64 {
    number as i64
}

/// What is not there is gone; of what is being removed somebody else takes care.
fn gone(result: Result<(), Error>) -> Result<()> {
    match result {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(Error::DockerResponseServerError { status_code: 409, message })
            if message.contains("already in progress") =>
        {
            Ok(())
        }
        result => Ok(result?),
    }
}
