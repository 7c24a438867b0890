use vk_aci::Credential;
use vk_provider::testing;

use super::*;

fn account() -> Account {
    Account {
        cloud: Cloud::public(),
        tenant: "t".to_owned(),
        subscription: "s".to_owned(),
        credential: Credential::Managed { client_id: None },
        metadata: "http://169.254.169.254".to_owned(),
        resource_group: None,
        location: None,
        vnet: None,
    }
}

/// With the two keys that have to be there.
fn read(text: &str) -> Reading {
    testing::configure(&format!("Region = \"westeurope\"\nResourceGroup = \"pods\"\n{text}"));
    Reading::of(Some(&account()))
}

fn config(text: &str) -> Config {
    read(text).into_config().unwrap()
}

fn fields(reading: &Reading) -> Vec<String> {
    reading.mistakes().into_iter().filter_map(|mistake| mistake.field).collect()
}

#[test]
fn all_else_has_a_default() {
    testing::reset();
    let config = config("");
    assert_eq!((config.region.as_str(), config.resource_group.as_str()), ("westeurope", "pods"));
    assert_eq!((config.os, config.version, config.poll), (Os::Linux, Version::V2023_05_01, POLL));
    assert_eq!(config.rates, Rates::default());
    let Capacity { cpu, memory, pods } = &config.capacity;
    assert_eq!((cpu.as_str(), memory.as_str(), pods.as_str()), ("10000", "4Ti", "5000"));
    assert_eq!(config.network, Network { subnet: None, public_ip: true, reach: Reach::Unreachable });
    assert_eq!(config.defaults, Defaults::default());
    assert!(config.log_analytics.is_none() && config.kube_proxy.is_none() && !config.realtime_metrics);
}

#[test]
fn the_example_has_every_key() {
    testing::reset();
    let text = include_str!("../../example.toml");
    testing::configure(text);
    let reading = Reading::of(Some(&account()));
    assert_eq!(reading.mistakes(), []);
    // Each line that is commented out is right too, one at a time: some of them do not go together.
    let keys: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains(" = ") || line.starts_with('['))
        .collect();
    assert!(keys.len() > 30, "{keys:?}");
    let mut table = "";
    for line in keys {
        if line.starts_with('[') {
            table = line;
            continue;
        }
        let reading = self::read(&format!("{table}\n{line}"));
        let mistakes = reading.mistakes();
        let unknown = |mistake: &Error| mistake.message.contains("unknown key") || mistake.message.contains(" is no ");
        assert!(!mistakes.iter().any(unknown), "{table} {line}: {mistakes:?}");
    }
}

#[test]
fn both_spellings_mean_the_same() {
    testing::reset();
    for (theirs, ours) in [
        ("CPU = \"100\"", "cpu = 100"),
        ("Memory = \"100Gi\"", "memory = \"100Gi\""),
        ("Pods = \"5k\"", "pods = \"5k\""),
        ("Pods = \"50\"", "pods = 50"),
        ("SubnetName = \"aci\"\nvnet = \"v\"", "subnet = \"aci\"\nvnet = \"v\""),
    ] {
        assert_eq!(config(theirs), config(ours), "{theirs}");
        assert_ne!(config(theirs), config(""), "{theirs}");
    }
    let reading = read("CPU = 1\ncpu = 1");
    assert_eq!(fields(&reading), ["cpu"]);
    assert!(reading.mistakes()[0].message.contains("line 4: CPU is the same"));
}

