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
    /// Looks, lists, statistics.
    pub const POLL_PERMITS: usize = 16;
    /// Ping and what the node is: apart, so that a thousand looks never make the backend seem out of reach.
    pub const NODE_PERMITS: usize = 8;
    /// Logs and other sessions.
    pub const SESSION_PERMITS: usize = 256;
    /// `next_changes`: the host has one at a time, and a second while a plugin is swapped.
    pub const CHANGES_PERMITS: usize = 2;
    /// The text of `--provider-config`, in bytes.
    pub const CONFIG_FILE: u64 = 1 << 20;
    /// Host objects that one instance may hold at once (pollables, locks, streams): each is small, a million are not.
    pub const HOST_OBJECTS: usize = 4096;
    /// A plugin file, in bytes.
    pub const PLUGIN_FILE: u64 = 64 << 20;
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
}
