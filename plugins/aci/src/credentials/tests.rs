//! Every order of sources, and every mistake in them.

use vk_provider::testing;
use vk_provider::{Code, Effect};

use super::*;

const AUTH: &str = r#"{"clientId":"auth-app","clientSecret":"auth-s3cret","subscriptionId":"auth-sub","tenantId":"auth-tenant",
    "activeDirectoryEndpointUrl":"https://login.microsoftonline.com","resourceManagerEndpointUrl":"https://management.azure.com/",
    "activeDirectoryGraphResourceId":"https://graph.windows.net/"}"#;
const AKS: &str = r#"{"cloud":"AzurePublicCloud","tenantId":"aks-tenant","subscriptionId":"aks-sub","aadClientId":"aks-app",
    "aadClientSecret":"aks-s3cret","resourceGroup":"aks-rg","location":"westeurope","vnetName":"aks-vnet","vnetResourceGroup":"net-rg",
    "userAssignedIdentityID":"","useManagedIdentityExtension":false,"cloudProviderBackoff":true}"#;
const MSI: &str = r#"{"cloud":"AzurePublicCloud","tenantId":"aks-tenant","subscriptionId":"aks-sub","aadClientId":"msi",
    "aadClientSecret":"msi","userAssignedIdentityID":"node-identity","useManagedIdentityExtension":true}"#;

/// A host with these variables and files.
fn host(variables: &[(&str, &str)], files: &[(&str, &str)]) {
    testing::reset();
    for (name, value) in variables {
        testing::variable(name, value);
    }
    for (name, content) in files {
        testing::file(name, content.as_bytes());
    }
}

/// As [`host`], with the files of `AUTH_FILE` and `AKS_FILE` at `/auth` and `/aks` where they are not empty.
fn sources(variables: &[(&str, &str)], aks: &str, auth: &str) {
    let named = [(environment::AKS_FILE, "/aks", aks), (environment::AUTH_FILE, "/auth", auth)];
    let named = named.into_iter().filter(|(_, _, content)| !content.is_empty());
    let (more, files): (Vec<_>, Vec<_>) = named.map(|(name, path, text)| ((name, path), (path, text))).unzip();
    host(&[variables, &more].concat(), &files);
}

fn secret(client_id: &str, secret: &str) -> Credential {
    Credential::Secret { client_id: client_id.to_owned(), secret: secret.into() }
}

fn managed(client_id: Option<&str>) -> Credential {
    Credential::Managed { client_id: client_id.map(str::to_owned) }
}

fn federated(client_id: &str) -> Credential {
    Credential::Federated { client_id: client_id.to_owned(), token_file: "/token".to_owned() }
}

/// Each mistake as `FIELD: MESSAGE`.
fn mistakes() -> Vec<String> {
    let mistakes = Account::read().unwrap_err();
    assert!(mistakes.iter().all(|mistake| mistake.effect == Effect::None && !mistake.to_string().contains("s3cret")));
    mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.field.unwrap(), mistake.message)).collect()
}

#[test]
fn a_file_of_credentials_is_enough() {
    sources(&[], "", AUTH);
    let expected = Account {
        cloud: Cloud::public(),
        tenant: "auth-tenant".to_owned(),
        subscription: "auth-sub".to_owned(),
        credential: secret("auth-app", "auth-s3cret"),
        metadata: METADATA.to_owned(),
        resource_group: None,
        location: None,
        vnet: None,
    };
    assert_eq!(Account::read(), Ok(expected));
    assert!(!format!("{:?}", Account::read()).contains("s3cret"));
}

#[test]
fn the_file_of_an_aks_node_is_enough() {
    sources(&[], AKS, "");
    let account = Account::read().unwrap();
    assert_eq!((account.subscription.as_str(), account.tenant.as_str()), ("aks-sub", "aks-tenant"));
    assert_eq!(account.credential, secret("aks-app", "aks-s3cret"));
    assert_eq!((account.resource_group.as_deref(), account.location.as_deref()), (Some("aks-rg"), Some("westeurope")));
    let vnet = Vnet { name: "aks-vnet".to_owned(), resource_group: Some("net-rg".to_owned()) };
    assert_eq!(account.vnet, Some(vnet));
}

