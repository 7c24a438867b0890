//! `kubectl exec`, `attach` and `port-forward`. Each session has an instance of its own for as long as it lasts.

pub use crate::bindings::imports::virtual_kubelet::provider::terminal::{Exit, Resizes, Size, Stdio};
pub use crate::bindings::imports::wasi::io::streams::{InputStream, OutputStream};

use crate::Result;
use crate::bindings::attach::exports::virtual_kubelet::provider::attach as wit_attach;
use crate::bindings::exec::exports::virtual_kubelet::provider::exec as wit_exec;
use crate::bindings::imports::virtual_kubelet::provider::types;
use crate::bindings::port_forward::exports::virtual_kubelet::provider::port_forward as wit_port_forward;
use crate::pod::PodRef;

/// `kubectl exec`, exec probes and hooks.
pub trait Exec {
    /// Returns when the command has ended and its output is written. [`Exit::Unknown`] is honest; a made-up 0 is not.
    ///
    /// # Errors
    /// The command could not be run.
    fn run_in_container(id: PodRef, container: String, command: Vec<String>, io: Stdio) -> Result<Exit>;
}

impl<T: Exec> wit_exec::Guest for T {
    fn run_in_container(id: PodRef, container: String, command: Vec<String>, io: Stdio) -> Result<Exit, types::Error> {
        Ok(<T as Exec>::run_in_container(id, container, command, io)?)
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
    fn attach_to_container(id: PodRef, container: String, io: Stdio) -> Result<Exit, types::Error> {
        Ok(<T as Attach>::attach_to_container(id, container, io)?)
    }
}

/// `kubectl port-forward`, where the host cannot reach the pod itself.
pub trait PortForward {
    /// Carries bytes both ways until both sides have ended.
    ///
    /// # Errors
    /// The port could not be reached.
    fn port_forward(id: PodRef, port: u16, from_client: InputStream, to_client: OutputStream) -> Result<()>;
}

impl<T: PortForward> wit_port_forward::Guest for T {
    fn port_forward(
        id: PodRef,
        port: u16,
        from_client: InputStream,
        to_client: OutputStream,
    ) -> Result<(), types::Error> {
        Ok(<T as PortForward>::port_forward(id, port, from_client, to_client)?)
    }
}
