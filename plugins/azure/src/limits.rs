//! What a container group can be. The pages are those of Azure's documentation, with the date that they bear.

/// Containers of both kinds ("Resource availability & quota limits", November 2025).
pub(crate) const CONTAINERS: usize = 60;
/// Of them such as run before: one other has to be there ("Run init containers", 2022).
pub(crate) const INIT_CONTAINERS: usize = 59;
/// Volumes (quota page).
pub(crate) const VOLUMES: usize = 20;
/// Ports of one address (quota page).
pub(crate) const PORTS: usize = 5;
/// Bytes of all that containers and empty directories write (quota page: 50 GB).
pub(crate) const STORAGE: i64 = 50_000_000_000;

/// Tags of a resource, and how long their names and values are ("Use tags to organize your Azure resources").
pub(crate) const TAGS: usize = 50;
/// See [`TAGS`].
pub(crate) const TAG_NAME: usize = 512;
/// See [`TAGS`].
pub(crate) const TAG_VALUE: usize = 256;

/// Name servers, search domains and the length of these together: what resolvers of the time took, and azure-aci sends.
pub(crate) const NAMESERVERS: usize = 3;
/// See [`NAMESERVERS`].
pub(crate) const SEARCHES: usize = 6;
/// See [`NAMESERVERS`].
pub(crate) const SEARCH_LINE: usize = 256;

/// Hundredths of a core and tenths of 10⁹ bytes: the steps of requests, as azure-aci found them.
pub(crate) const CPU_STEP_MILLIS: i64 = 10;
/// See [`CPU_STEP_MILLIS`].
pub(crate) const MEMORY_STEP_BYTES: i64 = 100_000_000;

/// What the smallest group has, in steps: a core and 10⁹ bytes ("Container groups", November 2025).
pub(crate) const LEAST: Size = Size { cpu: 100, memory: 10 };
/// What a container has that requests nothing: azure-aci's and Azure's own default, 1 core and 1.5 · 10⁹ bytes.
pub(crate) const DEFAULT: Size = Size { cpu: 100, memory: 15 };

/// The largest groups (quota page).
pub(crate) const MOST_STANDARD: Size = Size { cpu: 3100, memory: 2400 };
/// See [`MOST_STANDARD`].
pub(crate) const MOST_CONFIDENTIAL: Size = Size { cpu: 3100, memory: 1800 };
/// See [`MOST_STANDARD`].
pub(crate) const MOST_SPOT: Size = Size { cpu: 400, memory: 160 };

/// Processor and memory in steps: whole numbers, so that sums are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Hundredths of a core.
    pub(crate) cpu: i64,
    /// Tenths of 10⁹ bytes.
    pub(crate) memory: i64,
}
