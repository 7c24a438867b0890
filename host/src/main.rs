//! `vk-host`: see [`vk_host::cli`].

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use vk_host::cli::{self, Cli};

/// Pods are many small objects that come and go on all threads: with the system's allocator a sixth of the processor time went there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong usage (sysexits.h, EX_USAGE).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let Cli { command, run } = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if let Some(command) = command {
        return finish(command.run());
    }
    run.start_log();
    finish(run.into_config().and_then(serve))
}

#[tokio::main]
async fn serve(config: vk_host::host::Config) -> anyhow::Result<()> {
    // First of all: until somebody hears it, a signal ends the process.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let hangup = signal(SignalKind::hangup())?;
    // The only global state besides the log: rustls asks for one provider of cryptography a process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        let mut signal = async || {
            tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            }
        };
        signal().await;
        token.cancel();
        // Whoever asks twice does not want to wait.
        let code = 128 + signal().await.as_raw_value();
        tracing::warn!("stopped by a second signal");
        std::process::exit(code);
    });
    let host = tokio::select! {
        host = config.start(hangup) => host?,
        () = shutdown.cancelled() => return Ok(()),
    };
    host.run(shutdown).await
}

fn usage(error: &clap::Error) -> ExitCode {
    // Help and version are no mistakes.
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    end(&cli::usage::line(error), ExitCode::from(USAGE))
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref() {
            Some(error) => usage(error),
            None => end(&format!("{error:#}"), ExitCode::FAILURE),
        },
    }
}

#[expect(clippy::print_stderr, reason = "the last word of the program, for a person, with or without a log")]
fn end(why: &str, code: ExitCode) -> ExitCode {
    eprintln!("vk-host: {why}");
    code
}
