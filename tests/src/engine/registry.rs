//! A registry that asks who one is, on 127.0.0.1 as engines take one without TLS there.

use std::fs::{self, File};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::{Engine, IMAGE, folder, program};
use crate::cluster::within;
use crate::process::{Tie, start};

const ADDRESS: &str = "127.0.0.1:5000";
const START_LIMIT: Duration = Duration::from_secs(20);
/// `puller:pull-secret`, as `htpasswd -nbB` writes it.
const HTPASSWD: &str = "puller:$2y$05$iHPWi21ZfoJ6nrrU4Z0JLuCIHCkmxxq1SUvZfMR/E9MwtICd5s/ee\n";
/// The same for an engine: base64 of `{"username","password"}`, in the alphabet of URLs (`X-Registry-Auth`).
const AUTH: &str = "eyJ1c2VybmFtZSI6InB1bGxlciIsInBhc3N3b3JkIjoicHVsbC1zZWNyZXQifQ==";

/// A running registry. It ends with the namespace.
#[derive(Debug)]
pub struct Registry(#[expect(dead_code, reason = "it runs as long as this is kept")] Child);

impl Registry {
    /// Whom it lets in.
    pub const USER: &str = "puller";
    /// With this.
    pub const PASSWORD: &str = "pull-secret";

    /// The registry of all tests.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Registry> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    async fn start() -> Result<Self> {
        let folder = folder()?.join("registry");
        fs::create_dir_all(&folder)?;
        let (users, config) = (folder.join("users"), folder.join("config.yml"));
        fs::write(&users, HTPASSWD)?;
        let text = serde_json::json!({
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": folder.join("data")}, "delete": {"enabled": true}},
            "http": {"addr": ADDRESS},
            "auth": {"htpasswd": {"realm": "test", "path": users}},
        });
        // What is JSON is YAML.
        fs::write(&config, text.to_string())?;
        let mut command = Command::new(program("docker-registry").context("no docker-registry")?);
        command.arg("serve").arg(config);
        let out = File::create(folder.with_extension("log"))?;
        let child = start(&command, Tie::Killed, out.try_clone()?, out)?;
        within(START_LIMIT, "the registry listens", || async { Ok(Some(TcpStream::connect(ADDRESS).await?)) }).await?;
        Ok(Self(child))
    }

    /// Puts the image of all tests into it under another name, and takes that name away from the engine: who wants it must pull.
    /// Returns the name.
    ///
    /// # Errors
    ///
    /// The engine cannot push.
    pub async fn publish(&self, engine: &Engine, name: &str) -> Result<String> {
        let (repository, api) = (format!("{ADDRESS}/{name}"), engine.api());
        api.send(Method::POST, &format!("/images/{IMAGE}:1/tag?repo={repository}&tag=1"), &[], Vec::new()).await?;
        let push = format!("/images/{repository}/push?tag=1&tlsVerify=false");
        api.send(Method::POST, &push, &[("X-Registry-Auth", AUTH)], Vec::new()).await?;
        api.send(Method::DELETE, &format!("/images/{repository}:1"), &[], Vec::new()).await?;
        Ok(format!("{repository}:1"))
    }
}