#[test]
fn a_variable_counts_before_the_aks_file_and_that_before_the_file() {
    testing::reset();
    let aks = Account {
        resource_group: Some("aks".to_owned()),
        location: Some("North Europe".to_owned()),
        vnet: Some(vk_aci::Vnet { name: "v-aks".to_owned(), resource_group: Some("g-aks".to_owned()) }),
        ..account()
    };
    testing::configure(
        "Region = \"westus\"\nResourceGroup = \"file\"\nCPU = 1\nSubnetName = \"aci\"\nvnet = \"v-file\"",
    );
    let of_file = Reading::of(Some(&aks));
    assert_eq!(
        of_file.told(),
        [
            "the AKS file says aks: file of ResourceGroup does not count",
            "the AKS file says northeurope: westus of Region does not count",
            "the AKS file says v-aks: v-file of vnet does not count",
        ]
    );
    let config = of_file.into_config().unwrap();
    assert_eq!((config.resource_group.as_str(), config.region.as_str()), ("aks", "northeurope"));
    let path = "/subscriptions/s/resourceGroups/g-aks/providers/Microsoft.Network/virtualNetworks/v-aks/subnets/aci";
    assert_eq!(config.network.subnet, path.parse().ok());
    for (name, value) in [
        ("ACI_RESOURCE_GROUP", "env"),
        ("ACI_REGION", "eastus"),
        ("ACI_QUOTA_CPU", "7"),
        ("ACI_SUBNET_NAME", "aci2"),
        ("ACI_VNET_NAME", "v-env"),
        ("ACI_VNET_RESOURCE_GROUP", "g-env"),
        ("ACI_VNET_SUBSCRIPTION_ID", "s-env"),
        ("ACI_EXTRA_USER_AGENT", "helm/1"),
    ] {
        testing::variable(name, value);
    }
    let reading = Reading::of(Some(&aks));
    // Of three things all three say something else, of two the variable and one more.
    assert_eq!(reading.told().len(), 9, "{:?}", reading.told());
    let config = reading.into_config().unwrap();
    assert_eq!((config.resource_group.as_str(), config.region.as_str()), ("env", "eastus"));
    assert_eq!((config.capacity.cpu.as_str(), config.user_agent.as_deref()), ("7", Some("helm/1")));
    let path =
        "/subscriptions/s-env/resourceGroups/g-env/providers/Microsoft.Network/virtualNetworks/v-env/subnets/aci2";
    assert_eq!(config.network.subnet, path.parse().ok());
}

#[test]
fn a_subnet_is_found_by_its_name_or_named_whole() {
    testing::reset();
    let path = "/subscriptions/s/resourceGroups/pods/providers/Microsoft.Network/virtualNetworks/v/subnets/aci";
    assert_eq!(config("subnet = \"aci\"\nvnet = \"v\"").network.subnet, path.parse().ok());
    assert_eq!(config(&format!("subnet = \"{path}\"")).network.subnet, path.parse().ok());
    assert_eq!(fields(&read("subnet = \"aci\"")), ["vnet"]);
    assert_eq!(fields(&read("SubnetCIDR = \"10.0.0.0/24\"")), ["SubnetCIDR"], "no pod would be in it");
    let reading = read("subnet = \"aci\"\nvnet = \"v\"\nSubnetCIDR = \"10.0.0.0/24\"");
    assert!(reading.told()[0].contains("az network vnet subnet create"), "{:?}", reading.told());
    testing::variable("ACI_SUBNET_CIDR", "10.0.0.0/24");
    assert_eq!(fields(&read("")), ["ACI_SUBNET_CIDR"]);
}

#[test]
fn the_operating_system_is_that_of_the_host_and_the_file_says_no_other() {
    testing::reset();
    assert_eq!(config("OperatingSystem = \"linux\"").os, Os::Linux);
    let wrong = read("operating-system = \"Windows\"");
    assert_eq!(fields(&wrong), ["operating-system"]);
    let message = &wrong.mistakes()[0].message;
    assert!(message.starts_with("line 3") && message.contains("--os windows"), "{message}");
    testing::node(|node| node.operating_system = "windows".to_owned());
    for text in ["", "OperatingSystem = \"Windows\""] {
        assert_eq!(config(text).os, Os::Windows, "{text}");
    }
    assert_eq!(fields(&read("OperatingSystem = \"Linux\"")), ["OperatingSystem"]);
}

