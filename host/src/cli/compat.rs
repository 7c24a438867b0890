//! Flags and variables of today's Go Virtual Kubelet and azure-aci that are none of this program's: one table of what becomes of
//! each, from which they are read, refused, warned of and explained.
//!
//! Nothing is ignored in silence. A flag is another name of one of ours, or has no effect and says so in the log at start, or is
//! refused by name.

use std::fmt::Write as _;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use clap_mangen::roff::{Roff, bold, roman};

/// What becomes of a flag or variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Another name of this flag.
    Is(&'static str),
    /// Taken without effect, which a line of the log says.
    NoEffect,
    /// Wrong usage: who gives it counts on what is not there.
    Refused,
}

/// What follows a flag, by the rules of Go's pflag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Value,
    /// Nothing, or `=true` and `=false`.
    Switch,
}

#[derive(Debug)]
struct Flag {
    names: &'static [&'static str],
    takes: Takes,
    fate: Fate,
    why: &'static str,
}

#[derive(Debug)]
struct Variable {
    names: &'static [&'static str],
    fate: Fate,
    why: &'static str,
}

const NO_TRACES: &str = "no traces are exported; lines of the log carry pod, uid and call, see --log-format json";
const LOG: &str = "there is one log, on stderr; --log-level and --log-format say what it holds";
const NOT_GRANTED: &str = "a provider sees a variable only where it asks for it and --grant environment=NAME names it";

const FLAGS: &[Flag] = &[
    Flag {
        names: &["client-verify-ca"],
        takes: Takes::Value,
        fate: Fate::Is("--client-ca-file"),
        why: "the kubelet's own name",
    },
    Flag {
        names: &["no-verify-clients"],
        takes: Takes::Switch,
        fate: Fate::Refused,
        why: "clients are always verified; --client-ca-file says by which authority",
    },
    Flag {
        names: &["pod-sync-workers"],
        takes: Takes::Value,
        fate: Fate::NoEffect,
        why: "each pod has a task of its own, and none waits for another's",
    },
    Flag {
        names: &["full-resync-period"],
        takes: Takes::Value,
        fate: Fate::NoEffect,
        why: "nothing waits for a resync: when a watch or the provider's news break, all is listed anew",
    },
    Flag {
        names: &["kube-api-qps", "kube-api-burst"],
        takes: Takes::Value,
        fate: Fate::NoEffect,
        why: "requests are not held back here; fairness is the API server's",
    },
    Flag {
        names: &["stream-idle-timeout", "stream-creation-timeout"],
        takes: Takes::Value,
        fate: Fate::NoEffect,
        why: "a stream ends with its client or its container, and never for being idle",
    },
    Flag {
        names: &["metrics-addr"],
        takes: Takes::Value,
        fate: Fate::NoEffect,
        why: "metrics are at /metrics of the kubelet API, see --address and --port",
    },
    Flag {
        names: &["enable-node-lease"],
        takes: Takes::Switch,
        fate: Fate::NoEffect,
        why: "the node always has a lease",
    },
    Flag { names: &["trace-exporter"], takes: Takes::Value, fate: Fate::Refused, why: NO_TRACES },
    Flag {
        names: &["trace-service-name", "trace-tag", "trace-sample-rate"],
        takes: Takes::Value,
        fate: Fate::NoEffect,
        why: NO_TRACES,
    },
    Flag {
        names: &[
            "klog.v",
            "klog.vmodule",
            "klog.stderrthreshold",
            "klog.log_dir",
            "klog.log_file",
            "klog.log_file_max_size",
            "klog.log_backtrace_at",
        ],
        takes: Takes::Value,
        fate: Fate::NoEffect,
        why: LOG,
    },
    Flag {
        names: &[
            "klog.logtostderr",
            "klog.alsologtostderr",
            "klog.one_output",
            "klog.skip_headers",
            "klog.skip_log_headers",
            "klog.add_dir_header",
        ],
        takes: Takes::Switch,
        fate: Fate::NoEffect,
        why: LOG,
    },
];

