//! What the mock reads of a pod's manifest. Its own structs, which borrow: create-pod is the hot path, and most of a manifest is
//! none of the mock's business.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use vk_provider::pod::RestartPolicy;
use vk_provider::quantity::Quantity;

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
    pub(crate) termination_grace_period_seconds: Option<u64>,
    #[serde(default)]
    pub(crate) host_network: bool,
}

impl<'a> Spec<'a> {
    pub(crate) fn init(&self) -> &[Container<'a>] {
        self.init_containers.as_deref().unwrap_or_default()
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
    pub(crate) resources: Option<Resources>,
}

impl Container<'_> {
    pub(crate) fn is_sidecar(&self) -> bool {
        self.restart_policy == Some(RestartPolicy::Always)
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
