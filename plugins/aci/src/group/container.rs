//! Containers of a group.

use serde::{Deserialize, Serialize};

use super::{ContainerView, Probe, Protocol, ResourceRequirements, SecurityContext, or_default};
use crate::Redacted;

/// A container that runs beside the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// 1 to 63 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// All else.
    pub properties: ContainerProperties,
}

/// What such a container is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerProperties {
    /// Its image.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub image: String,
    /// Program and arguments, in place of the image's entrypoint and arguments; empty: those. Values of secrets may
    /// have been put into them.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub command: Vec<Redacted>,
    /// What it listens on.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub ports: Vec<ContainerPort>,
    /// Its environment.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub environment_variables: Vec<EnvironmentVariable>,
    /// What it gets and may take. 2023-05-01 wants it to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Where it sees volumes.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub volume_mounts: Vec<VolumeMount>,
    /// When it is started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// When it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// How it runs. Answers only.
    #[serde(skip_serializing)]
    pub instance_view: Option<ContainerView>,
}

/// A container that runs before the others, with no ports, resources or probes of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InitContainer {
    /// As a container's.
    pub name: String,
    /// All else.
    pub properties: InitContainerProperties,
}

/// What such a container is made of; each field as a [container's](ContainerProperties).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InitContainerProperties {
    /// Its image.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub image: String,
    /// Program and arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub command: Vec<Redacted>,
    /// Its environment.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub environment_variables: Vec<EnvironmentVariable>,
    /// Where it sees volumes.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub volume_mounts: Vec<VolumeMount>,
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// How it runs. Answers only.
    #[serde(skip_serializing)]
    pub instance_view: Option<ContainerView>,
}

/// A port of a container. The group's address has the same number: there is no mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerPort {
    /// From 1.
    pub port: u16,
    /// none: TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// A variable: one of the two values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EnvironmentVariable {
    /// 1 to 63 letters, digits and `_`.
    pub name: String,
    /// Everybody who may read the group sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Nobody sees it but the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure_value: Option<Redacted>,
}

/// A volume in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume's.
    pub name: String,
    /// Absolute, without `:`.
    pub mount_path: String,
    /// none: it may be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}
