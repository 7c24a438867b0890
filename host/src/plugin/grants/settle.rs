//! Which wants are granted, by whom, and what the plugin's calls may have of it.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::endpoint::DOMAIN;
use super::wanted::{Mistaken, Wanted};
use super::{Grants, remedy};
use crate::plugin::Want;
use crate::plugin::egress::address::{Reach, reach};
use crate::plugin::egress::origin::{Origin, Pattern, Scheme};

/// Names that belong to the network that one is in, and what is below them (RFC 6761, RFC 6762, ICANN's SAC113).
const PRIVATE_NAMES: [&str; 3] = ["internal", "local", "localhost"];

/// How a plugin gets to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Access {
    /// Requests by `wasi:http`.
    Http,
    /// `upgrade.open`.
    Upgrade,
    /// `upgrade.connect`.
    Connect,
}

/// Who lets the plugin have what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everybody: HTTPS to a host that has a public name or address.
    ByItself,
    /// Its operator.
    ByOperator,
    /// Nobody has to: a variable that is not set.
    NotSet,
    /// Nobody does.
    Missing,
}

/// A want and its verdict.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Weighed {
    pub(in crate::plugin) want: Want,
    pub(in crate::plugin) verdict: Verdict,
    wanted: Wanted,
}

/// Which addresses an origin that is allowed may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Allowed {
    /// Public ones and [`Grants::addresses`].
    Vetted,
    /// Its own, whatever that is: the operator granted this very address.
    Literal,
}

/// What a plugin's calls may have. The default is nothing.
#[derive(Default)]
pub(in crate::plugin) struct Granted {
    /// Names and values, as `wasi:cli/environment` gives them.
    pub(in crate::plugin) environment: Vec<(String, String)>,
    files: HashSet<PathBuf>,
    origins: Vec<(Access, Pattern, Allowed)>,
    endpoints: BTreeSet<String>,
}

/// Weighs each want, in their order. `variable` is the value of one of the host's variables. An error: all wants that are none.
pub(in crate::plugin) fn weigh(
    wants: Vec<Want>,
    grants: &Grants,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Weighed>, Vec<Mistaken>> {
    let (mut weighed, mut mistaken) = (Vec::new(), Vec::new());
    for want in wants {
        match Wanted::new(&want) {
            Ok(wanted) => {
                let verdict = wanted.verdict(&want.why, grants, &variable);
                weighed.push(Weighed { want, verdict, wanted });
            }
            Err(why) => mistaken.push(Mistaken { want, why }),
        }
    }
    if mistaken.is_empty() { Ok(weighed) } else { Err(mistaken) }
}

impl Access {
    /// As wants and grants have it.
    pub(in crate::plugin) const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Upgrade => "upgrade",
            Self::Connect => "connect",
        }
    }
}

impl Wanted {
    fn verdict(&self, why: &str, grants: &Grants, variable: impl Fn(&str) -> Option<String>) -> Verdict {
        let operator = match self {
            Self::Origin(access, pattern) => grants.origins(*access).iter().any(|grant| grant.covers(pattern)),
            Self::Endpoint(name) => grants.endpoints.contains_key(name),
            Self::Variable(name) => grants.shows(name),
            Self::File(path) => grants.files.contains(path),
        };
        match self {
            _ if operator => Verdict::ByOperator,
            Self::Origin(Access::Http | Access::Upgrade, pattern) if harmless(pattern) && !why.trim().is_empty() => {
                Verdict::ByItself
            }
            Self::Variable(name) if variable(name).is_none() => Verdict::NotSet,
            _ => Verdict::Missing,
        }
    }
}

/// HTTPS to what anybody can reach. What the name really stands for is looked at when it is dialled.
fn harmless(pattern: &Pattern) -> bool {
    let public = |ip: IpAddr| reach(ip) == Reach::Public;
    pattern.scheme() == Scheme::Https
        && pattern.literal().map_or_else(|| pattern.name().is_some_and(public_name), public)
}

fn public_name(name: &str) -> bool {
    let top = name.rsplit_once('.').map(|(_, top)| top);
    top.is_some_and(|top| !PRIVATE_NAMES.contains(&top))
}

impl Weighed {
    /// The line to add; none: nothing is missing.
    pub(in crate::plugin) fn remedy(&self) -> Option<String> {
        (self.verdict == Verdict::Missing).then(|| remedy(&self.want.access, &self.want.target))
    }
}

