//! What the host hears of `configure`, round by round.

use std::cell::RefCell;
use std::rc::Rc;

use vk_aci::Cloud;
use vk_provider::plugin::{PodNetwork, Settings};
use vk_provider::testing::Answer;
use vk_provider::{Code, Error, Plugin as _, testing};

use crate::Azure;
use crate::context::Context;

fn configured() -> Result<Settings, Vec<String>> {
    let told = |mistakes: Vec<Error>| mistakes.into_iter().map(|mistake| mistake.to_string()).collect();
    Azure::configure().map_err(told)
}

fn wants(settings: &Settings, access: &str) -> Vec<String> {
    let wants = settings.wants.iter().filter(|want| want.access == access);
    wants.map(|want| want.target.clone()).collect()
}

fn sign_in() {
    for (name, value) in [
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_SUBSCRIPTION_ID", "s"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_CLIENT_SECRET", "p"),
    ] {
        testing::variable(name, value);
    }
}

#[test]
fn in_the_first_round_nothing_is_there_and_nothing_is_wrong() {
    testing::reset();
    let settings = configured().unwrap();
    let variables = wants(&settings, "environment");
    assert!(
        ["ACI_REGION", "AZURE_CLIENT_SECRET", "LOG_ANALYTICS_KEY"]
            .iter()
            .all(|name| variables.iter().any(|v| v == name))
    );
    assert!(wants(&settings, "http").is_empty() && settings.budgets.is_empty());
    assert!(settings.wants.iter().all(|want| !want.why.is_empty()));
}

#[test]
fn what_is_there_says_what_else_is_wanted() {
    testing::reset();
    sign_in();
    testing::configure(
        "Region = \"West Europe\"\nResourceGroup = \"pods\"\npod-network = \"from-host\"\n[budgets]\nfactor = 2",
    );
    testing::variable("LOG_ANALYTICS_AUTH_LOCATION", "/etc/azure/logs.json");
    let settings = configured().unwrap();
    assert_eq!(wants(&settings, "file"), ["/etc/azure/logs.json"]);
    assert!(settings.budgets.is_empty(), "the file is awaited");
    testing::file("/etc/azure/logs.json", br#"{"workspaceId":"w","workspaceKey":"k"}"#);
    let settings = configured().unwrap();
    assert_eq!(wants(&settings, "file"), ["/etc/azure/logs.json"], "what is wanted stays wanted");
    assert_eq!(wants(&settings, "http"), ["https://management.azure.com:443", "https://login.microsoftonline.com:443"]);
    assert_eq!((settings.pod_network, settings.resolves_late), (PodNetwork::FromHost, false));
    assert_eq!(settings.budgets.iter().map(|budget| budget.requests).min(), Some(200));
}

#[test]
fn a_cloud_of_ones_own_is_where_requests_go() {
    testing::reset();
    sign_in();
    testing::configure(
        "Region = \"local\"\nResourceGroup = \"pods\"\n[cloud]\nauthority = \"https://login.corp.example\"\n\
         resource-manager = \"https://arm.corp.example:8443/\"",
    );
    let settings = configured().unwrap();
    assert_eq!(wants(&settings, "http"), ["https://arm.corp.example:8443", "https://login.corp.example:443"]);
    assert!(settings.budgets.iter().all(|budget| budget.origin == "https://arm.corp.example:8443"));
}

#[test]
fn what_is_missing_is_told_once_it_can_be_known() {
    testing::reset();
    testing::configure("SubnetName = \"aci\"");
    configured().unwrap();
    sign_in();
    let mistakes = configured().unwrap_err();
    let fields: Vec<&str> = ["(ResourceGroup)", "(Region)", "(vnet)"]
        .into_iter()
        .filter(|field| mistakes.iter().any(|m| m.ends_with(field)))
        .collect();
    assert_eq!((fields.len(), mistakes.len()), (3, 3), "{mistakes:?}");
    testing::variable("AKS_CREDENTIAL_LOCATION", "/etc/kubernetes/azure.json");
    configured().unwrap();
    testing::file(
        "/etc/kubernetes/azure.json",
        br#"{"resourceGroup":"g","location":"westeurope","vnetName":"v","vnetResourceGroup":"n"}"#,
    );
    configured().unwrap();
}

#[test]
fn a_range_in_the_file_waits_for_the_subnet_of_a_variable() {
    testing::reset();
    testing::configure("Region = \"local\"\nResourceGroup = \"pods\"\nSubnetCIDR = \"10.241.0.0/16\"");
    configured().unwrap();
    sign_in();
    let mistakes = configured().unwrap_err();
    assert!(mistakes.len() == 1 && mistakes[0].contains("ACI_SUBNET_NAME (SubnetCIDR)"), "{mistakes:?}");
    testing::variable("ACI_SUBNET_NAME", "aci");
    testing::variable("ACI_VNET_NAME", "v");
    configured().unwrap();
}

#[test]
fn every_mistake_is_told_at_once() {
    testing::reset();
    testing::configure("Region = \"west/europe\"\nCPU = \"-1\"\n[budgets]\nfactro = 2");
    testing::variable("ACI_SUBNET_CIDR", "10.0.0.0");
    let mistakes = configured().unwrap_err();
    for text in [
        "line 1: \"west/europe\" is no region",
        "line 2: \"-1\" is below zero",
        "line 4: unknown key; known are factor, creates, deletes",
        "write it like 10.240.0.0/16 (ACI_SUBNET_CIDR)",
    ] {
        assert!(mistakes.iter().any(|mistake| mistake.contains(text)), "{text}: {mistakes:?}");
    }
}

#[test]
fn a_call_stands_on_credentials_and_configuration() {
    testing::reset();
    let error = Context::reach().unwrap_err();
    assert_eq!(
        (error.code, error.field),
        (Code::Unauthenticated, Some("AZURE_SUBSCRIPTION_ID".to_owned())),
        "{}",
        error.message
    );
    sign_in();
    let error = Context::reach().unwrap_err();
    assert_eq!((error.code, error.field), (Code::FailedPrecondition, None), "no pod ends for it");
    assert!(error.message.contains("ResourceGroup = \"pods\""), "{}", error.message);
    testing::configure(
        "Region = \"local\"\nResourceGroup = \"pods\"\napi-version = \"2026-05-01\"\n[cloud]\nname = \"AzureChinaCloud\"",
    );
    let Context { config, node, client } = Context::reach().unwrap();
    assert_eq!((config.region.as_str(), node.name.as_str()), ("local", "vk"));
    let asked = Rc::new(RefCell::new(Vec::new()));
    let asks = asked.clone();
    testing::serve(move |received| {
        asks.borrow_mut().push(received.url);
        Answer::status(200).body(r#"{"access_token":"t","expires_in":3599}"#)
    });
    client.get_group("web").unwrap();
    let asked = asked.borrow();
    let [signed_in, question] = asked.as_slice() else { panic!("{asked:?}") };
    let Cloud { authority, resource_manager, .. } = Cloud::china();
    assert!(signed_in.starts_with(&authority) && question.starts_with(&resource_manager), "{asked:?}");
    assert!(question.ends_with("?api-version=2026-05-01"), "{question}");
}
