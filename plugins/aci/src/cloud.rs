//! Azure's clouds: where one signs in, and where groups are made.

/// One of Azure's clouds, or endpoints of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Where tokens come from, such as `https://login.microsoftonline.com`.
    pub authority: String,
    /// Where groups are made, such as `https://management.azure.com`.
    pub resource_manager: String,
    /// Whom tokens are for.
    pub audience: String,
}

impl Cloud {
    /// The one that all have, but for a few countries and their governments.
    pub fn public() -> Self {
        Self::of("https://login.microsoftonline.com", "https://management.azure.com")
    }

    /// That of the United States' government.
    pub fn us_government() -> Self {
        Self::of("https://login.microsoftonline.us", "https://management.usgovcloudapi.net")
    }

    /// That of China.
    pub fn china() -> Self {
        Self::of("https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn")
    }

    /// Endpoints of one's own. The resource manager is whom tokens are for.
    pub fn of(authority: impl Into<String>, resource_manager: impl Into<String>) -> Self {
        let resource_manager = resource_manager.into();
        Self { authority: authority.into(), audience: resource_manager.clone(), resource_manager }
    }

    /// By one of the names that Azure's tools and files use.
    ///
    /// # Errors
    /// It is none of them.
    pub fn named(name: &str) -> Result<Self, NotACloud> {
        match name.to_ascii_lowercase().as_str() {
            "azurepubliccloud" | "azurecloud" | "public" => Ok(Self::public()),
            "azureusgovernmentcloud" | "azureusgovernment" | "usgovernment" => Ok(Self::us_government()),
            "azurechinacloud" | "china" => Ok(Self::china()),
            _ => Err(NotACloud(name.to_owned())),
        }
    }

    /// The cloud that one of two endpoints belongs to; none: neither is known.
    pub(crate) fn with(authority: Option<&str>, resource_manager: Option<&str>) -> Option<Self> {
        [Self::public(), Self::us_government(), Self::china()].into_iter().find(|cloud| {
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(&cloud.authority))
                || resource_manager.is_some_and(|endpoint| endpoint.eq_ignore_ascii_case(&cloud.resource_manager))
        })
    }
}

impl Default for Cloud {
    fn default() -> Self {
        Self::public()
    }
}

/// Not a name of a cloud.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no cloud; known are AzurePublicCloud, AzureUSGovernmentCloud and AzureChinaCloud")]
pub struct NotACloud(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_have_the_names_that_tools_give_them() {
        for name in ["AzurePublicCloud", "AzureCloud", "AZUREPUBLICCLOUD", "public"] {
            assert_eq!(Cloud::named(name), Ok(Cloud::public()), "{name}");
        }
        assert_eq!(Cloud::named("AzureUSGovernment"), Ok(Cloud::us_government()));
        assert_eq!(Cloud::named("AzureChinaCloud"), Ok(Cloud::china()));
        assert!(Cloud::named("AzureGermanCloud").unwrap_err().to_string().contains("AzureUSGovernmentCloud"));
    }

    #[test]
    fn one_endpoint_tells_the_cloud() {
        assert_eq!(Cloud::with(Some("https://login.microsoftonline.us"), None), Some(Cloud::us_government()));
        assert_eq!(Cloud::with(None, Some("https://management.chinacloudapi.cn")), Some(Cloud::china()));
        assert_eq!(Cloud::with(Some("https://login.example"), None), None);
    }
}
