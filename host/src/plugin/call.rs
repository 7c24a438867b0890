//! One call: a fresh instance, from its place to its end.
//!
//! ```text
//! place ▶ instantiate ▶ guest runs ──────────────────────────────▶ its answer
//!                          │ caller cancels, deadline, shutdown: `call.cancelled` fires
//!                          └── grace ──▶ answer, or the instance is dropped
//! ```
//!
//! Nothing is spawned: the guest runs on its caller's task and gives way at every tick of the epoch, so that the timers beside
//! it fire even while it spins. A caller that drops the future drops the instance.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Instrument as _, Span, error_span};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap};

use super::Limits;
use super::cut::Cut;
use super::egress::{Patience, Rights};
use super::output::Output;
use super::places::{Place, Places};
use super::services::Services;
use super::state::{Cpu, Exceeded, Meter, State};
use super::store_access::StoreAccess;
use crate::provider::{Call, Canceller, Code, Error, LogSink, PodRef, Why};

/// Which calls share permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Create,
    Pull,
    Delete,
    Poll,
    Node,
    Session,
    /// Commands that the host runs in containers.
    Command,
    Changes,
}

impl Class {
    /// How long what it asks of the network may take.
    fn patience(self) -> Patience {
        match self {
            Self::Create | Self::Delete | Self::Poll | Self::Node => Patience::Short,
            Self::Changes | Self::Pull => Patience::Streaming,
            Self::Session | Self::Command => Patience::Session,
        }
    }
}

/// What is to be called, and within which bounds.
#[derive(Debug)]
pub(super) struct Request {
    /// For logs and messages, such as `create-pod`.
    pub(super) operation: &'static str,
    pub(super) class: Class,
    /// Counts from when it runs, so that a call that had to wait has its whole time; none: a session.
    pub(super) deadline: Option<Duration>,
    pub(super) cpu: Cpu,
    /// It changes something in the backend.
    pub(super) mutates: bool,
    pub(super) pod: Option<PodRef>,
    /// The caller's wish to end it.
    pub(super) call: Call,
    /// The plugin's wish to end it, because a new generation took over.
    pub(super) replaced: Option<Call>,
    /// When nobody reads from it any more, the call should end.
    pub(super) reader: Option<LogSink>,
    /// It is what the host stops with: it begins, and runs on, when all others are asked to end.
    pub(super) last: bool,
}

/// How a call went, with what the guest said on stderr.
pub(super) struct Ended<R> {
    pub(super) result: Result<R, Error>,
    /// Until a budget has room that had none for a request of the call.
    pub(super) missed: Option<Duration>,
    pub(super) stderr: String,
}

/// Runs calls. One for all generations of a plugin, so that permits hold across a swap.
pub(super) struct Runner {
    pub(super) engine: Engine,
    pub(super) services: Arc<Services>,
    places: Places,
    limits: Limits,
    calls: AtomicU64,
    /// Calls that have begun and not ended.
    running: AtomicUsize,
    pub(super) cut: Cut,
    shutdown: (Canceller, Call),
}

/// One for each class.
#[derive(Debug, Default)]
pub(super) struct ByClass<T> {
    pub(super) create: T,
    pub(super) pull: T,
    pub(super) delete: T,
    pub(super) poll: T,
    pub(super) node: T,
    pub(super) session: T,
    pub(super) command: T,
    pub(super) changes: T,
}

impl<T> ByClass<T> {
    pub(super) fn of(&self, class: Class) -> &T {
        match class {
            Class::Create => &self.create,
            Class::Pull => &self.pull,
            Class::Delete => &self.delete,
            Class::Poll => &self.poll,
            Class::Node => &self.node,
            Class::Session => &self.session,
            Class::Command => &self.command,
            Class::Changes => &self.changes,
        }
    }

    pub(super) fn all(&self) -> [&T; 8] {
        let Self { create, pull, delete, poll, node, session, command, changes } = self;
        [create, pull, delete, poll, node, session, command, changes]
    }
}

/// One of the calls that run; also one whose caller drops it ends to be.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How the guest's part came to its end.
enum End<R> {
    Returned(wasmtime::Result<R>),
    Dropped(Why),
}

