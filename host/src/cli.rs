//! The command line: flags and variables in, a [`host::Config`](crate::host::Config) out.
//!
//! Names and defaults are those of Virtual Kubelet where it has them, and the kubelet's elsewhere. What Virtual Kubelet has and
//! is not among them is in one table, [`compat`].

mod access;
mod compat;
mod config_file;
mod grants;
mod log;
mod man;
mod plugin;
pub mod usage;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, Resettable, TypedValueParser as _};
use clap::{ArgGroup, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use compat::Legacy;
pub use log::LogFormat;
pub use plugin::PluginCommand;

use crate::defaults::cli as defaults;
use crate::host;
use crate::kubelet::serving::Serving;
use crate::node::taint::Taint;

/// A Kubernetes node whose pods are what a WebAssembly component makes of them.
///
/// Exit codes: 0 after a clean stop, 64 for wrong usage, 128 + signal after a second signal, 1 for everything else.
#[derive(Debug, Parser)]
#[command(
    name = "vk-host",
    version,
    after_help = "Flags of the Go Virtual Kubelet and azure-aci that are not here: see `vk-host compatibility`.",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = false
)]
pub struct Cli {
    /// What to do instead of running a node.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of a node.
    #[command(flatten)]
    pub run: Run,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the version
    Version,
    /// List the providers in the plugin directory
    Providers {
        /// Directory of NAME.wasm files [default: /usr/lib/vk-host/plugins]
        #[arg(long, value_name = "DIR", default_value = defaults::PLUGIN_DIR, hide_default_value = true)]
        plugin_dir: PathBuf,
    },
    /// Look at a plugin, or make a running host take its file anew
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, as roff
    Man,
    /// Tell what becomes of flags and variables of the Go Virtual Kubelet and azure-aci
    Compatibility,
}

/// Flags of a node.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("component").required(true).args(["plugin", "provider"])))]
pub struct Run {
    /// The provider: a WebAssembly component
    #[arg(long, value_name = "FILE", help_heading = "Provider")]
    plugin: Option<PathBuf>,
    /// The provider by name: NAME.wasm in --plugin-dir
    #[arg(long, value_name = "NAME", help_heading = "Provider")]
    provider: Option<String>,
    /// Where --provider looks
    #[arg(long, value_name = "DIR", default_value = defaults::PLUGIN_DIR, help_heading = "Provider")]
    plugin_dir: PathBuf,
    /// The provider's configuration; its format is the provider's own, read anew at each call
    #[arg(long, value_name = "FILE", help_heading = "Provider")]
    provider_config: Option<PathBuf>,
    #[command(flatten)]
    grants: grants::GrantFlags,