const VARIABLES: &[Variable] = &[
    Variable { names: &["KUBE_DNS_IP"], fate: Fate::Is("--cluster-dns"), why: "the same for every provider" },
    Variable {
        names: &["ZPAGES_PORT"],
        fate: Fate::NoEffect,
        why: "there are no zpages; metrics are at /metrics of the kubelet API",
    },
    Variable {
        names: &[
            "OCAGENT_ENDPOINT",
            "OCAGENT_INSECURE",
            "JAEGER_ENDPOINT",
            "JAEGER_AGENT_ENDPOINT",
            "JAEGER_USER",
            "JAEGER_PASSWORD",
        ],
        fate: Fate::NoEffect,
        why: NO_TRACES,
    },
    Variable {
        names: &[
            "AZURE_AUTH_LOCATION",
            "AZURE_CLIENT_ID",
            "AZURE_CLIENT_SECRET",
            "AZURE_TENANT_ID",
            "AZURE_SUBSCRIPTION_ID",
            "AKS_CREDENTIAL_LOCATION",
            "VIRTUALNODE_USER_IDENTITY_CLIENTID",
            "ACI_RESOURCE_GROUP",
            "ACI_REGION",
            "ACI_VNET_SUBSCRIPTION_ID",
            "ACI_VNET_NAME",
            "ACI_VNET_RESOURCE_GROUP",
            "ACI_SUBNET_NAME",
            "ACI_SUBNET_CIDR",
            "ACI_QUOTA_CPU",
            "ACI_QUOTA_MEMORY",
            "ACI_QUOTA_POD",
            "ACI_EXTRA_USER_AGENT",
            "MASTER_URI",
            "CLUSTER_CIDR",
            "CLUSTER_RESOURCE_ID",
            "ENABLE_REAL_TIME_METRICS",
            "LOG_ANALYTICS_AUTH_LOCATION",
            "LOG_ANALYTICS_ID",
            "LOG_ANALYTICS_KEY",
        ],
        fate: Fate::NoEffect,
        why: NOT_GRANTED,
    },
];

/// Those flags of the table that were given and have no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legacy {
    without_effect: Vec<Told>,
}

/// What was given, and why it has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    names: String,
    why: &'static str,
}

impl Legacy {
    /// Writes one line for each row of the table of which something was given. What is granted to the provider is its own affair.
    pub(super) fn warn(&self, granted: impl Fn(&str) -> bool) {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty()) && !granted(name);
        for Told { names, why } in self.without_effect.iter().chain(&variables(set)) {
            tracing::warn!("{names} has no effect: {why}");
        }
    }
}

/// Variables that are set and have no effect.
fn variables(set: impl Fn(&str) -> bool) -> Vec<Told> {
    let rows = VARIABLES.iter().filter(|row| row.fate == Fate::NoEffect);
    let of_row = |row: &Variable| told(row.names.iter().filter(|name| set(name)).map(ToString::to_string), row.why);
    rows.filter_map(of_row).collect()
}

fn told(names: impl Iterator<Item = String>, why: &'static str) -> Option<Told> {
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| Told { names: names.join(", "), why })
}