#[test]
fn the_environment_is_over_the_aks_file_over_the_file_of_credentials_field_by_field() {
    sources(&[], AKS, AUTH);
    let account = Account::read().unwrap();
    assert_eq!((account.subscription.as_str(), account.credential), ("aks-sub", secret("aks-app", "aks-s3cret")));
    for (name, value) in [
        ("AZURE_CLIENT_ID", "env-app"),
        ("AZURE_CLIENT_SECRET", "env-s3cret\n"),
        ("AZURE_TENANT_ID", "env-tenant"),
        ("AZURE_SUBSCRIPTION_ID", " env-sub "),
    ] {
        sources(&[(name, value)], AKS, AUTH);
        let account = Account::read().unwrap();
        let or = |field: &str, other: &str| if field == name { value.trim().to_owned() } else { other.to_owned() };
        let credential = secret(&or("AZURE_CLIENT_ID", "aks-app"), &or("AZURE_CLIENT_SECRET", "aks-s3cret"));
        assert_eq!(account.credential, credential, "{name}");
        assert_eq!(account.tenant, or("AZURE_TENANT_ID", "aks-tenant"));
        assert_eq!(account.subscription, or("AZURE_SUBSCRIPTION_ID", "aks-sub"));
    }
    sources(&[], r#"{"tenantId":"aks-tenant","subscriptionId":""}"#, AUTH);
    let account = Account::read().unwrap();
    assert_eq!((account.tenant.as_str(), account.subscription.as_str()), ("aks-tenant", "auth-sub"));
    assert_eq!(account.credential, secret("auth-app", "auth-s3cret"));
}

#[test]
fn how_one_signs_in_follows_from_what_is_there() {
    let subscription = ("AZURE_SUBSCRIPTION_ID", "s");
    let tenant = ("AZURE_TENANT_ID", "t");
    let client = ("AZURE_CLIENT_ID", "app");
    let (token, password) = (("AZURE_FEDERATED_TOKEN_FILE", "/token"), ("AZURE_CLIENT_SECRET", "s3cret"));
    let identity = ("VIRTUALNODE_USER_IDENTITY_CLIENTID", "identity");
    for (variables, aks, auth, expected) in [
        (&[subscription][..], "", "", managed(None)),
        (&[subscription, client], "", "", managed(Some("app"))),
        (&[subscription, identity], "", "", managed(Some("identity"))),
        (&[subscription, identity, ("AZURE_CLIENT_ID", "identity")], "", "", managed(Some("identity"))),
        (&[subscription, tenant, client, token], "", "", federated("app")),
        (&[subscription, tenant, client, token, password], "", "", secret("app", "s3cret")),
        (&[], MSI, "", managed(Some("node-identity"))),
        (&[identity], MSI, "", managed(Some("identity"))),
        (&[client], MSI, "", managed(Some("app"))),
        (&[client, token], MSI, "", federated("app")),
        (&[client, password], MSI, "", secret("app", "s3cret")),
        (&[], r#"{"subscriptionId":"s","useManagedIdentityExtension":true,"aadClientId":""}"#, "", managed(None)),
        (&[], r#"{"subscriptionId":"s","useManagedIdentityExtension":"true"}"#, "", managed(None)),
        (&[token], "", r#"{"subscriptionId":"s","tenantId":"t","clientId":"app"}"#, federated("app")),
        (&[identity], "", r#"{"subscriptionId":"s","clientId":"auth-app"}"#, managed(Some("identity"))),
    ] {
        sources(variables, aks, auth);
        assert_eq!(Account::read().map(|account| account.credential), Ok(expected), "{variables:?} {aks} {auth}");
    }
}

#[test]
fn two_ways_to_sign_in_are_a_mistake_that_names_both() {
    let (token, client) = (("AZURE_FEDERATED_TOKEN_FILE", "/token"), ("AZURE_CLIENT_ID", "app"));
    let identity = ("VIRTUALNODE_USER_IDENTITY_CLIENTID", "identity");
    let secret = ("AZURE_CLIENT_SECRET", "env-s3cret");
    let both = r#"{"subscriptionId":"s","tenantId":"t","aadClientId":"a","aadClientSecret":"s3cret","userAssignedIdentityID":"i"}"#;
    for (variables, aks, auth, names) in [
        (&[token, client][..], "", AUTH, ["clientSecret in /auth", token.0]),
        (&[identity], "", AUTH, ["clientSecret in /auth", identity.0]),
        (&[identity], AKS, "", ["aadClientSecret in /aks", identity.0]),
        (&[identity, secret, client], "", AUTH, [secret.0, identity.0]),
        (&[identity, token, client], "", r#"{"subscriptionId":"s","tenantId":"t"}"#, [token.0, identity.0]),
        (&[], both, "", ["aadClientSecret in /aks", "userAssignedIdentityID in /aks"]),
        (&[], MSI, AUTH, ["clientSecret in /auth", "userAssignedIdentityID in /aks"]),
        (&[identity, client], MSI, "", ["AZURE_CLIENT_ID", identity.0]),
    ] {
        sources(variables, aks, auth);
        let told = mistakes();
        assert!(told.len() == 1 && names.iter().all(|name| told[0].contains(name)), "{variables:?}: {told:?}");
    }
}

#[test]
fn what_is_missing_is_told_with_where_it_may_stand() {
    host(&[], &[]);
    let told = mistakes();
    assert!(told.len() == 1 && told[0].starts_with("AZURE_SUBSCRIPTION_ID: it is not set, or not granted"), "{told:?}");
    host(&[("AZURE_CLIENT_SECRET", "s3cret")], &[]);
    let told = mistakes();
    assert!(told[1].starts_with("AZURE_CLIENT_SECRET: no application is named beside it; add AZURE_CLIENT_ID"));
    sources(&[], "", r#"{"clientSecret":"s3cret","subscriptionId":"s"}"#);
    assert_eq!(mistakes(), ["clientSecret: /auth: no application is named beside it; add clientId"]);
    sources(&[], "", r#"{"clientId":"a","subscriptionId":"s"}"#);
    assert_eq!(
        mistakes(),
        ["clientId: /auth: it says an application and no clientSecret; a certificate cannot be used"]
    );
    sources(&[], r#"{"aadClientId":"a","subscriptionId":"s"}"#, "");
    assert!(mistakes()[0].starts_with("aadClientId: /aks: it says an application and no aadClientSecret"));
    sources(&[], "", r#"{"clientId":"a","clientSecret":"s3cret","subscriptionId":"s"}"#);
    assert!(mistakes()[0].starts_with("AZURE_TENANT_ID: "));
}

#[test]
fn every_mistake_is_told_with_file_field_value_and_what_would_be_right() {
    let wrong = r#"{"clientId":7,"clientSecret":["s3cret"],"subscriptionId":"/subscriptions/x","tenantId":"a b",
        "resourceManagerEndpointUrl":"http://management.azure.com","activeDirectoryEndpointUrl":"https://u:s3cret@login.example"}"#;
    sources(&[("AZURE_ENVIRONMENT", "AzureGermanCloud")], r#"{"useManagedIdentityExtension":7}"#, wrong);
    let told = mistakes();
    for (field, says) in [
        ("useManagedIdentityExtension", "/aks: it must be true or false, not a number"),
        ("clientId", "/auth: it must be a string, not a number"),
        ("clientSecret", "/auth: it must be a string, not a list"),
        ("subscriptionId", "/auth: \"/subscriptions/x\" must be an id such as"),
        ("tenantId", "/auth: \"a b\" must be an id such as"),
        (
            "resourceManagerEndpointUrl",
            "/auth: \"http://management.azure.com\" must be a URL that begins with https://",
        ),
        ("activeDirectoryEndpointUrl", "/auth: \"login.example\" must be a URL of a host"),
        ("AZURE_ENVIRONMENT", "\"AzureGermanCloud\" is no cloud; known are"),
    ] {
        assert!(told.iter().any(|told| told.starts_with(&format!("{field}: {says}"))), "{field}: {told:#?}");
    }
    assert_eq!(told.len(), 8, "{told:#?}");
    assert!(Account::read().unwrap_err().iter().all(|mistake| mistake.code == Code::Unauthenticated));
    let path = "/subscriptions/s/resourceGroups/r/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";
    host(&[("AZURE_SUBSCRIPTION_ID", "s"), ("VIRTUALNODE_USER_IDENTITY_CLIENTID", path)], &[]);
    assert!(mistakes()[0].contains("must be the identity's client id, not its path"));
    sources(&[], "", r#"{"appId":"a","password":"s3cret","tenant":"t"}"#);
    assert!(mistakes()[0].starts_with("appId: /auth: it has appId in place of clientId: make it with"));
    host(&[("AZURE_AUTH_LOCATION", "credentials.json")], &[]);
    assert!(mistakes()[0].starts_with("AZURE_AUTH_LOCATION: \"credentials.json\" must be an absolute path"));
    sources(&[], "", "{\"clientSecret\": s3cret}");
    assert!(mistakes()[0].starts_with("AZURE_AUTH_LOCATION: /auth: it is no JSON: "));
}

#[test]
fn the_cloud_follows_from_its_name_or_from_one_of_its_endpoints() {
    let gov = |text: &str| text.replace("AzurePublicCloud", "AzureUSGovernmentCloud");
    let with = |endpoints: &str| format!(r#"{{"subscriptionId":"s",{endpoints}}}"#);
    let own = "https://arm.local.example";
    for (variables, aks, auth, expected) in [
        (&[][..], gov(AKS), String::new(), Cloud::us_government()),
        (&[("AZURE_ENVIRONMENT", "AzureChinaCloud")], gov(AKS), String::new(), Cloud::china()),
        // Beside the name that a higher source gives the endpoints of a lower one are those of another cloud.
        (&[("AZURE_ENVIRONMENT", "AzureUSGovernmentCloud")], String::new(), AUTH.to_owned(), Cloud::us_government()),
        (&[], gov(AKS), AUTH.to_owned(), Cloud::us_government()),
        (
            &[("AZURE_AUTHORITY_HOST", "https://login.example"), ("AZURE_ENVIRONMENT", "AzureChinaCloud")],
            gov(AKS),
            AUTH.to_owned(),
            Cloud { authority: "https://login.example".to_owned(), ..Cloud::china() },
        ),
        (
            &[("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"), ("AZURE_SUBSCRIPTION_ID", "s")],
            String::new(),
            String::new(),
            Cloud::us_government(),
        ),
        (
            &[],
            String::new(),
            with(r#""resourceManagerEndpointUrl":"https://management.chinacloudapi.cn/""#),
            Cloud::china(),
        ),
        (
            &[],
            String::new(),
            with(&format!(
                r#""activeDirectoryEndpointUrl":"https://adfs.example/adfs","resourceManagerEndpointUrl":"{own}/""#
            )),
            Cloud::of("https://adfs.example/adfs", own),
        ),
    ] {
        sources(variables, &aks, &auth);
        assert_eq!(Account::read().map(|account| account.cloud), Ok(expected), "{variables:?} {auth}");
    }
}

#[test]
fn configure_goes_in_rounds() {
    let targets = || Account::wants().into_iter().map(|want| want.target).collect::<Vec<_>>();
    host(&[], &[]);
    assert_eq!(Account::configured(), Ok(None), "nothing is there yet");
    assert_eq!(targets(), environment::WANTED.map(|(name, _)| name));
    host(&[("AZURE_AUTH_LOCATION", "/auth"), ("AZURE_FEDERATED_TOKEN_FILE", "/token")], &[]);
    assert_eq!(Account::configured(), Ok(None), "the files are not there yet");
    assert!(targets().ends_with(&["/auth".to_owned(), "/token".to_owned()]));
    assert!(mistakes()[0].contains("grant it with --grant file=/auth"));
    host(&[("AZURE_AUTH_LOCATION", "/auth"), ("AZURE_ENVIRONMENT", "x")], &[("/auth", "{}")]);
    assert_eq!(Account::configured().unwrap_err().len(), 2, "a cloud that is none, and no subscription");
    host(&[("AZURE_AUTH_LOCATION", "/auth"), ("AKS_CREDENTIAL_LOCATION", "/aks")], &[("/auth", "[]")]);
    assert_eq!(Account::configured().unwrap_err().len(), 1, "a list mends itself in no round");
    sources(&[], "", AUTH);
    assert_eq!(Account::configured(), Account::read().map(Some));
}

#[test]
fn requests_go_to_the_resource_manager_and_to_where_tokens_come_from() {
    let origins = || Account::read().unwrap().origins().into_iter().map(|want| want.target).collect::<Vec<_>>();
    sources(&[], "", AUTH);
    assert_eq!(origins(), ["https://management.azure.com:443", "https://login.microsoftonline.com:443"]);
    sources(&[], MSI, "");
    assert_eq!(origins(), ["https://management.azure.com:443", "http://169.254.169.254:80"]);
    sources(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:40342/")], MSI, "");
    assert_eq!(origins()[1], "http://127.0.0.1:40342");
}