    /// How to reach the cluster [default: $KUBECONFIG, ~/.kube/config, then the pod's service account]
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    kubeconfig: Option<PathBuf>,
    /// Only pods of this namespace; pods elsewhere are left alone [default: all]
    #[arg(long, value_name = "NAMESPACE", help_heading = "Cluster")]
    namespace: Option<String>,
    /// The cluster's domain
    #[arg(long, value_name = "DOMAIN", default_value = defaults::CLUSTER_DOMAIN, help_heading = "Cluster")]
    cluster_domain: String,
    /// Address of the cluster's DNS server, for pods with dnsPolicy ClusterFirst; may be repeated
    #[arg(long, value_name = "IP", env = "KUBE_DNS_IP", value_delimiter = ',', help_heading = "Cluster")]
    cluster_dns: Vec<IpAddr>,
    /// Tells clusters apart that share one backend account [default: the UID of Service default/kubernetes]
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new(), help_heading = "Cluster")]
    cluster_id: Option<String>,

    /// Name of the node
    #[arg(long, value_name = "NAME", env = "DEFAULT_NODE_NAME", default_value = defaults::NODE_NAME, value_parser = node_name, help_heading = "Node")]
    nodename: String,
    /// Operating system of the node's pods: Linux or Windows
    #[arg(long, value_name = "OS", default_value = "Linux", ignore_case = true, hide_possible_values = true,
          value_parser = PossibleValuesParser::new(["Linux", "Windows"]).map(|os| os.to_ascii_lowercase()), help_heading = "Node")]
    os: String,
    /// Taint of the node: KEY[=VALUE][:EFFECT]; the effect is NoSchedule unless given; empty: none
    /// [default: virtual-kubelet.io/provider=PROVIDER:NoSchedule, or VKUBELET_TAINT_KEY, _VALUE and _EFFECT]
    #[arg(long, value_name = "TAINT", value_parser = taint, help_heading = "Node")]
    taint: Option<TaintFlag>,
    /// No taint
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false, action = clap::ArgAction::Set, help_heading = "Node")]
    disable_taint: bool,
    /// The node's InternalIP, which the API server dials [default: this machine's address towards the API server]
    #[arg(long, value_name = "IP", env = "VKUBELET_POD_IP", help_heading = "Node")]
    internal_ip: Option<IpAddr>,
    /// Turn Ready to False when the provider's backend has not answered for so long, such as 10m [default: never]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Node")]
    not_ready_after: Option<Duration>,
    /// Wait for another host's lease on this node to end, instead of refusing to start
    #[arg(long, help_heading = "Node")]
    take_over: bool,
    /// Give up when the node is not registered after so long, such as 90s; 0: never [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = limit, help_heading = "Node")]
    startup_timeout: Option<Limit>,
    /// What must outlive the host: its identity and the provider's store
    /// [default: /var/lib/vk-host/NODENAME as root, else $XDG_STATE_HOME/vk-host/NODENAME]
    #[arg(long, value_name = "DIR", help_heading = "Node")]
    state_dir: Option<PathBuf>,
    /// Compiled plugins; may be shared by hosts of one user [default: compiled in --state-dir]
    #[arg(long, value_name = "DIR", help_heading = "Node")]
    cache_dir: Option<PathBuf>,

    /// Address that the kubelet API listens on
    #[arg(long, value_name = "IP", default_value = "0.0.0.0", help_heading = "Kubelet API")]
    address: IpAddr,
    /// Port of the kubelet API; 0: any free one
    #[arg(long, value_name = "PORT", env = "KUBELET_PORT", default_value_t = defaults::KUBELET_PORT, help_heading = "Kubelet API")]
    port: u16,
    /// PEM file of the authorities whose client certificates are known, read again when it changes. The default is right only where
    /// one authority signs both the API server's serving certificate and its --kubelet-client-certificate
    /// [default: the kubeconfig's authority]
    #[arg(
        long,
        alias = "client-verify-ca",
        value_name = "FILE",
        env = "APISERVER_CA_CERT_LOCATION",
        help_heading = "Kubelet API"
    )]
    client_ca_file: Option<PathBuf>,
    /// PEM file of the serving certificate and its chain, read again when it changes [default: a self-signed one]
    #[arg(
        long,
        value_name = "FILE",
        env = "APISERVER_CERT_LOCATION",
        requires = "tls_private_key_file",
        help_heading = "Kubelet API"
    )]
    tls_cert_file: Option<PathBuf>,
    /// PEM file of the serving certificate's key, read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        env = "APISERVER_KEY_LOCATION",
        requires = "tls_cert_file",
        help_heading = "Kubelet API"
    )]
    tls_private_key_file: Option<PathBuf>,
    /// Ask the cluster for the serving certificate and for a new one in time (CertificateSigningRequest with signer
    /// kubernetes.io/kubelet-serving, which somebody has to approve); self-signed until there is one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false, action = clap::ArgAction::Set, help_heading = "Kubelet API")]
    rotate_server_certificates: bool,
    #[command(flatten)]
    access: access::Access,

    /// What is logged: error, warn, info, debug, trace, or per target as in info,vk_host::pods=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log::level, help_heading = "Log")]
    log_level: String,
    /// How it is logged, on stderr
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text, help_heading = "Log")]
    log_format: LogFormat,

    #[command(flatten)]
    legacy: Legacy,
}

/// `--taint`, where empty means none.
#[derive(Clone, Debug)]
struct TaintFlag(Option<Taint>);

fn taint(text: &str) -> Result<TaintFlag, crate::node::taint::Error> {
    if text.is_empty() { Ok(TaintFlag(None)) } else { text.parse().map(|taint| TaintFlag(Some(taint))) }
}

fn node_name(text: &str) -> Result<String, String> {
    let fits = text.len() <= 253
        && text.split('.').all(|label| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        });
    fits.then(|| text.to_string())
        .ok_or_else(|| "a node's name is a DNS name in lower case, such as virtual-kubelet-1".into())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    parsed
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "give a duration such as 90s, 10m or 1h30m".into())
}

/// How long something may take; none: as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit(Option<Duration>);

/// Virtual Kubelet's zero, in any unit or none, is no limit.
fn limit(text: &str) -> Result<Limit, String> {
    let time = if text == "0" { Duration::ZERO } else { duration(text)? };
    Ok(Limit(Some(time).filter(|time| !time.is_zero())))
}

impl Run {
    /// Sends log lines to stderr, as the flags say.
    pub fn start_log(&self) {
        log::start(&self.log_level, self.log_format);
    }