impl Granted {
    /// Of those that somebody grants.
    pub(in crate::plugin) fn new(weighed: &[Weighed], variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut granted = Self::to_read(weighed, variable);
        for Weighed { wanted, verdict, .. } in weighed.iter().filter(|weighed| weighed.verdict != Verdict::Missing) {
            match wanted {
                Wanted::Origin(access, pattern) => {
                    let own = *verdict == Verdict::ByOperator && pattern.literal().is_some();
                    let allowed = if own { Allowed::Literal } else { Allowed::Vetted };
                    granted.origins.push((*access, pattern.clone(), allowed));
                }
                Wanted::Endpoint(name) => {
                    granted.endpoints.insert(name.clone());
                }
                Wanted::Variable(_) | Wanted::File(_) => {}
            }
        }
        granted
    }

    /// The same without the network: what `configure` may have.
    pub(in crate::plugin) fn to_read(weighed: &[Weighed], variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut granted = Self::default();
        for Weighed { wanted, .. } in weighed.iter().filter(|weighed| weighed.verdict == Verdict::ByOperator) {
            match wanted {
                Wanted::Variable(name) if !granted.environment.iter().any(|(there, _)| there == name) => {
                    granted.environment.extend(variable(name).map(|value| (name.clone(), value)));
                }
                Wanted::File(path) => {
                    granted.files.insert(path.clone());
                }
                Wanted::Variable(_) | Wanted::Origin(..) | Wanted::Endpoint(_) => {}
            }
        }
        granted
    }

    /// Whether there is the same to be read in both.
    pub(in crate::plugin) fn reads_as(&self, other: &Self) -> bool {
        let [one, two] = [self, other].map(|granted| granted.environment.iter().collect::<BTreeSet<_>>());
        self.files == other.files && one == two
    }

    /// none: it was not granted.
    pub(in crate::plugin) fn allows(&self, access: Access, origin: &Origin) -> Option<Allowed> {
        let fits = |(of, pattern, _): &&(Access, Pattern, Allowed)| *of == access && pattern.matches(origin);
        let fitting = || self.origins.iter().filter(fits).map(|(.., allowed)| *allowed);
        fitting().find(|allowed| *allowed == Allowed::Literal).or_else(|| fitting().next())
    }

    /// The name of the endpoint that an authority such as `engine.endpoint.internal` stands for, whatever its port; none: it stands
    /// for none, or that one was not granted.
    pub(in crate::plugin) fn endpoint(&self, authority: &str) -> Option<&str> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_ascii_lowercase();
        self.endpoints.get(host.strip_suffix(DOMAIN)?).map(String::as_str)
    }

    /// Where a file is; none: it was not granted.
    pub(in crate::plugin) fn file(&self, name: &str) -> Option<&Path> {
        self.files.get(Path::new(name)).map(PathBuf::as_path)
    }
}

