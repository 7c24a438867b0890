//! All of it at once: of what is asked about groups much is refused, lost, late or garbled, and the host is killed
//! again and again.

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::{phase, within};

use super::others::Others;
use super::{CONVERGED, LIST, OPERATIONS, end, ground, idle, made, refuse, throttle};

/// The host is killed so often.
const KILLS: usize = 3;
/// Between two of its ends so many pods come, of which the third goes again.
const PODS: usize = 6;

/// What goes wrong: with which requests, and with the how manieth of them.
fn faults(namespace: &str) -> Vec<Fault> {
    let groups = format!("/containerGroups/{namespace}-");
    let busy = || refuse(409, "ContainerGroupTransitioning", "It is transitioning.");
    let broken = || refuse(500, "InternalServerError", "Sorry.");
    let creates = [
        (1, How::LoseAnswer),
        (2, throttle(None)),
        (4, busy()),
        (5, How::BreakBody),
        (7, How::Delay(700)),
        (9, How::Malformed),
        (10, How::LoseRequest),
        (12, How::HoldAnswer),
        (14, How::SlowOperation(3000)),
        (15, How::BreakConnection),
        (16, How::LoseAnswer),
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
        (9, broken()),
        (15, How::BreakBody),
        (22, throttle(Some(1))),
        (30, How::LoseAnswer),
        (37, How::Delay(700)),
        (44, How::LoseRequest),
        (52, How::Malformed),
        (61, How::Delay(2000)),
        (70, How::BreakBody),
        (80, How::BreakConnection),
    ];
    let others =
        [(2, How::Malformed), (5, How::LoseAnswer), (9, broken()), (14, How::BreakBody), (18, How::BreakConnection)];
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

#[tokio::test]
#[ignore = "in a namespace"]
async fn in_a_storm_with_a_host_that_dies_again_and_again_no_pod_is_lost_and_none_is_made_twice() -> Result<()> {
    let mut ground = ground("storm").await?;
    let others = Others::beside(&ground).await?;
    for fault in faults(&ground.corner.namespace) {
        ground.fake().fault(fault);
    }
    let mut stay = Vec::new();
    for round in 0..KILLS {
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
        let last = ground.corner.create(idle(&ground, &name)).await?.uid().context("no UID")?;
        stay.push(name);
        // In the middle of what it does with the others.
        within(CONVERGED, "it was made", || async { Ok(ground.fake().made().contains_key(&last).then_some(())) })
            .await?;
        ground.corner.host.kill()?;
        ground = ground.restarted()?;
    }
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
    end(&ground, &others).await
}