impl Args for Legacy {
    fn augment_args(command: Command) -> Command {
        let ours = |flag: &&Flag| !matches!(flag.fate, Fate::Is(_));
        let names = FLAGS.iter().filter(ours).flat_map(|flag| flag.names.iter().map(move |name| (*name, flag.takes)));
        command.args(names.map(|(name, takes)| {
            let argument = Arg::new(name).long(name).hide(true).action(ArgAction::Append);
            match takes {
                Takes::Value => argument.num_args(1),
                Takes::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Legacy {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut legacy = Self::default();
        legacy.update_from_arg_matches(matches)?;
        Ok(legacy)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for Flag { names, fate, why, .. } in FLAGS.iter().filter(|flag| !matches!(flag.fate, Fate::Is(_))) {
            let given = names.iter().filter(|name| matches.contains_id(name)).map(|name| format!("--{name}"));
            let Some(told) = told(given, why) else { continue };
            if *fate == Fate::Refused {
                return Err(clap::Error::raw(ErrorKind::UnknownArgument, format!("{} is refused: {why}", told.names)));
            }
            self.without_effect.push(told);
        }
        Ok(())
    }
}

/// The table's rows as people read them: names, and what becomes of them.
fn rows() -> impl Iterator<Item = (String, String)> {
    let flags = FLAGS.iter().map(|Flag { names, takes, fate, why }| {
        let value = if *takes == Takes::Value { " VALUE" } else { "" };
        let names = names.iter().map(|name| format!("--{name}{value}")).collect::<Vec<_>>();
        (names.join(", "), becomes(*fate, why))
    });
    let variables = VARIABLES.iter().map(|Variable { names, fate, why }| (names.join(", "), becomes(*fate, why)));
    flags.chain(variables)
}

fn becomes(fate: Fate, why: &str) -> String {
    match fate {
        Fate::Is(name) => format!("is {name}: {why}"),
        Fate::NoEffect => format!("has no effect, and the log says so: {why}"),
        Fate::Refused => format!("is refused: {why}"),
    }
}

const ABOUT: &str = "\
What the Go Virtual Kubelet and azure-aci take and this program does not, or under another name. All others of their flags and \
variables are taken with their meaning; --namespace has the one of 2017: pods elsewhere are left alone.";

/// The whole table, for a terminal.
pub(super) fn page() -> String {
    let mut text = format!("{ABOUT}\n");
    for (names, becomes) in rows() {
        let _ = write!(text, "\n{names}\n    {becomes}\n");
    }
    text
}

/// The whole table, for the manual.
pub(super) fn manual(page: &mut Roff) {
    page.control("SH", ["COMPATIBILITY"]);
    page.text([roman(ABOUT)]);
    for (names, becomes) in rows() {
        page.control("TP", []);
        page.text([bold(names)]);
        page.text([roman(becomes)]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsString;

    use clap::CommandFactory as _;

    use super::super::{Cli, parse};
    use super::*;

    fn legacy(flags: &[String]) -> Result<Legacy, String> {
        let line = ["vk-host", "--plugin", "x"].into_iter().map(OsString::from).chain(flags.iter().map(OsString::from));
        parse(line).map(|cli| cli.run.legacy).map_err(|error| error.to_string())
    }

    /// As users of pflag write it.
    fn spellings(name: &str, takes: Takes) -> [Vec<String>; 2] {
        match takes {
            Takes::Value => [vec![format!("--{name}"), "7".into()], vec![format!("--{name}=7")]],
            Takes::Switch => [vec![format!("--{name}")], vec![format!("--{name}=false")]],
        }
    }

    #[test]
    fn every_flag_is_taken_or_refused_by_name() {
        for flag in FLAGS {
            let named = |name: &&str| spellings(name, flag.takes).map(|words| (format!("--{name}"), words));
            for (name, words) in flag.names.iter().flat_map(named) {
                let read = legacy(&words);
                match flag.fate {
                    Fate::Is(_) => assert_eq!(read, Ok(Legacy::default()), "{words:?}"),
                    Fate::NoEffect => {
                        let told = vec![Told { names: name, why: flag.why }];
                        assert_eq!(read, Ok(Legacy { without_effect: told }), "{words:?}");
                    }
                    Fate::Refused => {
                        let error = read.unwrap_err();
                        assert!(error.contains(&name) && error.contains(flag.why), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn one_line_tells_of_all_flags_of_a_row() {
        let flags = ["--trace-tag", "a=b", "--trace-tag=c=d", "--trace-sample-rate", "1"].map(String::from);
        let [told] = &legacy(&flags).unwrap().without_effect[..] else { panic!("one row") };
        assert_eq!(told.names, "--trace-tag, --trace-sample-rate");
    }

    #[test]
    fn only_variables_that_are_set_are_told() {
        let set = ["ACI_REGION", "AZURE_TENANT_ID", "KUBE_DNS_IP", "ZPAGES_PORT"];
        let names: Vec<String> = variables(|name| set.contains(&name)).into_iter().map(|told| told.names).collect();
        assert_eq!(names, ["ZPAGES_PORT", "AZURE_TENANT_ID, ACI_REGION"]);
        assert_eq!(variables(|_| false), []);
    }

    #[test]
    fn what_is_another_name_is_one_of_a_flag_that_is_there() {
        let command = Cli::command();
        let flag = |long: &str| command.get_arguments().find(|argument| argument.get_long() == long.strip_prefix("--"));
        for Flag { names, fate, .. } in FLAGS {
            if let Fate::Is(long) = fate {
                let aliases: Vec<&str> = flag(long).unwrap().get_all_aliases().unwrap_or_default();
                assert_eq!(aliases, *names);
            }
        }
        for Variable { names, fate, .. } in VARIABLES {
            if let Fate::Is(long) = fate {
                assert_eq!([flag(long).unwrap().get_env().unwrap()], *names);
            }
        }
    }

    #[test]
    fn nothing_is_in_the_table_twice_or_in_the_help() {
        let names = FLAGS.iter().flat_map(|row| row.names).chain(VARIABLES.iter().flat_map(|row| row.names));
        let names: Vec<&str> = names.copied().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let (help, page) = (Cli::command().render_long_help().to_string(), page());
        for name in names {
            assert!(page.contains(name), "{name} is not in the table");
            assert!(name == "KUBE_DNS_IP" || !help.contains(name), "{name} is in --help");
        }
    }
}
