//! `call`: the guest's own life.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable};

use super::{pollable, wit};
use crate::plugin::convert;
use crate::plugin::state::State;
use crate::provider::Call;

struct Cancelled(Call);

#[async_trait::async_trait]
impl Pollable for Cancelled {
    async fn ready(&mut self) {
        self.0.cancelled().await;
    }
}

impl wit::call::Host for State {
    fn cancelled(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let call = self.call.clone();
        pollable(&mut self.table, Cancelled(call))
    }

    fn reason(&mut self) -> wasmtime::Result<Option<wit::call::Why>> {
        Ok(self.call.reason().map(convert::why))
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<Option<u64>> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(tokio::time::Instant::now()));
        Ok(left.map(convert::millis))
    }
}
