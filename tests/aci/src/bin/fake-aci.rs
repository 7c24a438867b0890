//! A fake by itself, for clients in other languages. It says on its first line, as JSON, where it is, and ends with its input.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use vk_fake_aci::config::RunsOn;
use vk_fake_aci::{Config, Fake};

/// Azure Container Instances for tests
#[derive(Parser)]
struct Arguments {
    /// Where its files are: the certificate of its authority, shares
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// The unix socket of the engine that runs containers; without it they are played
    #[arg(long, value_name = "SOCKET", requires = "pause")]
    docker: Option<PathBuf>,
    /// An image at that engine that has `sleep`
    #[arg(long, value_name = "IMAGE")]
    pause: Option<String>,
    /// The port of its TLS; 0: any
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The port of its metadata service and control; 0: any
    #[arg(long, default_value_t = 0)]
    plain_port: u16,
}

fn main() -> Result<()> {
    let Arguments { folder, docker, pause, port, plain_port } = Arguments::parse();
    let runs_on = match (docker, pause) {
        (Some(socket), Some(pause)) => RunsOn::Docker { socket, pause },
        _ => RunsOn::Nothing,
    };
    let fake = Fake::start(Config { port, plain_port, ..Config::new(folder, runs_on) })?;
    writeln!(io::stdout(), "{}", fake.about())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
