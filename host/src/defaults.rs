//! Every default of the host in one table, each with its unit and its reason. Flags and configuration override them.

use std::time::Duration;

/// Names and places of the command line.
pub mod cli {
    /// `--nodename`, Virtual Kubelet's own default.
    pub const NODE_NAME: &str = "virtual-kubelet";
    /// `--port` of the kubelet API, the kubelet's own default.
    pub const KUBELET_PORT: u16 = 10250;
    /// `--cluster-domain`, what nearly every cluster has.
    pub const CLUSTER_DOMAIN: &str = "cluster.local";
    /// `--plugin-dir`.
    pub const PLUGIN_DIR: &str = "/usr/lib/vk-host/plugins";
    /// `--state-dir` of root; other users have `$XDG_STATE_HOME/vk-host`.
    pub const STATE_DIR: &str = "/var/lib/vk-host";
    /// `--authentication-token-webhook-cache-ttl`, the kubelet's own default.
    pub const TOKEN_TTL: &str = "2m";
    /// `--authorization-webhook-cache-authorized-ttl`, the kubelet's own default.
    pub const AUTHORIZED_TTL: &str = "5m";
    /// `--authorization-webhook-cache-unauthorized-ttl`, the kubelet's own default.
    pub const UNAUTHORIZED_TTL: &str = "30s";
    /// Key of the taint when none is given, Virtual Kubelet's own.
    pub const TAINT_KEY: &str = "virtual-kubelet.io/provider";
}

/// Bounds of one call into a plugin.
pub mod call {
    use super::Duration;

    /// Short calls: a backend that needs longer should answer `stopping` or `unavailable`.
    pub const DEADLINE: Duration = Duration::from_secs(30);
    /// create-pod: clouds take long to accept a group.
    pub const CREATE_DEADLINE: Duration = Duration::from_secs(60);
    /// pull-image: large images on slow lines.
    pub const PULL_DEADLINE: Duration = Duration::from_secs(30 * 60);
    /// Ping and what the node is. With [`CANCEL_GRACE`] it fits into a ping's period, so that a ping that hangs is asked to
    /// end and then dropped before the next one is due.
    pub const NODE_DEADLINE: Duration = Duration::from_secs(8);
    /// After a soft cancel, before the instance is dropped.
    pub const CANCEL_GRACE: Duration = Duration::from_secs(2);
    /// Processor time of a short call; a provider parses JSON and waits, it does not compute.
    pub const CPU_BUDGET: Duration = Duration::from_secs(1);
    /// Processor time of a session in each [`SESSION_PERIOD`]; beyond it the guest rests. Half a core: a relay takes less than that for
    /// what a network carries (0.8 s a GB, measured with exec's streams), and a loop leaves the other half to the node.
    pub const SESSION_CPU: Duration = Duration::from_millis(500);
    /// See [`SESSION_CPU`]. Shorter than [`CANCEL_GRACE`], so that a resting guest still hears that it should end.
    pub const SESSION_PERIOD: Duration = Duration::from_secs(1);
    /// How often a running guest gives way. Shorter costs interrupts, longer delays timers while guests spin.
    pub const EPOCH_TICK: Duration = Duration::from_millis(5);
    /// Of `next_changes`, beyond the time that it may wait.
    pub const CHANGES_SLACK: Duration = Duration::from_secs(10);
    /// `describe` and `configure`: no network, so a plugin that needs longer hangs.
    pub const LOAD_DEADLINE: Duration = Duration::from_secs(10);
    /// Pages of one list at most; with 500 pods a page ten times what one node can hold.
    pub const PAGES: usize = 100;
    /// Strings and lists that one call of an import, or one answer, may hand to the host, in bytes: the host copies them before
    /// it looks.
    pub const HOSTCALL_FUEL: usize = 32 << 20;
    /// What one call may print on each of its two streams, in bytes.
    pub const OUTPUT: usize = 256 << 10;
    /// A printed line, in bytes; the rest of it is cut.
    pub const OUTPUT_LINE: usize = 4 << 10;
    /// Memory of one instance, in bytes.
    pub const GUEST_MEMORY: usize = 256 << 20;
    /// Calls at once, by class: a thousand hanging creates never starve a delete.
    pub const CREATE_PERMITS: usize = 64;
    /// See [`CREATE_PERMITS`].
    pub const DELETE_PERMITS: usize = 64;
    /// A call that has lasted so long leaves its place to another, and goes on among the slow ones of its class: those who wait for
    /// a backend that hangs are not to hold up those whose backend answers.
    pub const SLOW_AFTER: Duration = Duration::from_secs(3);
    /// So many times as many slow calls as others; beyond them a slow one keeps its place. Each costs an instance.
    pub const SLOW_SHARE: usize = 3;
    /// Looks, lists, statistics.
    pub const POLL_PERMITS: usize = 16;
    /// Images at once: apart, so that slow registries keep no container from starting. The engine itself bounds what it downloads.
    pub const PULL_PERMITS: usize = 16;
    /// What a command writes that the host runs in a container, in bytes; the rest is thrown away.
    pub const EXEC_OUTPUT: usize = 10 << 10;
    /// Ping and what the node is: apart, so that a thousand looks never make the backend seem out of reach.
    pub const NODE_PERMITS: usize = 8;
    /// Logs and other sessions.
    pub const SESSION_PERMITS: usize = 256;
    /// Commands of probes and hooks: apart, so that however many logs are read, nobody's health goes unasked. Hooks may sleep for as long
    /// as a grace, and as many of them as a node of the usual 110 pods has may do so together.
    pub const COMMAND_PERMITS: usize = 128;
    /// `next_changes`: the host has one at a time, and a second while a plugin is swapped.
    pub const CHANGES_PERMITS: usize = 2;
    /// How often `configure` is asked while what it wants to read follows from what it reads: a file that names a file that names a
    /// file is as deep as any provider goes.
    pub const CONFIGURE_ROUNDS: usize = 4;
    /// The text of `--provider-config`, and a file that was granted, in bytes.
    pub const CONFIG_FILE: u64 = 1 << 20;
    /// Host objects that one instance may hold at once (pollables, locks, streams): each is small, a million are not.
    pub const HOST_OBJECTS: usize = 4096;
    /// A plugin file, in bytes.
    pub const PLUGIN_FILE: u64 = 64 << 20;
}