    /// The configuration that the flags mean, and the log line of those that mean nothing. An error is wrong usage, a
    /// [`clap::Error`], or the mistakes of the file of `--config`, which is read here.
    pub fn into_config(self) -> anyhow::Result<host::Config> {
        let taint = self.taint()?;
        let Self {
            plugin,
            provider,
            plugin_dir,
            provider_config,
            grants,
            kubeconfig,
            namespace,
            cluster_domain,
            cluster_dns,
            cluster_id,
            nodename,
            os,
            taint: _,
            disable_taint: _,
            internal_ip,
            not_ready_after,
            take_over,
            startup_timeout,
            state_dir,
            cache_dir,
            address,
            port,
            client_ca_file,
            tls_cert_file,
            tls_private_key_file,
            rotate_server_certificates,
            access,
            log_level: _,
            log_format: _,
            legacy,
        } = self;
        let plugin = plugin.unwrap_or_else(|| plugin_dir.join(format!("{}.wasm", provider.unwrap_or_default())));
        let serving = match tls_cert_file.zip(tls_private_key_file) {
            Some(_) if rotate_server_certificates => {
                let message = "the serving certificate is either in --tls-cert-file (or $APISERVER_CERT_LOCATION) or comes by \
                               --rotate-server-certificates\n";
                return Err(Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message).into());
            }
            Some((certificate, key)) => Serving::Files { certificate, key },
            None if rotate_server_certificates => Serving::Requested,
            None => Serving::SelfSigned,
        };
        let state_dir = state_dir.map_or_else(|| default_state_dir(&nodename), Ok)?;
        let grants = grants.into_grants()?;
        legacy.warn(|variable| grants.shows(variable));
        Ok(host::Config {
            plugin,
            provider_config,
            grants,
            kubeconfig,
            namespace: namespace.filter(|namespace| !namespace.is_empty()),
            cluster_domain,
            cluster_dns: cluster_dns.iter().map(ToString::to_string).collect(),
            cluster_id,
            cache_dir: cache_dir.unwrap_or_else(|| state_dir.join("compiled")),
            state_dir,
            node_name: nodename,
            operating_system: os,
            taint,
            internal_ip,
            not_ready_after,
            take_over,
            startup_timeout: startup_timeout.and_then(|Limit(limit)| limit),
            listen: SocketAddr::new(address, port),
            client_ca: client_ca_file,
            serving,
            access: access.into_config(),
        })
    }

    /// The flag, else Virtual Kubelet's variables, else its default.
    fn taint(&self) -> Result<host::TaintConfig, clap::Error> {
        if self.disable_taint {
            if self.taint.is_some() {
                let message = "--disable-taint cannot be used with --taint\n";
                return Err(Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message));
            }
            return Ok(host::TaintConfig::None);
        }
        if let Some(TaintFlag(taint)) = &self.taint {
            return Ok(taint.clone().map_or(host::TaintConfig::None, host::TaintConfig::Given));
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let key = variable("VKUBELET_TAINT_KEY").unwrap_or_else(|| defaults::TAINT_KEY.into());
        let effect = variable("VKUBELET_TAINT_EFFECT").unwrap_or_else(|| "NoSchedule".into());
        let given = |value: &str| {
            format!("{key}={value}:{effect}").parse().map_err(|error: crate::node::taint::Error| {
                let message = format!("VKUBELET_TAINT_KEY, VKUBELET_TAINT_VALUE and VKUBELET_TAINT_EFFECT: {error}\n");
                Cli::command().error(clap::error::ErrorKind::ValueValidation, message)
            })
        };
        match variable("VKUBELET_TAINT_VALUE") {
            Some(value) => given(&value).map(host::TaintConfig::Given),
            // Checked now, with any value: the provider's name is known only once it is loaded.
            None => given("provider").map(host::TaintConfig::OfProvider),
        }
    }
}

/// Never a place for temporary files: what is kept there has to outlive a restart of the machine.
fn default_state_dir(node: &str) -> Result<PathBuf, clap::Error> {
    if nix::unistd::geteuid().is_root() {
        return Ok(Path::new(defaults::STATE_DIR).join(node));
    }
    let state = std::env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    state.map(|state| state.join("vk-host").join(node)).ok_or_else(|| {
        let message =
            "--state-dir is not given, and neither HOME nor XDG_STATE_HOME says where this user keeps state\n";
        Cli::command().error(clap::error::ErrorKind::MissingRequiredArgument, message)
    })
}

impl Command {
    /// Does it, writing to stdout.
    pub fn run(self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        match self {
            Self::Version => writeln!(out, "vk-host {}", env!("CARGO_PKG_VERSION"))?,
            Self::Completions { shell } => {
                // The library panics where it cannot write.
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "vk-host", &mut script);
                out.write_all(&script)?;
            }
            Self::Plugin(command) => command.run(&mut out)?,
            Self::Man => man::write(Cli::command(), &mut out)?,
            Self::Compatibility => write!(out, "{}", compat::page())?,
            Self::Providers { plugin_dir } => {
                for name in providers(&plugin_dir)? {
                    writeln!(out, "{name}")?;
                }
            }
        }
        Ok(())
    }
}

