//! What a container gets.

use serde::{Deserialize, Serialize};

use super::or_default;
use super::words::words;

/// What a container gets, and what it may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceRequirements {
    /// What it gets. All containers together make the group's size, which is paid for.
    #[serde(deserialize_with = "or_default")]
    pub requests: ResourceRequests,
    /// What it may take; none: what it gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
}

/// What a container gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceRequests {
    /// Cores.
    pub cpu: f64,
    /// 10⁹ bytes each.
    #[serde(rename = "memoryInGB")]
    pub memory_in_gb: f64,
    /// Retired by Azure in July 2025.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

/// What a container may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceLimits {
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// 10⁹ bytes each.
    #[serde(rename = "memoryInGB", skip_serializing_if = "Option::is_none")]
    pub memory_in_gb: Option<f64>,
    /// Retired by Azure in July 2025.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

/// Graphics processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Gpu {
    /// How many.
    pub count: i32,
    /// Which.
    pub sku: GpuSku,
}

words! {
    /// A kind of graphics processor.
    GpuSku {
        /// NVIDIA K80.
        K80 => "K80",
        /// NVIDIA P100.
        P100 => "P100",
        /// NVIDIA V100.
        V100 => "V100",
    }
}