impl Runner {
    pub(super) fn new(engine: Engine, services: Arc<Services>, limits: Limits) -> Self {
        Self {
            engine,
            services,
            places: Places::new(&limits),
            limits,
            calls: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            cut: Cut::default(),
            shutdown: Call::new(),
        }
    }

    /// A place among the calls of a class. The caller keeps it until the call has ended.
    pub(super) async fn place(&self, class: Class) -> Result<Place<'_>, Error> {
        self.places.take(class).await.ok_or_else(|| never_began(Why::Shutdown))
    }

    /// Waits for what a call waits for before it begins, unless somebody wishes that it does not begin at all.
    pub(super) async fn wait<T>(
        &self,
        request: &Request,
        what: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Request { call, reader, last, .. } = request;
        let host = self.host(*last);
        if let Some(why) = call.reason().or_else(|| host.reason()) {
            return Err(never_began(why));
        }
        let mut wish = Wish { caller: call.clone(), host, replaced: None, deadline: None, reader: reader.clone() };
        // Most often there is nothing to wait for, and then nobody is listened to.
        tokio::select! {
            biased;
            result = what => result,
            why = wish.comes() => Err(never_began(why)),
        }
    }

    /// The host's wish that calls end.
    fn host(&self, last: bool) -> Call {
        if last { Call::uncancelled() } else { self.shutdown.1.clone() }
    }

    /// Runs `guest` on a fresh instance, which may do with the plugin's store what `store` says, and with the world outside what
    /// `rights` say. It gets the instance's store and returns what the guest answered; an error of its own is one of wasmtime, not
    /// the guest's answer.
    pub(super) async fn run<R, F>(
        &self,
        pre: &InstancePre<State>,
        generation: u64,
        store: StoreAccess,
        rights: Rights,
        request: Request,
        guest: F,
    ) -> Ended<R>
    where
        F: AsyncFnOnce(&mut Store<State>, &Instance) -> wasmtime::Result<R>,
    {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let about = request.pod.as_ref().map_or_else(Span::none, PodRef::span);
        let span = about.in_scope(|| error_span!("call", generation, call = number, operation = request.operation));
        self.run_within(pre, store, rights, request, guest).instrument(span).await
    }

    /// The same within the call's span, which gives its lines of the log the call's number and pod.
    async fn run_within<R, F>(
        &self,
        pre: &InstancePre<State>,
        store: StoreAccess,
        rights: Rights,
        request: Request,
        guest: F,
    ) -> Ended<R>
    where
        F: AsyncFnOnce(&mut Store<State>, &Instance) -> wasmtime::Result<R>,
    {
        let Request { operation, class, deadline, cpu, mutates, pod: _, call, replaced, reader, last } = request;
        let deadline = deadline.map(|limit| Instant::now() + limit);
        let mut wish = Wish { caller: call, host: self.host(last), replaced, deadline, reader };
        let _running = Running::new(&self.running);
        let output = Output::new(self.services.name());
        // Also when the caller drops this future: what a hanging guest said last tells why it hung.
        let words = output.until_the_end();
        let (canceller, inner) = Call::new();
        let (services, patience) = (Arc::clone(&self.services), class.patience());
        let state = State::new(services, store, rights, inner, patience, wish.deadline, &output);
        let (meter, missed) = (Arc::new(Meter::default()), state.egress.missed());
        let mut instances = state.into_store(&self.engine, Arc::clone(&meter), cpu);
        let entered = AtomicBool::new(false);
        let end = {
            let work = async {
                let instance = pre.instantiate_async(&mut instances).await?;
                entered.store(true, Ordering::Relaxed);
                guest(&mut instances, &instance).await
            };
            self.drive(meter.measured(work), &canceller, &mut wish).await
        };
        drop((instances, words));
        let unknown = mutates && entered.load(Ordering::Relaxed);
        let result = match end {
            End::Returned(Ok(answer)) => Ok(answer),
            End::Returned(Err(error)) => Err((failed(&error, operation), format!("{error:?}"))),
            End::Dropped(why) => Err((dropped(why, operation), String::new())),
        };
        let result = result.map_err(|(error, detail)| {
            let error = if unknown { error.with_unknown_effect() } else { error };
            self.cut.count(error.reason.clone());
            let plugin = self.services.name();
            tracing::warn!(%plugin, reason = %error.reason, detail, "a call did not end by itself");
            error
        });
        Ended { result, missed: missed.wait(), stderr: output.tail() }
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Polls the guest until it ends, asks it to end when somebody wishes it, and drops it when it does not.
    async fn drive<R>(
        &self,
        work: impl Future<Output = wasmtime::Result<R>>,
        canceller: &Canceller,
        wish: &mut Wish,
    ) -> End<R> {
        let mut work = pin!(work);
        let why = tokio::select! {
            biased;
            result = &mut work => return End::Returned(result),
            why = wish.comes() => why,
        };
        canceller.cancel(why);
        tokio::select! {
            biased;
            result = &mut work => End::Returned(result),
            () = tokio::time::sleep(self.limits.cancel_grace) => End::Dropped(why),
        }
    }

    /// Refuses new calls and asks the running ones to end.
    pub(super) fn begin_shutdown(&self) {
        self.shutdown.0.cancel(Why::Shutdown);
    }

    /// Waits until all calls have ended, at most for the grace and a little, and refuses every later one.
    pub(super) async fn shutdown(&self) {
        self.begin_shutdown();
        if tokio::time::timeout(self.limits.cancel_grace + Duration::from_secs(1), self.places.close()).await.is_err() {
            tracing::warn!("calls into the plugin have not ended; they are left behind");
        }
    }
}