/// What a plugin's requests may take and bring.
pub mod egress {
    use super::Duration;

    /// From a name to a connection that may be used, TLS and all. A server that needs longer is down.
    pub const CONNECT: Duration = Duration::from_secs(10);
    /// From the connection to the head of the answer, in a short call: its whole deadline, so that a call of longer life gives up too.
    pub const FIRST_BYTE: Duration = Duration::from_secs(30);
    /// The same in `changes.next` and in sessions, which wait for news.
    pub const FIRST_BYTE_LONG: Duration = Duration::from_secs(300);
    /// Between two pieces of an answer that a short call waits for.
    pub const BETWEEN_BYTES: Duration = Duration::from_secs(10);
    /// The same in a session: people leave shells open over a meal, not over a night.
    pub const BETWEEN_BYTES_SESSION: Duration = Duration::from_secs(4 * 3600);
    /// Body of a request of a short call, in bytes: files of a pod's volumes, a ConfigMap or Secret being 1 MiB at most.
    pub const REQUEST_BODY: u64 = 64 << 20;
    /// Body of an answer to a short call, in bytes: a list of a thousand workloads has a few MiB, and a guest's memory is 256.
    pub const RESPONSE_BODY: u64 = 32 << 20;
    /// Head of an answer, in bytes. Servers themselves take and give 8 to 32 KiB.
    pub const HEAD: usize = 64 << 10;
    /// Headers of an answer.
    pub const HEADERS: usize = 256;
    /// Connections of one plugin at once: one for each of its calls and sessions, and as many idle ones, well below the
    /// files that a process may open.
    pub const CONNECTIONS: usize = 768;
    /// How long an unused connection is kept. Most servers keep theirs a little longer, so that few are met as they close.
    pub const IDLE: Duration = Duration::from_secs(60);
    /// Unused connections to one host.
    pub const IDLE_PER_HOST: usize = 32;
    /// Hosts to which unused connections are kept.
    pub const IDLE_HOSTS: u64 = 256;
    /// Silence after which a connection is asked for a sign of life, so that a session notices a server that has gone.
    pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
    /// What was accepted of a guest and not sent yet on an upgraded connection, in bytes.
    pub const UNSENT: usize = 64 << 10;
    /// How long that may take to be sent when the guest has dropped its end.
    pub const LINGER: Duration = Duration::from_secs(5);
    /// Longest Retry-After that is heeded; a server that says more has a clock that is wrong.
    pub const RETRY_AFTER: Duration = Duration::from_secs(3600);
    /// Times of requests that a budget remembers; one of more requests is kept by as many parts of its window.
    pub const REMEMBERED: u32 = 1 << 14;
    /// Refusals that are told once each; a plugin that makes up names must not fill the memory.
    pub const TOLD: usize = 256;
}

