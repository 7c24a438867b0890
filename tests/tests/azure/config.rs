//! Mistakes of the operator's: one line says what is wrong, where it stands, and never a secret.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use vk_tests::cluster::{PATIENCE, unique};
use vk_tests::host::HostConfig;

use crate::corner::Ground;

/// In every secret of these tests.
const SECRET: &str = "s3cret";
/// What has to be there.
const PLACE: &str = "Region = \"westeurope\"\nResourceGroup = \"pods\"\n";

/// A host of a node of its own, without grants and credentials.
fn host(ground: &Ground) -> Result<HostConfig> {
    let config = HostConfig::mock(ground.corner.control_plane, &unique("mistaken"))?;
    let plugin = ground.corner.host.config().plugin.clone();
    Ok(HostConfig { plugin, provider_config: Some(PLACE.to_owned()), flags: Vec::new(), ..config })
}

/// The same with those of the ground's own host, and another configuration.
fn configured(ground: &Ground, text: String) -> Result<HostConfig> {
    let HostConfig { flags, variables, .. } = ground.corner.host.config().clone();
    Ok(HostConfig { flags, variables, provider_config: Some(text), ..host(ground)? })
}

/// What a host says that does not start: what is wrong, and below it a line for each mistake.
fn refused(config: &HostConfig) -> Result<(String, Vec<String>)> {
    let (status, said) = config.run(PATIENCE)?;
    ensure!(status.code() == Some(1), "{status}: {said}");
    ensure!(!said.contains(SECRET), "a secret is told: {said}");
    let mut lines = said.lines().skip_while(|line| !line.starts_with("vk-host: ")).map(str::to_owned);
    let what = lines.next().with_context(|| format!("it says nothing of itself: {said}"))?;
    Ok((what, lines.collect()))
}

