//! All of it at once: of what is asked about groups much is refused, lost, late or garbled, and the host is killed
//! again and again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::{phase, within};

use super::others::Others;
use super::{CONVERGED, LIST, OPERATIONS, end, ground, idle, made, refuse, run, throttle};
use crate::corner::Ground;

/// The host is killed so often.
const KILLS: usize = 3;
/// Between two of its ends so many pods come, of which the third goes again, and one more that goes after the next.
const PODS: usize = 6;

/// What goes wrong: with which requests, and with the how manieth of them. There are more, whatever becomes of them: of PUTs one
/// for each of the fifteen pods that are not deleted at once, and of GETs two.
fn faults(namespace: &str) -> Vec<Fault> {
    let groups = format!("/containerGroups/{namespace}-");
    let busy = || refuse(409, "ContainerGroupTransitioning", "It is transitioning.");
    let broken = || refuse(500, "InternalServerError", "Sorry.");
    let creates = [
        (1, How::LoseAnswer),
        (2, throttle(None)),
        (4, busy()),
        (5, How::BreakBody),
        (6, How::Delay(700)),
        (7, How::Malformed),
        (9, How::LoseRequest),
        (10, How::HoldAnswer),
        (11, How::SlowOperation(3000)),
        (13, How::BreakConnection),
        (14, How::LoseAnswer),
    ];
    let removals = [
        (0, How::LoseAnswer),
        (1, busy()),
        (2, How::BreakBody),
        (3, broken()),
        (4, How::LoseRequest),
        (5, throttle(Some(1))),
        (6, How::Delay(700)),
        (7, How::BreakConnection),
    ];
    let looks = [
        (3, How::Malformed),
        (6, broken()),
        (8, How::BreakBody),
        (11, throttle(Some(1))),
        (13, How::LoseAnswer),
        (15, How::Delay(700)),
        (18, How::LoseRequest),
        (20, How::Malformed),
        (23, How::Delay(2000)),
        (25, How::BreakBody),
        (27, How::BreakConnection),
    ];
    let others =
        [(1, How::Malformed), (2, How::LoseAnswer), (4, broken()), (6, How::BreakBody), (7, How::BreakConnection)];
    let of =
        |method: &'static str, path: String| move |(skip, how): (u32, How)| Fault::next(method, &path, how).after(skip);
    creates
        .into_iter()
        .map(of("PUT", groups.clone()))
        .chain(removals.into_iter().map(of("DELETE", groups.clone())))
        .chain(looks.into_iter().map(of("GET", groups)))
        .chain(others.clone().into_iter().map(of("GET", LIST.to_owned())))
        .chain(others.into_iter().map(of("GET", OPERATIONS.to_owned())))
        .collect()
}

/// Pods come and go until all went wrong that was to: of removals and operations nobody knows how many the storm has.
async fn until_all_went_wrong(ground: &Ground) -> Result<()> {
    let began = Instant::now();
    let mut number = 0;
    while !ground.fake().faults().is_empty() {
        ensure!(began.elapsed() < CONVERGED, "these did not happen: {:?}", ground.fake().faults());
        let name = format!("more{number}");
        ground.corner.create(idle(ground, &name)).await?;
        run(ground, &[&name]).await?;
        ground.corner.delete(&name, Some(1)).await?;
        ground.corner.gone_within(CONVERGED, &name).await?;
        number += 1;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn in_a_storm_with_a_host_that_dies_again_and_again_no_pod_is_lost_and_none_is_made_twice() -> Result<()> {
    let mut ground = ground("storm").await?;
    let others = Others::beside(&ground).await?;
    // Long enough for each operation to be asked about.
    ground.fake().behave(|behaviour| behaviour.provisioning = Duration::from_secs(1));
    for fault in faults(&ground.corner.namespace) {
        ground.fake().fault(fault);
    }
    let (mut stay, mut last): (Vec<String>, Option<String>) = (Vec::new(), None);
    for round in 0..KILLS {
        // Its group is there, so that something is to be removed in the storm too.
        if let Some(name) = last.take() {
            ground.corner.delete(&name, Some(1)).await?;
        }
        for number in 0..PODS {
            let name = format!("pod{round}{number}");
            ground.corner.create(idle(&ground, &name)).await?;
            if number % 3 == 2 {
                // Whatever it is at.
                ground.corner.delete(&name, Some(1)).await?;
            } else {
                stay.push(name);
            }
        }
        let name = format!("last{round}");
        let uid = ground.corner.create(idle(&ground, &name)).await?.uid().context("no UID")?;
        last = Some(name);
        // In the middle of what it does with the others.
        within(CONVERGED, "it was made", || async { Ok(ground.fake().made().contains_key(&uid).then_some(())) })
            .await?;
        ground.corner.host.kill()?;
        ground = ground.restarted()?;
    }
    stay.extend(last);
    within(CONVERGED, "all that should be there run, and no other is there", || async {
        let pods = ground.corner.pods().list(&kube::api::ListParams::default()).await?.items;
        let there: Vec<String> = pods.iter().map(|pod| format!("{} {}", pod.name_any(), phase(pod))).collect();
        ensure!(pods.len() == stay.len() && there.iter().all(|pod| pod.ends_with(" Running")), "{there:?}");
        Ok(Some(()))
    })
    .await?;
    for name in &stay {
        made(&ground, name, 1).await?;
    }
    until_all_went_wrong(&ground).await?;
    end(&ground, &others).await
}
