//! What one instance has on the host's side, from its first instruction to its last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::egress::Egress;
use super::output::Output;
use super::services::Services;
use crate::provider::Call;

/// Which bound of its own a guest ran into. Both come back out of wasmtime by `downcast_ref`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    /// Processor time.
    #[error("more than {0:?} of processor time")]
    Cpu(Duration),
    /// Linear memory.
    #[error("more than {0} bytes of memory")]
    Memory(usize),
}

/// The data of a wasmtime store.
pub(super) struct State {
    pub(super) table: ResourceTable,
    pub(super) services: Arc<Services>,
    /// The request to end, as the guest sees it.
    pub(super) call: Call,
    pub(super) deadline: Option<Instant>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    egress: Egress,
    memory: Memory,
}

impl State {
    pub(super) fn new(services: Arc<Services>, call: Call, deadline: Option<Instant>, output: &Output) -> Self {
        // WASI with nothing behind it: no directories, network, arguments or environment; stdin is at its end.
        let wasi = WasiCtx::builder()
            .stdout(output.stdout())
            .stderr(output.stderr())
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        Self {
            table: ResourceTable::new(),
            egress: Egress::new(Arc::clone(&services)),
            memory: Memory { used: 0, limit: services.limits.guest_memory },
            services,
            call,
            deadline,
            wasi,
            http: WasiHttpCtx::new(),
        }
    }

    /// A wasmtime store whose guest gives way at every tick of the epoch and ends when its processor time is used up.
    pub(super) fn into_store(self, engine: &wasmtime::Engine, meter: Arc<Meter>, cpu: Option<Duration>) -> Store<Self> {
        let fuel = self.services.limits.hostcall_fuel;
        let mut store = Store::new(engine, self);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(fuel);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| match cpu {
            Some(budget) if meter.spent() > budget => Err(wasmtime::Error::from(Exceeded::Cpu(budget))),
            // tokio's own yield lets the worker look at its timers and sockets first. wasmtime's plain one wakes the task at
            // once, and a worker with work looks up only every 61st time: timers were 385 ms late beside 8 spinning guests.
            _ => Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))),
        });
        store
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.egress, table: &mut self.table, ctx: &mut self.http }
    }
}

/// All linear memories of one instance together.
struct Memory {
    used: usize,
    limit: usize,
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            // An error instead of `false`: guests abort without a word when an allocation fails, and nobody could tell why.
            return Err(Exceeded::Memory(self.limit).into());
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, _desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The pool bounds tables.
        Ok(true)
    }
}

/// Processor time of one call. The call's future is measured each time it is polled, so waiting costs nothing.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Of the polls that have ended, in nanoseconds.
    before: AtomicU64,
    /// The thread's clock when the present poll began.
    began: AtomicU64,
}

impl Meter {
    pub(super) fn start(&self) {
        self.began.store(thread_time(), Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.before.store(self.spent_ns(), Ordering::Relaxed);
    }

    fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent_ns())
    }

    fn spent_ns(&self) -> u64 {
        let now = thread_time().saturating_sub(self.began.load(Ordering::Relaxed));
        self.before.load(Ordering::Relaxed).saturating_add(now)
    }
}

/// Processor time of this thread in nanoseconds. Not the time of day: on a busy machine a guest would pay for its neighbours.
fn thread_time() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0, |time| u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX))
}