/// Whether one mistake alone is told, with all of these words.
fn tells(config: &HostConfig, words: &[&str]) -> Result<()> {
    let (what, mistakes) = refused(config)?;
    let [mistake] = mistakes.as_slice() else { anyhow::bail!("one mistake, and not {mistakes:?} below {what}") };
    let missing: Vec<&&str> = words.iter().filter(|word| !mistake.contains(**word)).collect();
    ensure!(mistake.starts_with("  ") && missing.is_empty(), "{missing:?} are not in {mistake:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_mistake_in_the_configuration_is_told_with_field_and_line() -> Result<()> {
    let ground = Ground::with("mistakes", |setup| setup.played()).await?;
    let table: [(&str, &[&str]); 17] = [
        ("Regoin = \"westeurope\"", &["line 3", "unknown key", "Regoin"]),
        ("CPU = \"-1\"", &["line 3", "below zero", "CPU"]),
        ("Memory = \"lots\"", &["line 3", "Memory", "lots"]),
        ("OperatingSystem = \"Plan9\"", &["line 3", "neither", "OperatingSystem"]),
        ("OperatingSystem = \"Windows\"", &["line 3", "--os windows", "OperatingSystem"]),
        ("api-version = \"2018-10-01\"", &["line 3", "2018-10-01", "api-version"]),
        ("poll-period = \"1ms\"", &["line 3", "1ms", "poll-period"]),
        ("public-ip = 1", &["line 3", "public-ip"]),
        ("SubnetName = \"aci\"", &["vnet"]),
        ("zone = \"1;2\"", &["line 3", "2 zones", "zone"]),
        ("identities = [\"me\"]", &["line 3", "\"me\" is not the path", "identities[0]"]),
        ("[budgets]\nfactor = 0", &["line 4", "no factor", "budgets.factor"]),
        ("[budgets]\ncreates = [\"100/5m\", \"many\"]", &["line 4", "no rate", "100/5m", "budgets.creates[1]"]),
        ("[tags]\nUID = \"x\"", &["line 4", "says whose a group is", "tags.UID"]),
        (
            "[log-analytics]\nworkspace-id = \"w\"\nworkspace-key = [\"s3cret\"]",
            &["line 5", "log-analytics.workspace-key"],
        ),
        ("[log-analytics]\nworkspace-key = \"s3cret\nworkspace-id = \"w\"", &["line 4"]),
        ("priority = \"Spot\"\nzone = \"1\"", &["Spot", "zone"]),
    ];
    for (text, words) in table {
        tells(&configured(&ground, format!("{PLACE}{text}\n"))?, words).with_context(|| format!("of {text:?}"))?;
    }
    tells(&configured(&ground, "Region = \"westeurope\"\n".to_owned())?, &["ResourceGroup"])?;
    // All of them at once, each in a line of its own.
    let text = format!("{PLACE}CPU = \"-1\"\nzone = \"1;2\"\n[budgets]\nfactor = 0\n");
    let (_, mistakes) = refused(&configured(&ground, text)?)?;
    ensure!(mistakes.len() == 3 && mistakes.iter().all(|mistake| mistake.starts_with("  ")), "{mistakes:?}");
    Ok(())
}

/// A file of credentials, granted and named.
fn with_file(config: HostConfig, content: &[u8]) -> Result<(HostConfig, PathBuf)> {
    let file = config.state_dir.join("credentials.json");
    fs::write(&file, content)?;
    let grant = format!("file={}", file.display());
    let config = config.flag("--grant").flag("environment=AZURE_*").flag("--grant").flag(grant);
    Ok((config.variable("AZURE_AUTH_LOCATION", file.display().to_string()), file))
}

/// As Azure writes it, with one thing changed.
fn credentials(ground: &Ground, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut file = ground.fake().auth_file();
    file["clientSecret"] = json!(SECRET);
    change(&mut file);
    file.to_string().into_bytes()
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_mistake_in_the_credentials_is_told_with_file_and_field_and_without_the_secret() -> Result<()> {
    let ground = Ground::with("credentials", |setup| setup.played()).await?;
    let table: [(Vec<u8>, &[&str]); 7] = [
        (b"{\"clientSecret\": \"s3cret\" x}".to_vec(), &["AZURE_AUTH_LOCATION", "no JSON", "line 1 column 27"]),
        (b"\"s3cret\"".to_vec(), &["AZURE_AUTH_LOCATION", "JSON object"]),
        (b"\xff\xfes3cret!".to_vec(), &["AZURE_AUTH_LOCATION"]),
        (
            credentials(&ground, |file| file["clientSecret"] = json!(["s3cret"])),
            &["clientSecret", "a string, not a list"],
        ),
        (
            credentials(&ground, |file| file["subscriptionId"] = json!("a/b")),
            &["subscriptionId", "a/b", "must be an id"],
        ),
        (credentials(&ground, |file| file["clientId"] = Value::Null), &["clientSecret", "add clientId"]),
        (
            credentials(&ground, |file| file["activeDirectoryEndpointUrl"] = json!("http://login.example")),
            &["activeDirectoryEndpointUrl", "http://login.example"],
        ),
    ];
    for (content, words) in table {
        let (config, file) = with_file(host(&ground)?, &content)?;
        let words: Vec<&str> = words.iter().copied().chain(file.to_str()).collect();
        tells(&config, words.as_slice())?;
    }
    // It may be said elsewhere too.
    let without = credentials(&ground, |file| file["tenantId"] = Value::Null);
    tells(&with_file(host(&ground)?, &without)?.0, &["AZURE_TENANT_ID", "tenantId"])
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn what_is_not_granted_or_said_twice_is_told_by_name_and_without_the_secret() -> Result<()> {
    let ground = Ground::with("grants", |setup| setup.played()).await?;
    let variable =
        |config: HostConfig| config.variable("AZURE_CLIENT_SECRET", SECRET).variable("AZURE_SUBSCRIPTION_ID", "s");
    // Each with the flag that grants it.
    let (what, wants) = refused(&variable(host(&ground)?))?;
    for name in ["AZURE_CLIENT_SECRET", "AZURE_SUBSCRIPTION_ID"] {
        let flag = format!("--grant environment={name}");
        ensure!(wants.iter().any(|line| line.contains(&flag)), "no {flag} in {what} {wants:?}");
    }
    let granted = |config: HostConfig| config.flag("--grant").flag("environment=AZURE_*");
    let config = granted(variable(host(&ground)?)).variable("AZURE_TENANT_ID", "t");
    tells(&config, &["AZURE_CLIENT_SECRET", "add AZURE_CLIENT_ID"])?;
    let absent = Path::new("/nonexistent/credentials.json");
    let config = granted(host(&ground)?).flag("--grant").flag(format!("file={}", absent.display()));
    let (_, mistakes) = refused(&config.variable("AZURE_AUTH_LOCATION", absent.display().to_string()))?;
    ensure!(mistakes.iter().any(|line| line.contains("/nonexistent/credentials.json")), "{mistakes:?}");
    let config = granted(host(&ground)?).variable("AZURE_AUTH_LOCATION", "credentials.json");
    let (_, mistakes) = refused(&config)?;
    ensure!(mistakes.iter().any(|line| line.contains("absolute path")), "{mistakes:?}");
    Ok(())
}
