//! `kubectl exec`, `attach` and `port-forward`. Each session has an instance of its own for as long as it lasts. What
//! carries its bytes is a [`Pump`](crate::pump::Pump).

pub use crate::bindings::imports::virtual_kubelet::provider::terminal::{Exit, Size};

use crate::bindings::attach::exports::virtual_kubelet::provider::attach as wit_attach;
use crate::bindings::exec::exports::virtual_kubelet::provider::exec as wit_exec;
use crate::bindings::imports::virtual_kubelet::provider::{terminal, types};
use crate::bindings::imports::wasi::io::streams;
use crate::bindings::port_forward::exports::virtual_kubelet::provider::port_forward as wit_port_forward;
use crate::pod::PodRef;
use crate::stream::{Input, Output};
use crate::wait::Pollable;
use crate::{Result, sys};

/// What the client opened. With a terminal there is no stderr.
#[derive(Debug)]
pub struct Stdio {
    /// What the client types; at its end the client has closed it. none: the command gets no input.
    pub stdin: Option<Input>,
    /// none: what the command writes there is thrown away.
    pub stdout: Option<Output>,
    /// none: the same, or a terminal, where it goes to stdout.
    pub stderr: Option<Output>,
    /// There is a terminal, and this tells its size; none: there is none.
    pub terminal: Option<Resizes>,
}

/// Changes of the window's size. The first is there at the start.
#[derive(Debug)]
pub struct Resizes(sys::Resizes);

impl Resizes {
    pub(crate) const fn new(inner: sys::Resizes) -> Self {
        Self(inner)
    }

    /// The latest size not yet taken; earlier ones are skipped. none: wait for [`Resizes::subscribe`].
    pub fn next(&self) -> Option<Size> {
        sys::resizes_next(&self.0)
    }

    /// Ready when `next` has a size.
    pub fn subscribe(&self) -> Pollable<'_> {
        Pollable::new(sys::resizes_subscribe(&self.0))
    }
}

#[cfg(target_family = "wasm")]
impl From<terminal::Stdio> for Stdio {
    fn from(io: terminal::Stdio) -> Self {
        let input = |stream: streams::InputStream| Input::new(stream.into());
        Self {
            stdin: io.stdin.map(input),
            stdout: io.stdout.map(Output::new),
            stderr: io.stderr.map(Output::new),
            terminal: io.terminal.map(Resizes::new),
        }
    }
}

/// `kubectl exec`, exec probes and hooks.
pub trait Exec {
    /// Returns when the command has ended and its output is written. [`Exit::Unknown`] is honest; a made-up 0 is not.
    ///
    /// # Errors
    /// The command could not be run.
    fn run_in_container(id: PodRef, container: String, command: Vec<String>, io: Stdio) -> Result<Exit>;
}

impl<T: Exec> wit_exec::Guest for T {
    #[cfg(target_family = "wasm")]
    fn run_in_container(
        id: PodRef,
        container: String,
        command: Vec<String>,
        io: terminal::Stdio,
    ) -> Result<Exit, types::Error> {
        Ok(<T as Exec>::run_in_container(id, container, command, io.into())?)
    }

    /// Streams of the contract's exist in a component only.
    #[cfg(not(target_family = "wasm"))]
    fn run_in_container(_: PodRef, _: String, _: Vec<String>, _: terminal::Stdio) -> Result<Exit, types::Error> {
        Err(not_a_component("Exec::run_in_container"))
    }
}

/// `kubectl attach`.
pub trait Attach {
    /// Returns when the container has ended or the client has gone.
    ///
    /// # Errors
    /// The container could not be attached to.
    fn attach_to_container(id: PodRef, container: String, io: Stdio) -> Result<Exit>;
}

impl<T: Attach> wit_attach::Guest for T {
    #[cfg(target_family = "wasm")]
    fn attach_to_container(id: PodRef, container: String, io: terminal::Stdio) -> Result<Exit, types::Error> {
        Ok(<T as Attach>::attach_to_container(id, container, io.into())?)
    }

    /// Streams of the contract's exist in a component only.
    #[cfg(not(target_family = "wasm"))]
    fn attach_to_container(_: PodRef, _: String, _: terminal::Stdio) -> Result<Exit, types::Error> {
        Err(not_a_component("Attach::attach_to_container"))
    }
}

/// `kubectl port-forward`, where the host cannot reach the pod itself.
pub trait PortForward {
    /// Carries bytes both ways until both sides have ended.
    ///
    /// # Errors
    /// The port could not be reached.
    fn port_forward(id: PodRef, port: u16, from_client: Input, to_client: Output) -> Result<()>;
}

impl<T: PortForward> wit_port_forward::Guest for T {
    #[cfg(target_family = "wasm")]
    fn port_forward(
        id: PodRef,
        port: u16,
        from_client: streams::InputStream,
        to_client: streams::OutputStream,
    ) -> Result<(), types::Error> {
        let (from_client, to_client) = (Input::new(from_client.into()), Output::new(to_client));
        Ok(<T as PortForward>::port_forward(id, port, from_client, to_client)?)
    }

    /// Streams of the contract's exist in a component only.
    #[cfg(not(target_family = "wasm"))]
    fn port_forward(_: PodRef, _: u16, _: streams::InputStream, _: streams::OutputStream) -> Result<(), types::Error> {
        Err(not_a_component("PortForward::port_forward"))
    }
}

#[cfg(not(target_family = "wasm"))]
fn not_a_component(instead: &str) -> types::Error {
    crate::Error::internal("NotAComponent", format!("call {instead}")).into()
}
