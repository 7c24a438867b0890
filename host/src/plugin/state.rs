//! What one instance has on the host's side, from its first instruction to its last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::egress::{Egress, Patience, Rights};
use super::engine::TABLE_ELEMENTS;
use super::output::Output;
use super::services::Services;
use super::store_access::StoreAccess;
use crate::defaults::call::HOST_OBJECTS;
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

/// How much processor time a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cpu {
    /// So much in all; then it is ended.
    Budget(Duration),
    /// So much in each period; then it rests until the next. For sessions: a reader of gigabytes may take long, a loop must
    /// not take the node, and ending either would cut a log short without a word.
    Share {
        /// Processor time in each period.
        time: Duration,
        /// Of the clock.
        period: Duration,
    },
}

/// What a guest does at a tick.
#[derive(Debug, PartialEq, Eq)]
enum Pace {
    GoOn,
    Rest(Instant),
    End(Duration),
}

/// Keeps a guest to its [`Cpu`].
struct Pacer {
    cpu: Cpu,
    /// When the present period began, and what had been spent by then.
    period: (Instant, Duration),
}

impl Pacer {
    fn new(cpu: Cpu, now: Instant) -> Self {
        Self { cpu, period: (now, Duration::ZERO) }
    }

    fn tick(&mut self, spent: Duration, now: Instant) -> Pace {
        match self.cpu {
            Cpu::Budget(budget) if spent > budget => Pace::End(budget),
            Cpu::Budget(_) => Pace::GoOn,
            Cpu::Share { time, period } => {
                let (began, before) = self.period;
                if now.saturating_duration_since(began) >= period {
                    self.period = (now, spent);
                    return Pace::GoOn;
                }
                if spent.saturating_sub(before) > time { Pace::Rest(began + period) } else { Pace::GoOn }
            }
        }
    }
}

/// The data of a wasmtime store.
pub(super) struct State {
    pub(super) table: ResourceTable,
    pub(super) services: Arc<Services>,
    pub(super) access: StoreAccess,
    pub(super) rights: Rights,
    /// The request to end, as the guest sees it.
    pub(super) call: Call,
    pub(super) deadline: Option<Instant>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(super) egress: Egress,
    memory: Memory,
}

impl State {
    pub(super) fn new(
        services: Arc<Services>,
        access: StoreAccess,
        rights: Rights,
        call: Call,
        patience: Patience,
        deadline: Option<Instant>,
        output: &Output,
    ) -> Self {
        // WASI with nothing behind it but the variables that were granted: no directories, network or arguments; stdin is at its end.
        let wasi = WasiCtx::builder()
            .envs(&rights.granted.environment)
            .stdout(output.stdout())
            .stderr(output.stderr())
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HOST_OBJECTS);
        Self {
            table,
            egress: Egress::new(Arc::clone(&services), rights.clone(), patience, deadline),
            memory: Memory { used: 0, limit: services.limits.guest_memory },
            services,
            access,
            rights,
            call,
            deadline,
            wasi,
            http: WasiHttpCtx::new(),
        }
    }

    /// A wasmtime store whose guest gives way at every tick of the epoch, and rests or ends when its processor time is used up.
    pub(super) fn into_store(self, engine: &wasmtime::Engine, meter: Arc<Meter>, cpu: Cpu) -> Store<Self> {
        let fuel = self.services.limits.hostcall_fuel;
        let mut store = Store::new(engine, self);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(fuel);
        store.set_epoch_deadline(1);
        let mut pacer = Pacer::new(cpu, Instant::now());
        store.epoch_deadline_callback(move |_| match pacer.tick(meter.spent(), Instant::now()) {
            Pace::End(budget) => Err(wasmtime::Error::from(Exceeded::Cpu(budget))),
            Pace::Rest(until) => Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep_until(until)))),
            // tokio's own yield lets the worker look at its timers and sockets first. wasmtime's plain one wakes the task at
            // once, and a worker with work looks up only every 61st time: timers were 385 ms late beside 8 spinning guests.
            Pace::GoOn => Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))),
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

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The pool bounds tables too; without a pool this alone does.
        Ok(desired <= TABLE_ELEMENTS)
    }
}

/// Processor time of one call, from the first tick of the epoch that finds it running. Each of its polls is measured from then
/// on, so that waiting costs nothing. What comes before is less than a tick or two in all: a guest that runs for as long is
/// found, and most calls end before they are, without the price of the thread's clock, which is a system call.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// A tick has found the call running.
    found: AtomicBool,
    /// Of the polls that have ended, in nanoseconds.
    before: AtomicU64,
    /// The thread's clock when the present poll began.
    began: AtomicU64,
}

impl Meter {
    pub(super) fn start(&self) {
        if self.found.load(Ordering::Relaxed) {
            self.began.store(thread_time(), Ordering::Relaxed);
        }
    }

    pub(super) fn stop(&self) {
        if self.found.load(Ordering::Relaxed) {
            self.before.store(self.spent_ns(), Ordering::Relaxed);
        }
    }

    /// What was spent; asked for at a tick, while the call is being polled.
    fn spent(&self) -> Duration {
        if !self.found.swap(true, Ordering::Relaxed) {
            self.began.store(thread_time(), Ordering::Relaxed);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_budget_is_for_the_whole_call() {
        let began = Instant::now();
        let mut pacer = Pacer::new(Cpu::Budget(ms(1000)), began);
        assert_eq!(pacer.tick(ms(1000), began + ms(90_000)), Pace::GoOn);
        assert_eq!(pacer.tick(ms(1001), began + ms(90_001)), Pace::End(ms(1000)));
    }

    #[test]
    fn a_share_is_for_each_period_and_what_was_not_used_is_gone() {
        let began = Instant::now();
        let mut pacer = Pacer::new(Cpu::Share { time: ms(500), period: ms(1000) }, began);
        let mut tick = |spent, at| pacer.tick(ms(spent), began + ms(at));
        assert_eq!(tick(500, 500), Pace::GoOn);
        assert_eq!(tick(505, 505), Pace::Rest(began + ms(1000)));
        assert_eq!(tick(510, 1000), Pace::GoOn, "a new period");
        assert_eq!(tick(1010, 1500), Pace::GoOn);
        assert_eq!(tick(1011, 1501), Pace::Rest(began + ms(2000)));
        // It waited for an hour: the period begins when it runs again.
        assert_eq!(tick(1011, 3_600_000), Pace::GoOn);
        assert_eq!(tick(1511, 3_600_600), Pace::GoOn);
        assert_eq!(tick(1512, 3_600_601), Pace::Rest(began + ms(3_601_000)));
    }
}