/// Exchange of a plugin while it serves.
pub mod swap {
    use super::Duration;

    /// How often the plugin's file is looked at, which costs one `stat`. A file that changed has to be the same at two looks, so
    /// that one that is still being written is left alone.
    pub const LOOK_PERIOD: Duration = Duration::from_millis(500);
    /// How long calls may take to end by themselves when the state's shape changes; new ones wait meanwhile. Longer than most calls
    /// take; with the grace of those that are cut, less than a ping may take, so that a drain never looks like a backend out of
    /// reach.
    pub const DRAIN: Duration = Duration::from_secs(5);
    /// How long the old build is kept, to come back if the new one fails.
    pub const TRIAL: Duration = Duration::from_secs(30);
    /// Traps in calls of kinds without an answer that end the trial: more than one unlucky pod brings about in that time.
    pub const TRIAL_TRAPS: u32 = 5;
    /// One word of a client of the control socket, or to it.
    pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);
}

/// Bounds of a plugin's store.
pub mod store {
    /// A key, in bytes.
    pub const KEY: usize = 1 << 10;
    /// A value, in bytes.
    pub const VALUE: usize = 1 << 20;
    /// All keys and values of one plugin, in bytes, and 150 an entry. They are held in memory too.
    pub const SHARE: u64 = 256 << 20;
    /// Removals that `since` can still tell; older revisions are outworn. Far more than a node's pods come and go between two looks.
    pub const REMOVALS: usize = 1 << 16;
}

/// The node's rhythm: the kubelet's own figures.
pub mod node {
    use super::Duration;

    /// Life of the lease (KEP-589).
    pub const LEASE_DURATION: Duration = Duration::from_secs(40);
    /// Time between renewals.
    pub const LEASE_RENEWAL: Duration = Duration::from_secs(10);
    /// Status without a change.
    pub const STATUS_REPORT: Duration = Duration::from_secs(300);
    /// How often the provider is pinged, and how long an answer may take before it counts as unreachable.
    pub const PING_PERIOD: Duration = Duration::from_secs(10);
    /// One request to the API server for lease or status; shorter than the renewal so that a lost one is repeated in time.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
}

/// The pods' rhythm.
pub mod pods {
    use super::Duration;

    /// First pause after a failure that may pass by itself; doubled each time.
    pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
    /// Longest such pause.
    pub const BACKOFF_LONGEST: Duration = Duration::from_secs(60);
    /// First pause after a failure that an operator has to mend.
    pub const SLOW_BACKOFF_FIRST: Duration = Duration::from_secs(10);
    /// Longest such pause.
    pub const SLOW_BACKOFF_LONGEST: Duration = Duration::from_secs(300);
    /// How long `next_changes` may wait for news.
    pub const CHANGES_WAIT: Duration = Duration::from_secs(30);
    /// Shortest time between two batches of news: what happens within it costs one call. Nobody sees it, because a create tells
    /// its own status.
    pub const CHANGES_FLOOR: Duration = Duration::from_millis(20);
    /// Time between lists of a provider that tells no changes.
    pub const POLL_PERIOD: Duration = Duration::from_secs(5);
    /// How often a pod that was asked to end is looked at, beside the provider's own news.
    pub const STOPPING_LOOK: Duration = Duration::from_secs(30);
    /// How long a removal may take beyond its grace before it is asked for again.
    pub const REMOVAL_PATIENCE: Duration = Duration::from_secs(30);
    /// How long the first status waits for the provider's own, to go out as one write (R19). Nobody reads ContainerCreating
    /// within a second, and with 100 ms a thousand pods at once cost two writes each, just when the API server is busiest.
    pub const FIRST_STATUS_WAIT: Duration = Duration::from_secs(1);
    /// Longest pause while a ConfigMap or Secret is missing.
    pub const MISSING_OBJECT_LONGEST: Duration = Duration::from_secs(10);
    /// `update_volume` of all pods at once: a part of the places that creates have, so that a ConfigMap of every pod keeps none waiting.
    pub const VOLUME_UPDATES: usize = 8;
    /// Time between reads of an object whose watch is refused: how often the kubelet looks at its volumes.
    pub const REREAD_PERIOD: Duration = Duration::from_secs(60);
    /// How long a service account token is used, though it be good for longer; this and the next as the kubelet has them.
    pub const TOKEN_LONGEST_USE: Duration = Duration::from_secs(24 * 3600);
    /// By how much pods differ in when they renew their tokens.
    pub const TOKEN_JITTER: Duration = Duration::from_secs(10);
    /// Pause after a token could not be renewed. A fifth of its life is left then, two minutes at least.
    pub const TOKEN_RETRY: Duration = Duration::from_secs(30);
    /// Events that a provider may tell of one pod at once, and how long it takes for one more: client-go's own figures.
    pub const EVENT_BURST: u32 = 25;
    /// See [`EVENT_BURST`].
    pub const EVENT_REFILL: Duration = Duration::from_secs(300);
}