/// Without the values of variables: they may be secrets.
impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, files, origins, endpoints } = self;
        let names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Granted")
            .field("environment", &names)
            .field("files", files)
            .field("origins", origins)
            .field("endpoints", endpoints)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::grants::{Grant, Named};

    const NONE: &[&str] = &[];

    fn want(text: &str) -> Want {
        let (access, target) = text.split_once(' ').unwrap();
        Want { access: access.into(), target: target.into(), why: "to test it".into() }
    }

    /// `ACCESS=TARGET`, or an endpoint's `NAME=URL`.
    fn grants(texts: &[&str]) -> Grants {
        let mut grants = Grants::default();
        for text in texts {
            match text.parse::<Grant>() {
                Ok(grant) => grants.add(grant),
                // `http=…` would be a good name of an endpoint too.
                Err(_) => {
                    let Named { name, url } = text.parse().unwrap();
                    grants.endpoints.insert(name, url.into());
                }
            }
        }
        grants
    }

    fn set(name: &str) -> Option<String> {
        ["HOME", "TOKEN"].contains(&name).then(|| format!("{name}'s value"))
    }

    fn verdict(wanted: &str, granted: &[&str]) -> Verdict {
        weigh(vec![want(wanted)], &grants(granted), set).unwrap()[0].verdict
    }

    /// What is granted where nothing is missing; an error: what is missing.
    fn settle(wants: &[Want], grants: &Grants) -> Result<Granted, Vec<Want>> {
        let weighed = weigh(wants.to_vec(), grants, set).unwrap();
        let missing = |weighed: &&Weighed| weighed.verdict == Verdict::Missing;
        let missing: Vec<Want> = weighed.iter().filter(missing).map(|weighed| weighed.want.clone()).collect();
        if missing.is_empty() { Ok(Granted::new(&weighed, set)) } else { Err(missing) }
    }

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    #[test]
    fn https_to_public_hosts_needs_no_grant_and_all_else_does() {
        for (wanted, by_itself) in [
            ("http https://example.com:443", true),
            ("http https://example.com", true),
            ("http https://management.azure.com:8443", true),
            ("http https://*.azurecontainer.io:443", true),
            ("upgrade https://bridge.example.com:443", true),
            ("upgrade wss://bridge.example.com", true),
            ("http https://93.184.216.34:443", true),
            ("http https://[2606:2800:220:1::1]:443", true),
            ("http http://example.com:80", false),
            ("upgrade ws://example.com", false),
            ("http https://registry:443", false),
            ("http https://localhost:443", false),
            ("http https://api.localhost:443", false),
            ("http https://metadata.google.internal:443", false),
            ("http https://*.corp.internal:443", false),
            ("http https://printer.local:443", false),
            ("http https://127.0.0.1:443", false),
            ("http https://10.0.0.7:443", false),
            ("http https://169.254.169.254:443", false),
            ("http https://[::1]:443", false),
            ("http https://[::ffff:10.0.0.7]:443", false),
            ("connect tls://registry.example.com:443", false),
            ("connect tcp://93.184.216.34:80", false),
        ] {
            let expected = if by_itself { Verdict::ByItself } else { Verdict::Missing };
            assert_eq!(verdict(wanted, NONE), expected, "{wanted}");
        }
    }

    #[test]
    fn what_has_no_reason_is_not_granted_by_itself() {
        for (why, expected) in [("", Verdict::Missing), ("  ", Verdict::Missing), ("to pull", Verdict::ByItself)] {
            let want = Want { why: why.into(), ..want("http https://example.com:443") };
            assert_eq!(weigh(vec![want], &Grants::default(), set).unwrap()[0].verdict, expected, "{why:?}");
        }
    }

    #[test]
    fn an_operator_grants_by_access_and_by_pattern() {
        for (wanted, granted, covered) in [
            ("http http://10.0.0.7:5000", "http=http://10.0.0.7:5000", true),
            ("http http://10.0.0.7:5000", "http=http://10.0.0.7:5001", false),
            ("http http://10.0.0.7:5000", "http=https://10.0.0.7:5000", false),
            ("http http://10.0.0.7:5000", "upgrade=http://10.0.0.7:5000", false),
            ("http http://10.0.0.7:5000", "addresses=10.0.0.0/8", false),
            ("http http://a.corp.example:80", "http=http://*.corp.example:80", true),
            ("http http://a.b.corp.example:80", "http=http://*.corp.example:80", true),
            ("http http://corp.example:80", "http=http://*.corp.example:80", false),
            ("http http://*.b.corp.example:80", "http=http://*.corp.example:80", true),
            ("http http://*.corp.example:80", "http=http://*.corp.example:80", true),
            ("http http://*.corp.example:80", "http=http://a.corp.example:80", false),
            ("http http://*.corp.example:80", "http=http://*.b.corp.example:80", false),
            ("http http://*.notcorp.example:80", "http=http://*.corp.example:80", false),
            ("upgrade ws://a.corp.example", "upgrade=http://a.corp.example:80", true),
            ("connect tcp://10.0.0.7:8080", "connect=tcp://10.0.0.7:8080", true),
            ("connect tls://10.0.0.7:8080", "connect=tcp://10.0.0.7:8080", false),
            ("environment TOKEN", "environment=TOKEN", true),
            ("environment TOKEN", "environment=TOK*", true),
            ("environment TOKEN", "environment=HOME", false),
            ("file /etc/azure/credentials.json", "file=/etc/azure/credentials.json", true),
            ("file /etc/azure/credentials.json", "file=/etc/azure/credentials", false),
            ("endpoint engine", "engine=unix:///run/docker.sock", true),
            ("endpoint engine", "engin=unix:///run/docker.sock", false),
        ] {
            let expected = if covered { Verdict::ByOperator } else { Verdict::Missing };
            assert_eq!(verdict(wanted, &[granted]), expected, "{wanted} with {granted}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_needs_no_grant() {
        assert_eq!(verdict("environment AZURE_CLIENT_ID", NONE), Verdict::NotSet);
        assert_eq!(verdict("environment HOME", NONE), Verdict::Missing);
        let granted = settle(&[want("environment AZURE_CLIENT_ID")], &Grants::default()).unwrap();
        assert!(granted.environment.is_empty());
    }

    #[test]
    fn every_want_that_is_missing_is_named() {
        let wants = ["http https://example.com", "environment HOME", "file /etc/x", "endpoint engine"].map(want);
        let missing = settle(&wants, &Grants::default()).unwrap_err();
        assert_eq!(missing, wants[1..]);
    }

    #[test]
    fn a_want_that_no_grant_could_cover_is_the_plugins_mistake() {
        let wants = [
            ("dns example.com", "http, upgrade, connect, endpoint, environment and file"),
            ("addresses 10.0.0.0/8", "endpoint, environment and file"),
            ("http tcp://example.com:80", "http:// or https://"),
            ("connect https://example.com:443", "tcp:// or tls://"),
            ("http https://engine.endpoint.internal", "by its name"),
            ("endpoint unix:///run/docker.sock", "no name of an endpoint"),
            ("environment ACI_*", "`*`"),
            ("file credentials.json", "absolute"),
        ];
        let mistaken = weigh(wants.map(|(text, _)| want(text)).to_vec(), &Grants::default(), set).unwrap_err();
        assert_eq!(mistaken.len(), wants.len());
        for (mistaken, (text, says)) in mistaken.iter().zip(wants) {
            let told = mistaken.to_string();
            assert!(told.starts_with(text) && told.contains(says) && !told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn a_plugin_gets_what_it_wants_of_what_is_granted_and_no_more() {
        let grants = grants(&[
            "http=http://*.corp.example:80",
            "http=http://10.0.0.7:5000",
            "environment=TOKEN",
            "environment=HOME",
            "file=/etc/x",
            "file=/etc/y",
            "engine=unix:///run/docker.sock",
            "other=http://10.0.0.8:80",
        ]);
        let wants = [
            "http http://a.corp.example:80",
            "http http://10.0.0.7:5000",
            "http https://93.184.216.34:443",
            "environment TOKEN",
            "environment TOKEN",
            "file /etc/x",
            "endpoint engine",
        ];
        let granted = settle(&wants.map(want), &grants).unwrap();
        for (access, text, allowed) in [
            (Access::Http, "http://a.corp.example:80", Some(Allowed::Vetted)),
            (Access::Http, "http://b.corp.example:80", None),
            (Access::Upgrade, "http://a.corp.example:80", None),
            (Access::Http, "http://10.0.0.7:5000", Some(Allowed::Literal)),
            (Access::Http, "http://10.0.0.7:5001", None),
            (Access::Http, "https://93.184.216.34:443", Some(Allowed::Vetted)),
        ] {
            assert_eq!(granted.allows(access, &origin(text)), allowed, "{access:?} {text}");
        }
        assert_eq!(granted.environment, [("TOKEN".to_owned(), "TOKEN's value".to_owned())]);
        assert_eq!(granted.file("/etc/x"), Some(Path::new("/etc/x")));
        assert_eq!((granted.file("/etc/y"), granted.file("etc/x")), (None, None));
        for (authority, name) in [
            ("engine.endpoint.internal", Some("engine")),
            ("Engine.Endpoint.Internal:80", Some("engine")),
            ("other.endpoint.internal", None),
            ("engine.endpoint.internal.example.com", None),
            ("endpoint.internal", None),
            ("engine", None),
        ] {
            assert_eq!(granted.endpoint(authority), name, "{authority}");
        }
        assert!(!format!("{granted:?}").contains("TOKEN's value"));
    }

    #[test]
    fn configure_may_read_and_not_reach() {
        let grants = grants(&["http=http://10.0.0.7:5000", "environment=HOME", "file=/etc/x"]);
        let wants = ["http http://10.0.0.7:5000", "environment HOME", "file /etc/x", "file /etc/y"].map(want).to_vec();
        let weighed = weigh(wants, &grants, set).unwrap();
        let granted = Granted::to_read(&weighed, set);
        assert_eq!(granted.allows(Access::Http, &origin("http://10.0.0.7:5000")), None);
        assert!(granted.file("/etc/x").is_some() && granted.file("/etc/y").is_none());
        assert!(!granted.reads_as(&Granted::default()) && granted.reads_as(&Granted::new(&weighed, set)));
    }
}
