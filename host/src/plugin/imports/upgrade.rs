//! `upgrade`: not served yet; every attempt fails at once and says so.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable};

use super::wit::types::Error;
use super::wit::upgrade::{Answer, Host, HostPending, Request};
use super::{pollable, unimplemented};
use crate::plugin::state::State;

/// A connection in the making; its answer, until it is taken.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Pending(Option<Error>);

struct Always;

#[async_trait::async_trait]
impl Pollable for Always {
    async fn ready(&mut self) {}
}

impl Host for State {
    fn open(&mut self, _request: Request) -> wasmtime::Result<Resource<Pending>> {
        Ok(self.table.push(Pending(Some(unimplemented("upgrade.open"))))?)
    }

    fn connect(&mut self, _origin: String) -> wasmtime::Result<Resource<Pending>> {
        Ok(self.table.push(Pending(Some(unimplemented("upgrade.connect"))))?)
    }
}

impl HostPending for State {
    fn subscribe(&mut self, _pending: Resource<Pending>) -> wasmtime::Result<Resource<DynPollable>> {
        pollable(&mut self.table, Always)
    }

    fn take(&mut self, pending: Resource<Pending>) -> wasmtime::Result<Option<Result<Answer, Error>>> {
        Ok(self.table.get_mut(&pending)?.0.take().map(Err))
    }

    fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}