/// All who may wish a call to end.
struct Wish {
    caller: Call,
    host: Call,
    replaced: Option<Call>,
    deadline: Option<Instant>,
    reader: Option<LogSink>,
}

impl Wish {
    async fn comes(&mut self) -> Why {
        let Self { caller, host, replaced, deadline, reader } = self;
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(*deadline).await,
                None => std::future::pending().await,
            }
        };
        let taken_over = async {
            match replaced {
                Some(replaced) => replaced.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let gone = async {
            match reader {
                Some(reader) => reader.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            why = caller.cancelled() => why,
            why = host.cancelled() => why,
            why = taken_over => why,
            () = gone => Why::ClientGone,
            () = late => Why::Deadline,
        }
    }
}

fn never_began(why: Why) -> Error {
    Error::new(Code::Cancelled, "CallCancelled", format!("the call was cancelled before it began ({})", word(why)))
}

fn dropped(why: Why, operation: &str) -> Error {
    match why {
        Why::Deadline => {
            Error::new(Code::DeadlineExceeded, "DeadlineExceeded", format!("{operation} did not end in time"))
        }
        why => Error::new(Code::Cancelled, "CallCancelled", format!("{operation} was cancelled ({})", word(why))),
    }
}

fn word(why: Why) -> &'static str {
    match why {
        Why::ClientGone => "the reader has gone",
        Why::PodDeleted => "the pod is deleted",
        Why::Replaced => "the plugin was replaced",
        Why::Deadline => "its time was up",
        Why::Shutdown => "the host stops",
    }
}

/// What wasmtime's error means. The guest's own words stay in the log: they may hold a secret.
fn failed(error: &wasmtime::Error, operation: &str) -> Error {
    let (code, reason, message): (_, _, Cow<'_, str>) = if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        let reason = match exceeded {
            Exceeded::Cpu(_) => "CpuBudgetExceeded",
            Exceeded::Memory(_) => "OutOfMemory",
        };
        (Code::Internal, reason, format!("took {exceeded}").into())
    } else if error.is::<PoolConcurrencyLimitError>() {
        (Code::Unavailable, "CallsExhausted", "found no free instance".into())
    } else if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        (Code::Internal, "PluginTrapped", format!("called exit({})", exit.0).into())
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        match trap {
            // A deep recursion of a Rust guest ends below its stack, which is at the start of its memory.
            Trap::StackOverflow => (Code::Internal, "PluginTrapped", "used up its stack".into()),
            trap => {
                let trap = trap.to_string();
                (
                    Code::Internal,
                    "PluginTrapped",
                    format!("trapped: {}", trap.strip_prefix("wasm trap: ").unwrap_or(&trap)).into(),
                )
            }
        }
    } else {
        (Code::Internal, "PluginTrapped", format!("broke the contract: {}", error.root_cause()).into())
    };
    Error::new(code, reason, format!("{operation} of the plugin {message}"))
}

impl Meter {
    /// The same future, with its polls measured.
    async fn measured<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            self.start();
            let poll = future.as_mut().poll(context);
            self.stop();
            poll
        })
        .await
    }
}
