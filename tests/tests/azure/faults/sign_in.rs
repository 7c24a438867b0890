//! Tokens end, are not given, and lose their rights, whoever gives them: Entra for a secret, Entra for the cluster's
//! own token, or the machine.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::within;

use super::history::History;
use super::others::Others;
use super::{
    CONVERGED, brief, comes_to, end, idle, is_out_of_reach, is_reachable, is_told, made, refuse, run, throttle,
};
use crate::cloud::{SignIn, federated_token};
use crate::corner::{Ground, Setup};
use crate::rows::leaks;

/// So short that several end in a test. The provider renews one at half of its life: a request has the other half to arrive.
const LIFE: Duration = Duration::from_secs(20);
/// Tokens that a test sees at least.
const TOKENS: u32 = 3;
/// What the paths end with at which tokens are given.
const TOKEN: &str = "/token$";

/// A node whose tokens end soon.
async fn ground(name: &str, sign_in: SignIn) -> Result<Ground> {
    let change = |setup: &mut Setup| {
        setup.played();
        setup.flags = ["--log-level", "trace"].map(str::to_owned).into();
        setup.fake.behaviour.token_life = LIFE;
        setup.sign_in = sign_in;
    };
    Ground::with(name, change).await
}

/// What goes wrong with any of those who give tokens.
fn common() -> Vec<How> {
    vec![throttle(Some(2)), How::Malformed, How::BreakBody, How::LoseAnswer, How::Hang, How::Delay(2000)]
}

/// Pods come, run and end while tokens end and are not always given. No request goes out with one that has ended.
async fn go_on(ground: &Ground, faults: impl IntoIterator<Item = How>) -> Result<()> {
    let fake = ground.fake();
    for (number, how) in (0..).zip(faults) {
        fake.fault(Fault { method: None, ..Fault::next("", TOKEN, how).after(number) });
    }
    let (before, began) = (fake.tokens(), Instant::now());
    let mut number = 0;
    while !fake.faults().is_empty() || fake.tokens() < before + TOKENS {
        ensure!(began.elapsed() < CONVERGED, "{} tokens, to come: {:?}", fake.tokens() - before, fake.faults());
        let name = format!("pod{number}");
        ground.corner.create(brief(ground, &name, 1)).await?;
        comes_to(ground, &name, "Succeeded").await?;
        made(ground, &name, 1).await?;
        number += 1;
    }
    let refused =
        fake.count(Duration::ZERO, |request| request.status == 401 && request.path.starts_with("/subscriptions/"));
    ensure!(refused == 0, "{refused} requests had a token that had ended");
    Ok(())
}

/// Nothing that somebody could sign in with is in the host's log.
fn keeps_quiet(ground: &Ground) -> Result<()> {
    let fake = ground.fake();
    let mut secrets = leaks::issued(fake);
    secrets.push(("the application's secret".to_owned(), fake.account().client_secret.clone()));
    let found = leaks::found("the host's log", &ground.corner.host.log()?, &secrets)?;
    ensure!(found.is_empty(), "{found:#?}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn tokens_for_a_secret_end_and_are_not_always_given_and_pods_do_not_notice() -> Result<()> {
    let ground = ground("secret", SignIn::Secret).await?;
    let others = Others::beside(&ground).await?;
    let entras = [
        refuse(401, "invalid_client", "AADSTS7000222: The provided client secret keys for the app are expired."),
        refuse(503, "temporarily_unavailable", "AADSTS90033: A transient error has occurred. Please try again."),
    ];
    go_on(&ground, common().into_iter().chain(entras)).await?;
    keeps_quiet(&ground)?;
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_signs_in_as_its_machine_and_goes_on_while_tokens_end_and_the_service_is_away() -> Result<()> {
    let ground = ground("machine", SignIn::Machine).await?;
    let others = Others::beside(&ground).await?;
    // Others ask, each time that they do something.
    let entra = || ground.fake().count(Duration::ZERO, |request| request.path.ends_with("/oauth2/v2.0/token"));
    let before = entra();
    let services = [
        refuse(404, "not_found", "It does not know of the identity yet."),
        refuse(410, "gone", "It is being updated."),
        refuse(500, "unknown", "Failed to retrieve token."),
        refuse(400, "invalid_request", "Identity not found"),
    ];
    go_on(&ground, common().into_iter().chain(services)).await?;
    ensure!(entra() == before, "the host asked Entra");
    keeps_quiet(&ground)?;
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_signs_in_with_its_cluster_s_token_and_reads_it_anew_each_time() -> Result<()> {
    let ground = ground("cluster", SignIn::Cluster).await?;
    let others = Others::beside(&ground).await?;
    let write = |life: Duration| -> Result<()> {
        // As the kubelet does it: whole or not at all.
        let file = federated_token(ground.fake().folder());
        let new = file.with_extension("new");
        fs::write(&new, ground.fake().assertion(life).context("no cluster is trusted")?)?;
        Ok(fs::rename(new, file)?)
    };
    go_on(&ground, common()).await?;
    write(Duration::from_secs(3600))?;
    ground.corner.create(idle(&ground, "there")).await?;
    run(&ground, &["there"]).await?;
    // Nobody renews it any more.
    write(Duration::ZERO)?;
    is_out_of_reach(&ground, "AzureSignInRefused").await?;
    ground.corner.create(idle(&ground, "waits")).await?;
    write(Duration::from_secs(3600))?;
    is_reachable(&ground, true).await?;
    run(&ground, &["there", "waits"]).await?;
    made(&ground, "waits", 1).await?;
    keeps_quiet(&ground)?;
    end(&ground, &others).await
}

/// Just after a ping: what happens now is not met by the next one for a while.
async fn after_ping(ground: &Ground) -> Result<()> {
    let pings = || ground.fake().count(Duration::ZERO, |request| request.path.ends_with("/vk-host-ping"));
    let before = pings();
    within(CONVERGED, "there is a ping", || async { Ok((pings() > before).then_some(())) }).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn pods_wait_while_tokens_are_refused_or_have_no_rights_and_run_once_that_is_mended() -> Result<()> {
    let mut ground = super::ground("rights").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    // However long that took: tokens are in the host's memory alone, so that this one is young.
    ground.corner.host.kill()?;
    ground = ground.restarted()?;
    after_ping(&ground).await?;
    ground.fake().expire_tokens();
    ground.corner.create(idle(&ground, "revoked")).await?;
    history.comes_to("revoked", "Pending ExpiredAuthenticationToken").await?;
    // A token that is younger than a minute is not replaced: with the next one it would be no different.
    run(&ground, &["revoked"]).await?;
    is_reachable(&ground, true).await?;
    after_ping(&ground).await?;
    ground.fake().set_powerless(true);
    ground.corner.create(idle(&ground, "powerless")).await?;
    history.comes_to("powerless", "Pending AuthorizationFailed").await?;
    let hint = "a role with Microsoft.ContainerInstance/containerGroups/* on the resource group suffices";
    is_told(&ground, "powerless", "FailedToCreatePod", hint).await?;
    is_out_of_reach(&ground, "AuthorizationFailed").await?;
    ground.fake().set_powerless(false);
    is_reachable(&ground, true).await?;
    run(&ground, &["revoked", "powerless"]).await?;
    for pod in ["revoked", "powerless"] {
        made(&ground, pod, 1).await?;
    }
    end(&ground, &others).await
}