#[test]
fn the_workspace_is_said_by_variables_by_a_file_or_by_the_table() {
    testing::reset();
    let table = "[log-analytics]\nworkspace-id = \"t\"\nworkspace-key = \"tk\"\ncluster-resource-id = \"/c\"";
    let analytics = |text: &str| config(text).log_analytics.unwrap();
    assert_eq!(analytics(table).analytics.workspace_id, "t");
    assert_eq!(analytics(table).cluster.as_deref(), Some("/c"));
    let reading = read(&table.replace("\"tk\"", "4711"));
    assert!(reading.mistakes()[0].message.ends_with("it must be a string"), "{:?}", reading.mistakes());
    testing::variable("LOG_ANALYTICS_AUTH_LOCATION", "/logs.json");
    assert!(read(table).mistakes().is_empty() && read(table).into_config().is_err(), "the file is awaited");
    testing::file("/logs.json", br#"{"workspaceId":"f","workspaceKey":"fk"}"#);
    assert_eq!(analytics(table).analytics.workspace_id, "f");
    testing::variable("LOG_ANALYTICS_ID", "v");
    assert_eq!(fields(&read(table)), ["LOG_ANALYTICS_KEY"]);
    testing::variable("LOG_ANALYTICS_KEY", "vk-s3cret");
    testing::variable("CLUSTER_RESOURCE_ID", "/v");
    let workspace = analytics(table);
    assert_eq!((workspace.analytics.workspace_id.as_str(), workspace.cluster.as_deref()), ("v", Some("/v")));
    assert!(!format!("{workspace:?}").contains("s3cret"));
    testing::file("/logs.json", br#"{"workspaceId":"f","workspaceKey":{"s3cret":1}}"#);
    let reading = read(table);
    assert_eq!(fields(&reading), ["LOG_ANALYTICS_AUTH_LOCATION"]);
    assert!(!format!("{reading:?}").contains("s3cret"), "{reading:?}");
}

#[test]
fn what_a_file_or_a_script_leaves_around_a_value_is_no_part_of_it() {
    testing::reset();
    for (name, value) in [
        ("LOG_ANALYTICS_ID", "w\n"),
        ("LOG_ANALYTICS_KEY", " k\r\n"),
        ("CLUSTER_RESOURCE_ID", "\t/clusters/c "),
        ("ACI_REGION", " \n"),
    ] {
        testing::variable(name, value);
    }
    let config = config("");
    let Workspace { analytics, cluster } = config.log_analytics.unwrap();
    assert_eq!((analytics.workspace_id.as_str(), analytics.workspace_key.expose().as_str()), ("w", "k"));
    assert_eq!((cluster.as_deref(), config.region.as_str()), (Some("/clusters/c"), "westeurope"));
    testing::variable("LOG_ANALYTICS_KEY", " ");
    assert_eq!(fields(&read("")), ["LOG_ANALYTICS_KEY"], "it is missing");
}

#[test]
fn kube_proxy_signs_in_with_a_file_or_as_the_host() {
    testing::reset();
    let subnet = "subnet = \"aci\"\nvnet = \"v\"\n";
    let file = "[kube-proxy]\nkubeconfig = \"/proxy.conf\"\ncluster-cidr = \"10.1.0.0/16\"";
    assert!(read(file).into_config().is_err(), "the file is awaited");
    testing::file("/proxy.conf", b"apiVersion: v1\nkind: Config\n");
    let proxy = config(file).kube_proxy.unwrap();
    assert_eq!(
        (proxy.kubeconfig.expose().as_str(), proxy.cluster_cidr.as_str()),
        ("apiVersion: v1\nkind: Config\n", "10.1.0.0/16")
    );
    assert_eq!(fields(&read("[kube-proxy]\ncluster-cidr = \"10.1.0.0/16\"")), ["kube-proxy.kubeconfig"]);
    for wrong in ["http://10.0.0.1", "https://me@10.0.0.1", "10.0.0.1 10.0.0.2"] {
        testing::variable("MASTER_URI", wrong);
        assert_eq!(fields(&read("")), ["MASTER_URI"], "{wrong}");
    }
    testing::variable("MASTER_URI", " 10.0.0.1\n");
    assert_eq!(config("").kube_proxy, None, "there is no subnet");
    testing::file(kube_proxy::AUTHORITY, b"CA");
    testing::file(kube_proxy::TOKEN, b"s3cret\n");
    let proxy = config(subnet).kube_proxy.unwrap();
    let kubeconfig: serde_json::Value = serde_json::from_str(proxy.kubeconfig.expose()).unwrap();
    assert_eq!(kubeconfig["clusters"][0]["cluster"]["server"], "https://10.0.0.1");
    assert_eq!(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"], "Q0E=");
    assert_eq!(
        (&kubeconfig["users"][0]["user"]["token"], proxy.cluster_cidr.as_str()),
        (&"s3cret".into(), "10.240.0.0/16")
    );
    assert!(!format!("{proxy:?}").contains("s3cret"));
}

#[test]
fn tags_leave_room_for_those_that_say_whose_a_group_is() {
    testing::reset();
    let tags = |count: usize| (0..count).fold("[tags]".to_owned(), |text, tag| format!("{text}\nt{tag} = \"x\""));
    assert_eq!(config(&tags(43)).defaults.tags.len(), 43);
    let reading = read(&tags(44));
    let mistake = &reading.mistakes()[0];
    assert_eq!(mistake.field.as_deref(), Some("tags"));
    assert_eq!(
        mistake.message,
        "line 3: they are 44; a group has at most 50, and 7 of them say whose it is: 43 are left"
    );
}

#[test]
fn what_stands_in_the_place_of_a_path_is_not_shown() {
    testing::reset();
    for content in
        ["apiVersion: v1\nkind: Config\ntoken: s3cret\n", &format!("{{\"token\":\"s3cret{}\"}}", "x".repeat(99))]
    {
        let reading = read(&format!("[kube-proxy]\nkubeconfig = '''{content}'''"));
        let told = reading.mistakes()[0].to_string();
        assert!(told.contains("line 4: what is written here must be an absolute path"), "{told}");
        let error = reading.into_config().unwrap_err();
        assert!(!told.contains("s3cret") && !error.message.contains("s3cret"), "{told}: {error}");
    }
    testing::variable("LOG_ANALYTICS_AUTH_LOCATION", "{\n\"workspaceKey\": \"s3cret\"}");
    let told = format!("{:?}", read("").mistakes());
    assert!(told.contains("LOG_ANALYTICS_AUTH_LOCATION") && !told.contains("s3cret"), "{told}");
}

#[test]
fn a_cloud_of_the_file_counts_before_that_of_the_credentials_and_says_so() {
    testing::reset();
    let china = "[cloud]\nname = \"AzureChinaCloud\"";
    let reading = read(china);
    assert_eq!(
        reading.told(),
        ["cloud leads to https://login.chinacloudapi.cn and https://management.chinacloudapi.cn: \
          https://login.microsoftonline.com and https://management.azure.com, where the credentials lead, do not count"]
    );
    assert_eq!(reading.cloud, Some(Cloud::china()));
    assert!(Reading::of(Some(&Account { cloud: Cloud::china(), ..account() })).told().is_empty());
    assert!(Reading::of(None).told().is_empty());
}

#[test]
fn what_has_no_effect_is_told() {
    testing::reset();
    let told = |text: &str| read(text).told().to_vec();
    let path = "/subscriptions/s/resourceGroups/pods/providers/Microsoft.Network/virtualNetworks/v/subnets/aci";
    testing::file("/proxy.conf", b"kind: Config");
    testing::file("/logs.json", br#"{"workspaceId":"f","workspaceKey":"fk"}"#);
    let table = "[kube-proxy]\nkubeconfig = \"/proxy.conf\"\nserver = \"https://a\"";
    let cluster = "[log-analytics]\ncluster-resource-id = \"/c\"";
    for (text, names) in [
        ("vnet = \"v\"\nvnet-resource-group = \"g\"", &["vnet", "vnet-resource-group"][..]),
        (&format!("subnet = \"{path}\"\nvnet-subscription = \"s\""), &["vnet-subscription"]),
        (table, &["kube-proxy.server"]),
        (cluster, &["log-analytics.cluster-resource-id"]),
        (&format!("{cluster}\nfile = \"/logs.json\""), &[]),
    ] {
        let starts: Vec<String> = names.iter().map(|name| format!("{name} does not count: ")).collect();
        let told = told(text);
        assert!(
            told.len() == names.len() && told.iter().zip(&starts).all(|(told, start)| told.starts_with(start)),
            "{told:?}"
        );
    }
    testing::configure("vnet = \"v\"");
    assert_eq!(Reading::of(None).told().len(), 0, "a variable may name the subnet yet");
    for (name, value) in [
        ("ACI_VNET_NAME", "v"),
        ("MASTER_URI", "https://b"),
        ("CLUSTER_CIDR", "10.0.0.0/8"),
        ("CLUSTER_RESOURCE_ID", "/c"),
    ] {
        testing::variable(name, value);
    }
    assert_eq!(told("").len(), 4, "{:?}", told(""));
    assert_eq!(told(table).len(), 4, "of the server two say something: {:?}", told(table));
    testing::variable("ENABLE_REAL_TIME_METRICS", "true");
    testing::variable("LOG_ANALYTICS_AUTH_LOCATION", "/logs.json");
    let text = "realtime-metrics = false\n[log-analytics]\nfile = \"/other.json\"";
    let reading = read(text);
    for sentence in [
        "ENABLE_REAL_TIME_METRICS says true: false of realtime-metrics does not count",
        "LOG_ANALYTICS_AUTH_LOCATION says /logs.json: /other.json of log-analytics.file does not count",
    ] {
        assert!(reading.told().iter().any(|told| told == sentence), "{sentence}: {:?}", reading.told());
    }
    assert!(reading.into_config().unwrap().realtime_metrics);
}

#[test]
fn what_cannot_go_together_is_told() {
    testing::reset();
    let reading = read("priority = \"Spot\"\nzone = \"1\"\nsku = \"Confidential\"\nsubnet = \"aci\"\nvnet = \"v\"");
    assert_eq!(fields(&reading), ["subnet", "zone", "sku"]);
    let reading = read("[cloud]\nname = \"AzurePublicCloud\"\nauthority = \"https://login.example\"");
    assert_eq!(fields(&reading), ["cloud.name"]);
}

#[test]
fn a_mistake_has_its_field_and_line() {
    testing::reset();
    for (text, message, field) in [
        ("api-version = \"2018-10-01\"", "line 3: \"2018-10-01\" is no version", "api-version"),
        ("poll-period = \"1ms\"", "line 3: \"1ms\" is no period", "poll-period"),
        ("pod-network = \"maybe\"", "line 3: \"maybe\" is neither", "pod-network"),
        ("public-ip = 1", "line 3: provided string was not `true` or `false`", "public-ip"),
        ("Pods = \"1.5\"", "line 3: \"1.5\" is no whole number; write it like 5000", "Pods"),
        ("pods = \"-1\"", "line 3: \"-1\" is below zero", "pods"),
        ("zone = \"1;2\"", "line 3: \"1;2\" are 2 zones", "zone"),
        ("identities = [\"me\"]", "line 3: \"me\" is not the path", "identities[0]"),
        ("subnet = \"/subscriptions/s\"", "line 3: \"/subscriptions/s\" is not the path", "subnet"),
        ("user-agent = \"a\\nb\"", "line 3: \"a\\nb\" cannot stand in a header", "user-agent"),
        ("[budgets]\nfactor = 0", "line 4: \"0\" is no factor", "budgets.factor"),
        ("[budgets]\ndeletes = [\"5/1h\", \"5\"]", "line 4: \"5\" is no rate", "budgets.deletes[1]"),
        ("[tags]\n\"a/b\" = \"x\"", "line 4: \"a/b\" is no name of a tag", "tags.a/b"),
        ("[tags]\nUID = \"x\"", "line 4: \"UID\" says whose a group is", "tags.UID"),
        (
            "[encryption]\nkey-name = \"k\"\nkey-version = \"1\"",
            "line 3: it is missing; write it like vault-base-url",
            "encryption.vault-base-url",
        ),
        (
            "[kube-proxy]\nserver = \"http://a\"",
            "line 4: \"http://a\" must be a URL that begins with https://",
            "kube-proxy.server",
        ),
        ("[budgets]\ncreates = []", "line 4: it has no rate; write it like [\"100/5m\"]", "budgets.creates"),
        (
            "[kube-proxy]\nkubeconfig = \"relative\"",
            "line 4: \"relative\" must be an absolute path",
            "kube-proxy.kubeconfig",
        ),
        ("[cloud]\nname = \"Mars\"", "line 4: \"Mars\" is no cloud", "cloud.name"),
        (
            "[cloud]\nauthority = \"http://a\"\nresource-manager = \"https://b\"",
            "line 4: \"http://a\" must be a URL that begins with https://",
            "cloud.authority",
        ),
        (
            "[cloud]\nauthority = \"https://a\"\nresource-manager = \"https://arm.example:99999\"",
            "line 5: \"https://arm.example:99999\" must be a URL of a host",
            "cloud.resource-manager",
        ),
        (
            "[cloud]\nauthority = \"https://me:s3cret@login.example\"\nresource-manager = \"https://a\"",
            "line 4: \"login.example\" must be a URL of a host",
            "cloud.authority",
        ),
        (
            "[kube-proxy]\nserver = \"me:s3cret@10.0.0.1\"",
            "line 4: \"10.0.0.1\" must be a URL of a host",
            "kube-proxy.server",
        ),
        ("Regoin = \"x\"", "line 3: unknown key; known are ResourceGroup", "Regoin"),
    ] {
        let reading = read(text);
        let mistakes = reading.mistakes();
        assert!(!format!("{mistakes:?}").contains("s3cret"), "{mistakes:?}");
        let found = mistakes
            .iter()
            .any(|mistake| mistake.message.starts_with(message) && mistake.field.as_deref() == Some(field));
        assert!(found, "{text}: {mistakes:?}");
        let error = reading.into_config().unwrap_err();
        assert_eq!((error.code, error.field), (Code::FailedPrecondition, None), "it would end pods");
    }
}
