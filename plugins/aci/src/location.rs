//! What a region has, and how much of it the subscription uses.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use vk_provider::http::Request;

use crate::client::{Client, Does};
use crate::failure::Result;

/// More pages than any region has.
const PAGES: usize = 100;

/// How much of something a subscription uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Usage {
    /// What.
    pub name: UsageName,
    /// `Count`.
    pub unit: String,
    /// Of it are used.
    pub current_value: i64,
    /// Of it may be used.
    pub limit: i64,
}

/// Something that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UsageName {
    /// `ContainerGroups`, `StandardCores` …
    pub value: String,
    /// For people.
    pub localized_value: String,
}

/// What groups of a kind may have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Capability {
    /// `containerGroups`.
    pub resource_type: Option<String>,
    /// `Linux`, `Windows`, `NotSpecified` …
    pub os_type: Option<String>,
    /// `West Europe`.
    pub location: Option<String>,
    /// `Public` or `Private`.
    pub ip_address_type: Option<String>,
    /// `None`, `K80` …
    pub gpu: Option<String>,
    /// How much.
    pub capabilities: Amounts,
}

/// How much a group may have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Amounts {
    /// 10⁹ bytes each.
    #[serde(rename = "maxMemoryInGB")]
    pub max_memory_in_gb: f64,
    /// Cores.
    pub max_cpu: f64,
    /// Graphics processors.
    pub max_gpu_count: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    value: Vec<T>,
    #[serde(default)]
    next_link: Option<String>,
}

impl Client {
    /// What the subscription uses in a region.
    ///
    /// # Errors
    /// There was no answer, or Azure said no.
    pub fn usages(&self, location: &str) -> Result<Vec<Usage>> {
        self.all(self.request("GET", &self.location_url(location, "/usages")))
    }

    /// What groups may have in a region.
    ///
    /// # Errors
    /// There was no answer, or Azure said no.
    pub fn capabilities(&self, location: &str) -> Result<Vec<Capability>> {
        self.all(self.request("GET", &self.location_url(location, "/capabilities")))
    }

    /// All pages.
    fn all<T: DeserializeOwned>(&self, mut request: Request) -> Result<Vec<T>> {
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let Page { value, next_link } = self.read(Does::Read, &request)?;
            all.extend(value);
            let Some(next) = next_link.filter(|link| !link.is_empty()) else { return Ok(all) };
            self.trusted(&next).map_err(|why| self.broken(&request, why))?;
            request = Request::get(&next);
        }
        Err(self.broken(&request, format!("there are more than {PAGES} pages")))
    }
}
