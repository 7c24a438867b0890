//! What the engine is and has.

use serde::{Deserialize, Serialize};
use vk_provider::http::Endpoint;
use vk_provider::time::Time;

use crate::client::{Engine, send};
use crate::dialect::Version;
use crate::failure::Result;
use crate::time::moment;

/// Podman counts its containers one by one, and tells nothing at all if one was removed meanwhile: on a busy engine about
/// every second time.
const USAGE_LOOKS: u32 = 5;

/// `GET /info`, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Info {
    /// Cores.
    #[serde(rename = "NCPU")]
    pub cores: u32,
    /// Bytes.
    pub mem_total: u64,
    /// `x86_64`, `aarch64` … or Go's names for them.
    pub architecture: String,
    /// `linux`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// For people.
    pub operating_system: String,
    /// For people.
    pub kernel_version: String,
    /// The engine's own.
    pub server_version: String,
    /// What its clock says. Nothing that is kept.
    #[serde(deserialize_with = "moment", skip_serializing)]
    pub system_time: Option<Time>,
    /// The kernel can limit memory; none: the engine does not tell.
    pub memory_limit: Option<bool>,
    /// The kernel can limit time on processors; none: the engine does not tell. Podman says no where it can.
    pub cpu_cfs_quota: Option<bool>,
    /// Such as `name=apparmor`; none: the engine does not tell.
    pub security_options: Option<Vec<String>>,
}

impl Info {
    /// In Go's words, as Kubernetes has them: `amd64`, `arm64`.
    pub fn go_architecture(&self) -> &str {
        match self.architecture.as_str() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "armv7l" => "arm",
            "i386" | "i686" => "386",
            other => other,
        }
    }

    /// The machine has AppArmor; none: the engine does not tell.
    pub fn has_apparmor(&self) -> Option<bool> {
        let options = self.security_options.as_ref()?;
        Some(options.iter().any(|option| option.split(',').any(|part| part == "name=apparmor")))
    }
}

/// `GET /version`, as far as it is read.
#[derive(Debug, Deserialize)]
struct Versions {
    #[serde(rename = "MinAPIVersion")]
    oldest: String,
}

/// The oldest version that an engine serves.
pub(crate) fn oldest(endpoint: &Endpoint) -> Result<Version> {
    let versions: Versions = send(&endpoint.get("/version"))?.json()?;
    Ok(versions.oldest.parse()?)
}

/// `GET /system/df`, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct DiskUsage {
    volumes: Option<Vec<VolumeUsage>>,
}

/// How much is in a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeUsage {
    /// Its name.
    pub name: String,
    usage_data: Option<UsageData>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct UsageData {
    size: i64,
}

impl VolumeUsage {
    /// In bytes; none: the engine does not tell.
    pub fn bytes(&self) -> Option<u64> {
        self.usage_data.as_ref().and_then(|usage| u64::try_from(usage.size).ok())
    }
}

impl Engine {
    /// Cheap proof that the engine answers.
    ///
    /// # Errors
    /// It does not.
    pub fn ping(&self) -> Result<()> {
        self.send(&self.get("/_ping")).map(drop)
    }

    /// What the engine is and has. Podman takes up to a second of a processor: it asks its machine which packages its
    /// programs are of.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn info(&self) -> Result<Info> {
        self.read(&self.get("/info"))
    }

    /// How much is in each volume. Before 1.42 the engine looks at images and containers too, which takes its time.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn volume_usage(&self) -> Result<Vec<VolumeUsage>> {
        let request = self.get("/system/df");
        let request = if self.dialect().has_disk_usage_by_type() { request.query("type", "volume") } else { request };
        let look = || -> Result<_> { Ok(self.read::<DiskUsage>(&request)?.volumes.unwrap_or_default()) };
        for _ in 1..USAGE_LOOKS {
            match look() {
                Err(failure) if failure.is_not_found() => {}
                usage => return usage,
            }
        }
        look()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_named_as_kubernetes_names_them() {
        for (engine, kubernetes) in
            [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64"), ("amd64", "amd64")]
        {
            let info = Info { architecture: engine.to_owned(), ..Info::default() };
            assert_eq!(info.go_architecture(), kubernetes);
        }
    }

    #[test]
    fn what_a_machine_can_do_is_read_as_far_as_it_is_told() {
        let info: Info = serde_json::from_str(
            r#"{"MemoryLimit":false,"CpuCfsQuota":true,"SecurityOptions":["name=seccomp,profile=default","name=apparmor"]}"#,
        )
        .unwrap();
        assert_eq!((info.memory_limit, info.cpu_cfs_quota, info.has_apparmor()), (Some(false), Some(true), Some(true)));
        let info: Info = serde_json::from_str(r#"{"SecurityOptions":["name=seccomp,profile=default"]}"#).unwrap();
        assert_eq!((info.memory_limit, info.has_apparmor()), (None, Some(false)));
        assert_eq!(Info::default().has_apparmor(), None);
    }

    #[test]
    fn a_volume_of_unknown_size_is_not_empty() {
        let usage: DiskUsage = serde_json::from_str(
            r#"{"LayersSize":1,"Images":null,"Volumes":[{"Name":"a","UsageData":{"RefCount":1,"Size":4096}},
            {"Name":"b","UsageData":{"RefCount":-1,"Size":-1}},{"Name":"c"}]}"#,
        )
        .unwrap();
        let bytes: Vec<_> = usage.volumes.unwrap().iter().map(VolumeUsage::bytes).collect();
        assert_eq!(bytes, [Some(4096), None, None]);
    }
}