/// The pod machine: the kubelet's own figures, where it has them.
pub mod machine {
    use super::Duration;

    /// First pause of a container that crashes again, doubled each time; the first restart comes at once.
    pub const CRASH_FIRST: Duration = Duration::from_secs(10);
    /// Longest such pause.
    pub const CRASH_LONGEST: Duration = Duration::from_secs(300);
    /// A container that has run for longer than this starts over in its crash loop.
    pub const CRASH_FORGOTTEN: Duration = Duration::from_secs(600);
    /// First pause after an image could not be pulled, doubled each time.
    pub const PULL_FIRST: Duration = Duration::from_secs(10);
    /// Longest such pause.
    pub const PULL_LONGEST: Duration = Duration::from_secs(300);
    /// How long a failed pull is told before it is told that the next one waits, so that both can be read.
    pub const PULL_ERROR_SHOWN: Duration = Duration::from_secs(5);
    /// Longest pause between two looks for an image that is not pulled: somebody puts it there by hand.
    pub const ABSENT_LONGEST: Duration = Duration::from_secs(60);
    /// `terminationGracePeriodSeconds` of a pod that has none.
    pub const TERMINATION_GRACE: Duration = Duration::from_secs(30);
    /// What a container has after its stop signal though nothing is left of its grace.
    pub const SHORTEST_GRACE: Duration = Duration::from_secs(2);
    /// First pause before a container that was killed, and is still there, is killed again; doubled each time.
    pub const KILL_AGAIN: Duration = Duration::from_secs(2);
    /// Longest such pause.
    pub const KILL_AGAIN_LONGEST: Duration = Duration::from_secs(60);
    /// How soon it is looked whether a sandbox that is being removed has gone.
    pub const STOPPING_LOOK: Duration = Duration::from_secs(1);
    /// `timeoutSeconds` of a probe.
    pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
    /// `periodSeconds` of a probe.
    pub const PROBE_PERIOD: Duration = Duration::from_secs(10);
    /// `failureThreshold` of a probe.
    pub const PROBE_FAILURES: u32 = 3;
    /// How often a probe that cannot be done is tried at once.
    pub const PROBE_RETRIES: usize = 3;
    /// How long a command of a probe may wait for its turn before it is told that it could not be run.
    pub const PROBE_TURN: Duration = Duration::from_secs(30);
    /// What is read of a probe's answer, in bytes.
    pub const PROBE_OUTPUT: usize = 10 << 10;
    /// Redirects that a probe follows.
    pub const REDIRECTS: usize = 10;
    /// A request of a hook; what ends before is its container's grace, or its pod.
    pub const HOOK_LONGEST: Duration = Duration::from_secs(3600);
    /// A termination message, in bytes.
    pub const WORDS: usize = 4 << 10;
    /// The end of the log that stands in for it, in bytes.
    pub const WORDS_OF_LOG: usize = 2 << 10;
    /// The same in lines.
    pub const WORDS_OF_LOG_LINES: u32 = 80;
    /// What a status tells of the end of one container, in bytes: all of a pod's have 12 KiB together.
    pub const LONGEST_WORDS: usize = 12 << 10;
    /// How long a termination message is waited for, whatever keeps it from being read; after that the pod goes on without.
    pub const WORDS_LONGEST: Duration = Duration::from_secs(15);
    /// How long what the machines are in the middle of may take to end when the host stops.
    pub const DRAIN: Duration = Duration::from_secs(3);
}
