//! What the mock reads of a pod's manifest. Its own structs, which borrow: create-pod is the hot path, and most of a manifest is
//! none of the mock's business.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use vk_provider::Error;
use vk_provider::pod::RestartPolicy;
use vk_provider::quantity::Quantity;

/// Seconds, when the manifest does not say it; the API server always does.
const GRACE: i64 = 30;

/// Annotations that begin so are the mock's.
pub(crate) const PREFIX: &str = "mock.virtual-kubelet.io/";

#[derive(Debug, Deserialize)]
pub(crate) struct Manifest<'a> {
    #[serde(default)]
    pub(crate) metadata: Metadata,
    #[serde(borrow)]
    pub(crate) spec: Spec<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Metadata {
    #[serde(default)]
    pub(crate) annotations: Annotations,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec<'a> {
    #[serde(borrow)]
    pub(crate) containers: Vec<Container<'a>>,
    #[serde(borrow, default)]
    pub(crate) init_containers: Option<Vec<Container<'a>>>,
    #[serde(default)]
    pub(crate) restart_policy: RestartPolicy,
    #[serde(default)]
    pub(crate) termination_grace_period_seconds: Option<i64>,
    #[serde(default)]
    pub(crate) host_network: bool,
    #[serde(borrow, default)]
    volumes: Option<Vec<Volume<'a>>>,
}

impl<'a> Spec<'a> {
    pub(crate) fn init(&self) -> &[Container<'a>] {
        self.init_containers.as_deref().unwrap_or_default()
    }

    pub(crate) fn volumes(&self) -> &[Volume<'a>] {
        self.volumes.as_deref().unwrap_or_default()
    }

    /// The pod's own grace, in milliseconds. Below zero counts as a second, as in Kubernetes.
    pub(crate) fn grace(&self) -> u64 {
        let seconds = self.termination_grace_period_seconds.unwrap_or(GRACE);
        u64::try_from(seconds).unwrap_or(1).saturating_mul(1000)
    }

    /// Whether the mock can play it.
    ///
    /// # Errors
    /// `unimplemented` with the field that cannot be played.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (list, containers) in [("initContainers", self.init()), ("containers", self.containers.as_slice())] {
            let rules = containers
                .iter()
                .position(|container| container.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty()));
            if let Some(index) = rules {
                let message = "the mock plays a container's restartPolicy, and no rules by exit code";
                return Err(Error::unimplemented("RestartPolicyRulesNotPlayed", message)
                    .field(format!("spec.{list}[{index}].restartPolicyRules")));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) image: Cow<'a, str>,
    #[serde(default)]
    pub(crate) restart_policy: Option<RestartPolicy>,
    #[serde(default)]
    pub(crate) restart_policy_rules: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    pub(crate) resources: Option<Resources>,
}

impl Container<'_> {
    /// Of an init container: it goes on running beside the ordinary ones. Of another it says nothing.
    pub(crate) fn is_sidecar_as_init(&self) -> bool {
        self.restart_policy == Some(RestartPolicy::Always)
    }
}

/// One entry of `volumes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volume<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(default)]
    config_map: Option<IgnoredAny>,
    #[serde(default)]
    secret: Option<IgnoredAny>,
    #[serde(default, rename = "downwardAPI")]
    downward_api: Option<IgnoredAny>,
    #[serde(default)]
    projected: Option<IgnoredAny>,
}

impl Volume<'_> {
    /// Of a kind whose files the host has.
    pub(crate) fn has_files(&self) -> bool {
        [self.config_map, self.secret, self.downward_api, self.projected].iter().any(Option::is_some)
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Resources {
    #[serde(default)]
    pub(crate) requests: Option<Requests>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Requests {
    pub(crate) cpu: Option<Quantity>,
    pub(crate) memory: Option<Quantity>,
}

/// The mock's annotations, without their prefix. Others, such as kubectl's copy of the whole pod, are not kept.
#[derive(Debug, Default)]
pub(crate) struct Annotations(pub(crate) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ours;
        impl<'de> Visitor<'de> for Ours {
            type Value = Annotations;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }
            fn visit_unit<E>(self) -> Result<Annotations, E> {
                Ok(Annotations::default())
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Annotations, M::Error> {
                let mut ours = Vec::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match key.strip_prefix(PREFIX) {
                        Some(name) => ours.push((name.to_owned(), map.next_value()?)),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Annotations(ours))
            }
        }
        deserializer.deserialize_any(Ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec<'_> {
        vk_provider::serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_grace_below_zero_is_a_second() {
        for (seconds, millis) in [("null", 30_000), ("0", 0), ("7", 7_000), ("-5", 1_000)] {
            let text = format!(r#"{{"containers":[],"terminationGracePeriodSeconds":{seconds}}}"#);
            assert_eq!(spec(&text).grace(), millis, "{seconds}");
        }
    }

    #[test]
    fn rules_by_exit_code_are_refused_by_field() {
        let rules = r#""restartPolicy":"Never","restartPolicyRules":[{"action":"Restart"}]"#;
        let text = format!(r#"{{"containers":[{{"name":"a","restartPolicyRules":[]}},{{"name":"b",{rules}}}]}}"#);
        assert_eq!(spec(&text).check().unwrap_err().field.as_deref(), Some("spec.containers[1].restartPolicyRules"));
        let text = format!(r#"{{"initContainers":[{{"name":"i",{rules}}}],"containers":[{{"name":"a"}}]}}"#);
        assert_eq!(
            spec(&text).check().unwrap_err().field.as_deref(),
            Some("spec.initContainers[0].restartPolicyRules")
        );
        assert!(spec(r#"{"containers":[{"name":"a","restartPolicy":"Never"}]}"#).check().is_ok());
    }
}