/// Names of the providers in a directory, sorted.
fn providers(directory: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(directory).map_err(|error| {
        anyhow::anyhow!(
            "cannot read the plugin directory {}: {error}; give another one with --plugin-dir",
            directory.display()
        )
    })?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_suffix(".wasm").map(str::to_string)
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Reads the command line; an error knows its own exit code.
///
/// A variable that is empty is not set. Those of a node are nothing to any other command: a Service of the name `kubelet` sets
/// KUBELET_PORT in every pod beside it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = Cli::command();
    let node = arguments.get(1).is_none_or(|word| command.find_subcommand(word).is_none());
    let mut command = command.mut_args(|argument| {
        let value = argument.get_env().and_then(std::env::var_os);
        let counts = value.is_none_or(|value| node && !value.is_empty());
        if counts { argument } else { argument.env(Resettable::Reset) }
    });
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        super::parse(std::iter::once("vk-host").chain(arguments.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_provider_is_a_file_or_a_name() {
        let config = parse(&["--provider", "mock", "--plugin-dir", "/p"]).unwrap().run.into_config().unwrap();
        assert_eq!(config.plugin, Path::new("/p/mock.wasm"));
        let config = parse(&["--plugin", "x.wasm"]).unwrap().run.into_config().unwrap();
        assert_eq!(
            (config.plugin.as_path(), config.node_name.as_str(), config.operating_system.as_str()),
            (Path::new("x.wasm"), "virtual-kubelet", "linux")
        );
        assert!(parse(&[]).is_err() && parse(&["--plugin", "x", "--provider", "y"]).is_err());
        assert!(matches!(parse(&["version"]).unwrap().command, Some(Command::Version)));
    }

    #[test]
    fn mistakes_are_told_with_what_would_be_right() {
        let table = [
            (["--taint", "a:Never"], "KEY[=VALUE][:EFFECT]"),
            (["--os", "plan9"], "plan9"),
            (["--nodename", "Not_A_Name"], "DNS name"),
            (["--not-ready-after", "soon"], "10m"),
            (["--port", "70000"], "70000"),
        ];
        for (flags, says) in table {
            let error = parse(&["--plugin", "x", flags[0], flags[1]]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_start_may_take_as_long_as_it_likes_unless_told() {
        let limit = |flags: &[&str]| {
            let run = parse(&[&["--plugin", "x", "--state-dir", "s"], flags].concat()).unwrap().run;
            run.into_config().unwrap().startup_timeout
        };
        for flags in [&[][..], &["--startup-timeout", "0"], &["--startup-timeout=0s"]] {
            assert_eq!(limit(flags), None, "{flags:?}");
        }
        // As Go writes durations.
        assert_eq!(limit(&["--startup-timeout", "1m30s"]), Some(Duration::from_secs(90)));
        assert_eq!(limit(&["--startup-timeout=1h0m0s"]), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_serving_certificate_comes_one_way() {
        let serving = |flags: &[&str]| {
            parse(&[&["--plugin", "x"], flags].concat()).unwrap().run.into_config().map(|config| config.serving)
        };
        let files = ["--tls-cert-file", "c", "--tls-private-key-file", "k"];
        assert!(matches!(serving(&[]).unwrap(), Serving::SelfSigned));
        assert!(matches!(serving(&["--rotate-server-certificates"]).unwrap(), Serving::Requested));
        assert!(matches!(serving(&files).unwrap(), Serving::Files { .. }));
        let error = serving(&[&files[..], &["--rotate-server-certificates"]].concat()).unwrap_err().to_string();
        assert!(error.contains("--tls-cert-file") && error.contains("--rotate-server-certificates"), "{error}");
    }

    #[test]
    fn an_empty_taint_is_none() {
        let taint = |flags: &[&str]| parse(&[&["--plugin", "x"], flags].concat()).unwrap().run.taint().unwrap();
        assert!(matches!(taint(&["--taint", ""]), host::TaintConfig::None));
        // As pflag has it.
        assert!(matches!(taint(&["--disable-taint"]), host::TaintConfig::None));
        assert!(matches!(taint(&["--disable-taint=true"]), host::TaintConfig::None));
        assert!(matches!(taint(&["--disable-taint=false", "--taint", "a"]), host::TaintConfig::Given(_)));
        let both = parse(&["--plugin", "x", "--disable-taint", "--taint", "a"]).unwrap().run.taint();
        assert!(both.unwrap_err().to_string().contains("--disable-taint"));
        assert!(matches!(taint(&["--taint", "a"]), host::TaintConfig::Given(_)));
        assert!(matches!(taint(&[]), host::TaintConfig::OfProvider(_)));
    }
}
