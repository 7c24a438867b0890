use super::*;

const ME: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me";
const WEB: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/web";

fn wishes(annotations: &[(&str, &str)]) -> Result<Wishes> {
    read(&annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn every_annotation_is_read() {
    let wishes = wishes(&[
        (DNS_LABEL, "front-1"),
        (PUBLIC_IP, "false"),
        (SKU, "confidential"),
        (CCE_POLICY, "cG9saWN5"),
        (CCE_POLICY_TOO, "cG9saWN5"),
        (PRIORITY, "Regular"),
        (PULL_IDENTITY, ME),
        (SUBNET, WEB),
        (IDENTITY, &format!("{ME}; SystemAssigned;{}", ME.to_uppercase())),
        (KUBE_PROXY, "False"),
        (DNS, "false"),
        (ZONES, "2;"),
        (TAGS, "env=Dev; project = silver spoon;note=a=b"),
        (VAULT, "https://keys.vault.azure.net/"),
        (KEY_NAME, "key"),
        (KEY_VERSION, "v1"),
        (KEY_IDENTITY, ME),
        ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
        ("mock.virtual-kubelet.io/run-for", "5s"),
    ]);
    let tags = [("env", "Dev"), ("project", "silver spoon"), ("note", "a=b")];
    let me = || ME.parse().unwrap();
    let expected = Wishes {
        dns_label: Some("front-1".to_owned()),
        public_ip: Some(false),
        sku: Some(Sku::Confidential),
        cce_policy: Some(Policy { at: CCE_POLICY, text: "cG9saWN5".to_owned() }),
        priority: Some(Priority::Regular),
        subnet: Some(WEB.parse().unwrap()),
        identities: Some(Identities { system: true, given: vec![me()] }),
        pull_identity: Some(me()),
        kube_proxy: Some(false),
        dns: Some(false),
        zone: Some("2".to_owned()),
        tags: tags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        vault: Some("https://keys.vault.azure.net/".to_owned()),
        key_name: Some("key".to_owned()),
        key_version: Some("v1".to_owned()),
        key_identity: Some(me()),
    };
    assert_eq!(wishes, Ok(expected));
}

#[test]
fn nothing_is_asked_for_by_nothing() {
    assert_eq!(wishes(&[]), Ok(Wishes::default()));
    let empty: Vec<(&str, &str)> = KNOWN
        .iter()
        .filter(|known| ![CCE_POLICY, CCE_POLICY_TOO].contains(&known.name))
        .map(|known| (known.name, " "))
        .collect();
    assert_eq!(wishes(&empty), Ok(Wishes::default()));
}

#[test]
fn a_value_that_is_not_understood_refuses_the_pod() {
    for (name, value, why) in [
        (DNS_LABEL, "web", "\"web\" is no label: 5 to 63"),
        (PUBLIC_IP, "no", "\"no\" is neither \"true\" nor \"false\""),
        (SKU, "premium", "known are Standard, Dedicated and Confidential"),
        (CCE_POLICY, "not base64", "it is no base64"),
        (PRIORITY, "low", "known are Regular and Spot"),
        (PULL_IDENTITY, "me", "write it like /subscriptions/SUBSCRIPTION/"),
        (SUBNET, ME, "virtualNetworks/NAME/subnets/NAME"),
        (IDENTITY, "me", "userAssignedIdentities/NAME, or SystemAssigned"),
        (KUBE_PROXY, "0", "\"0\" is neither"),
        (DNS, "off", "\"off\" is neither"),
        (ZONES, "1;2", "are 2 zones, and a group is in one"),
        (ZONES, "west-1", "is no zone"),
        (TAGS, "env", "\"env\" is no tag"),
        (TAGS, "PODNAME=x", "says whose a group is"),
        (VAULT, "http://keys.vault.azure.net", "is no vault's URL"),
        (KEY_IDENTITY, "me", "write it like"),
    ] {
        let error = wishes(&[(name, value)]).unwrap_err();
        assert_eq!(error.field, Some(format!("metadata.annotations[{name}]")), "{value}");
        assert!(error.message.contains(why), "{name}: {value}: {error}");
    }
}

#[test]
fn a_name_that_is_not_known_refuses_the_pod() {
    for name in [
        "virtual-kubelet.io/dnsnamelabel",
        "virtualkubelet.io/dns-name-label",
        "microsoft.containerinstance.virtualnode.zone",
    ] {
        let error = wishes(&[(name, "x")]).unwrap_err();
        assert_eq!(
            (error.code, error.field),
            (vk_provider::Code::InvalidArgument, Some(format!("metadata.annotations[{name}]")))
        );
        assert!(error.message.contains(DNS_LABEL) && error.message.contains(ZONES), "{}", error.message);
    }
}

#[test]
fn what_others_have_and_is_not_here_is_refused() {
    for (name, why) in REFUSED {
        let error = wishes(&[(name, "true")]).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (vk_provider::Code::Unimplemented, why));
    }
}

#[test]
fn a_policy_that_is_empty_does_not_make_a_pod_open() {
    for name in [CCE_POLICY, CCE_POLICY_TOO] {
        let error = wishes(&[(name, "")]).unwrap_err();
        assert_eq!(error.field, Some(format!("metadata.annotations[{name}]")));
        assert!(wishes(&[(name, ""), (SKU, "Confidential")]).is_ok());
    }
    assert!(wishes(&[(CCE_POLICY, ""), (CCE_POLICY_TOO, "cG9saWN5")]).is_ok());
}

#[test]
fn those_that_contradict_each_other_are_refused() {
    for (annotations, field) in [
        (vec![(CCE_POLICY, "cG9saWN5"), (CCE_POLICY_TOO, "b3RoZXI=")], CCE_POLICY_TOO),
        (vec![(CCE_POLICY, "cG9saWN5"), (SKU, "Standard")], SKU),
        (vec![(VAULT, "https://keys.vault.azure.net"), (KEY_NAME, "key")], KEY_VERSION),
        (vec![(KEY_IDENTITY, ME)], VAULT),
    ] {
        assert_eq!(wishes(&annotations).unwrap_err().field, Some(format!("metadata.annotations[{field}]")));
    }
}

#[test]
fn the_readme_has_them_all() {
    let readme = include_str!("../../README.md");
    let all = KNOWN.iter().map(|known| known.name).chain(REFUSED.map(|(name, _)| name));
    for name in all {
        assert!(readme.contains(&format!("| `{name}` |")), "README.md says nothing of {name}");
    }
}
