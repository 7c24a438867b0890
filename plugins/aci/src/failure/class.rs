//! What Azure's codes mean.
//!
//! Codes of the resource manager are documented (Troubleshoot common Azure deployment errors); those of Container
//! Instances mostly are not, and were seen in reports of their users. So what is not known is told by words in it, and
//! at last by the status.

use std::borrow::Cow;

use vk_provider::Code;

/// What a refusal, or an operation that failed, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The credentials are not accepted.
    Unauthenticated,
    /// They do not suffice, or a policy forbids it.
    Forbidden,
    /// What was asked for is not there.
    Absent,
    /// It is there already, in another region.
    Exists,
    /// Something else is under way with it.
    Busy,
    /// Too many requests.
    Throttled,
    /// The subscription may have no more.
    Quota,
    /// The region has no more, for now.
    Capacity,
    /// What an operator can mend: registrations, resource groups, networks, regions, keys, identities, images that cannot be pulled.
    Setup,
    /// The group cannot be made as it is written.
    Invalid,
    /// It passes.
    Unavailable,
    /// It took too long.
    TimedOut,
    /// It is no answer of Azure's.
    Unknown,
}

/// Codes that mean one thing, whatever their status.
const CODES: [(&str, Class); 40] = [
    ("AuthenticationFailed", Class::Unauthenticated),
    ("InvalidAuthenticationToken", Class::Unauthenticated),
    ("InvalidAuthenticationTokenTenant", Class::Unauthenticated),
    ("ExpiredAuthenticationToken", Class::Unauthenticated),
    ("AuthorizationFailed", Class::Forbidden),
    ("LinkedAuthorizationFailed", Class::Forbidden),
    ("RequestDisallowedByPolicy", Class::Forbidden),
    ("RequestDisallowedByAzure", Class::Forbidden),
    ("ScopeLocked", Class::Forbidden),
    ("ReadOnlyDisabledSubscription", Class::Forbidden),
    ("SubscriptionNotRegistered", Class::Setup),
    ("MissingSubscriptionRegistration", Class::Setup),
    ("NoRegisteredProviderFound", Class::Setup),
    ("SubscriptionNotFound", Class::Setup),
    ("ResourceGroupNotFound", Class::Setup),
    ("ResourceGroupBeingDeleted", Class::Setup),
    ("ParentResourceNotFound", Class::Setup),
    ("InvalidResourceType", Class::Setup),
    ("InvalidResourceNamespace", Class::Setup),
    ("LinkedInvalidPropertyId", Class::Setup),
    ("InvalidResourceReference", Class::Setup),
    ("FailedIdentityOperation", Class::Setup),
    ("InaccessibleImage", Class::Setup),
    ("InvalidResourceLocation", Class::Exists),
    ("ContainerGroupTransitioning", Class::Busy),
    ("AnotherOperationInProgress", Class::Busy),
    ("OperationPreempted", Class::Busy),
    ("Conflict", Class::Busy),
    ("ContainerGroupQuotaReached", Class::Quota),
    ("InsufficientCapacity", Class::Capacity),
    ("SkuNotAvailable", Class::Capacity),
    ("AllocationFailed", Class::Capacity),
    ("ZonalAllocationFailed", Class::Capacity),
    ("OverconstrainedAllocationRequest", Class::Capacity),
    ("TooManyRequests", Class::Throttled),
    ("ContainerLogNotAvailable", Class::Unavailable),
    ("RegistryErrorResponse", Class::Unavailable),
    ("ServerTimeout", Class::Unavailable),
    ("InternalServerError", Class::Unavailable),
    ("RequestTimeout", Class::TimedOut),
];

/// Words in other codes, as far as an operator can mend what they are about.
const SETUP: [&str; 15] = [
    "Subnet",
    "VirtualNetwork",
    "Vnet",
    "NetworkProfile",
    "Subscription",
    "ResourceGroup",
    "Location",
    "Region",
    "ApiVersion",
    "Workspace",
    "Storage",
    // Of a key of one's own for what is stored, and of what may read it, both named by the operator as a rule.
    "Vault",
    "Key",
    "Encryption",
    "Identity",
];

impl Class {
    /// Of a refusal.
    pub(crate) fn of(status: u16, code: &str, message: &str) -> Self {
        Self::told(code, message).unwrap_or_else(|| Self::of_status(status, code))
    }

    /// Of a code alone, such as that of an operation which failed; none: it says nothing that is known.
    pub(super) fn told(code: &str, message: &str) -> Option<Self> {
        let says = |words: &str| message.contains(words);
        // 409 or 503 with whatever code, in the middle of an operation with the code `Failed`.
        if says("is not available in the location") {
            return Some(Self::Capacity);
        }
        if let Some((_, class)) = CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)) {
            return Some(*class);
        }
        let has = |word: &str| code.contains(word);
        match () {
            () if has("Throttl") || has("TooManyRequests") => Some(Self::Throttled),
            () if has("Quota") || (code == "OperationNotAllowed" && (says("quota") || says("Quota"))) => {
                Some(Self::Quota)
            }
            () if has("Capacity") => Some(Self::Capacity),
            () if SETUP.iter().any(|word| has(word)) => Some(Self::Setup),
            () => None,
        }
    }

    fn of_status(status: u16, code: &str) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            // A 404 without a code is a proxy's, or a URL's that is none of the API.
            404 if code.ends_with("NotFound") => Self::Absent,
            404 => Self::Setup,
            408 => Self::TimedOut,
            409 | 412 | 423 => Self::Busy,
            429 => Self::Throttled,
            400 | 413 | 422 if !code.is_empty() => Self::Invalid,
            400..=499 => Self::Setup,
            500..=599 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// What the host is to do about it.
    pub const fn code(self) -> Code {
        match self {
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::Absent => Code::NotFound,
            Self::Exists => Code::AlreadyExists,
            Self::Busy => Code::Aborted,
            Self::Throttled | Self::Quota | Self::Capacity => Code::ResourceExhausted,
            // Without a field: tried again slowly.
            Self::Setup => Code::FailedPrecondition,
            Self::Invalid => Code::InvalidArgument,
            Self::Unavailable => Code::Unavailable,
            Self::TimedOut => Code::DeadlineExceeded,
            Self::Unknown => Code::Unknown,
        }
    }

    /// The reason of an error: Azure's own code where it is a word, but where that misleads.
    pub fn reason(self, code: &str) -> Cow<'static, str> {
        let misleads = self == Self::Capacity && !matches!(code, "SkuNotAvailable" | "InsufficientCapacity");
        let is_word = (3..=60).contains(&code.len())
            && code.starts_with(|first: char| first.is_ascii_uppercase())
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_word && !misleads { code.to_owned().into() } else { self.name().into() }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "AzureUnauthenticated",
            Self::Forbidden => "AzureForbidden",
            Self::Absent => "AzureNotFound",
            Self::Exists => "AzureExists",
            Self::Busy => "AzureConflict",
            Self::Throttled => "AzureThrottled",
            Self::Quota => "AzureQuotaReached",
            Self::Capacity => "InsufficientCapacity",
            Self::Setup => "AzureSetup",
            Self::Invalid => "AzureInvalidRequest",
            Self::Unavailable => "AzureUnavailable",
            Self::TimedOut => "AzureTimedOut",
            Self::Unknown => "AzureUnknown",
        }
    }
}
