//! `terminal`: not served yet. A guest gets `resizes` from the host alone, so it never has one.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable};

use super::pollable;
use super::wit::terminal::{Host, HostResizes, Size};
use crate::plugin::state::State;

/// Changes of a window's size.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Resizes;

struct Never;

#[async_trait::async_trait]
impl Pollable for Never {
    async fn ready(&mut self) {
        std::future::pending().await
    }
}

impl Host for State {}

impl HostResizes for State {
    fn next(&mut self, _resizes: Resource<Resizes>) -> wasmtime::Result<Option<Size>> {
        Ok(None)
    }

    fn subscribe(&mut self, _resizes: Resource<Resizes>) -> wasmtime::Result<Resource<DynPollable>> {
        pollable(&mut self.table, Never)
    }

    fn drop(&mut self, resizes: Resource<Resizes>) -> wasmtime::Result<()> {
        self.table.delete(resizes)?;
        Ok(())
    }
}
