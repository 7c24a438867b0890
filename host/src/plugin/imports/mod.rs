//! The host's side of what a plugin may import, one file an interface.

mod call;
mod cluster;
mod config;
pub(super) mod log_sink;
mod store;
pub(super) mod terminal;
pub(super) mod upgrade;

use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::bindings::virtual_kubelet::provider as wit;
use super::state::State;

/// Links all of them.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wit::types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::call::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::store::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::config::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::cluster::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::upgrade::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::terminal::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::log_sink::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl wit::types::Host for State {}

/// A pollable with its own state: a guest may drop it and what it came from in any order.
fn pollable(table: &mut ResourceTable, of: impl Pollable) -> wasmtime::Result<Resource<DynPollable>> {
    let resource = table.push(of)?;
    subscribe(table, resource)
}
