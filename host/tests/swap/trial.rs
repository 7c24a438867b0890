//! A build that fails in its first moments: taken back, or kept and told of.

use std::sync::Arc;
use std::time::Duration;

use vk_host::plugin::Plugin;
use vk_host::plugin::swap::{Counts, Outcome};
use vk_host::provider::{Call, Code, Deletion, Provider as _};

use crate::common::{create, pod};
use crate::place::{Place, mock, next, other_bytes, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_traps_is_taken_back_with_what_it_kept() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    place.configure("[faults]\nget-pods = \"trap\"\n");
    place.trap_until("it is taken back", || !place.version().ends_with("-next")).await;
    place.configure("");
    assert_eq!(place.plugin.get_pods().await.unwrap().len(), 1, "of the copy of the store");
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, rolled_back: 1, ..Counts::default() });
    let told = place.last_told();
    assert!(matches!(told, Outcome::RolledBack { traps: 5.., .. }), "{told}");
    assert_eq!(told.reason(), "PluginRolledBack");
    // The file still has it: somebody has to ask.
    assert!(place.reload().await.is_success() && place.version().ends_with("-next"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_traps_is_taken_back_once_and_what_it_made_stays() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    let digest = |place: &Place| match place.last_told() {
        Outcome::Replaced { to, .. } | Outcome::RolledBack { to, .. } => to.digest,
        told => panic!("{told}"),
    };
    place.put(&other_bytes(&std::fs::read(mock()).unwrap()));
    assert!(place.reload().await.is_success());
    let trapping = digest(&place);
    // It makes pods and does not list them. The state has the same version, so that the build before knows them.
    create(&place.plugin, "q", &[]).await.unwrap();
    place.configure("[faults]\nget-pods = \"trap\"\n");
    place.trap_until("it is taken back", || place.plugin.swaps().rolled_back == 1).await;
    assert_ne!(digest(&place), trapping);
    // The one before fails alike, and stays: there is none before it.
    for _ in 0..20 {
        assert_eq!(place.plugin.get_pods().await.unwrap_err().code, Code::Internal);
    }
    place.put(b"broken");
    // One attempt comes after the other: had it been taken back, it would be by now.
    assert!(!place.reload().await.is_success());
    place.configure("");
    assert_eq!(place.plugin.get_pods().await.unwrap().len(), 2);
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, rolled_back: 1, refused: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_has_made_pods_for_another_state_stays_and_is_told_of_once() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    create(&place.plugin, "q", &[]).await.unwrap();
    place.configure("[faults]\nget-pods = \"trap\"\n");
    place.trap_until("it is told of", || place.plugin.swaps().failing > 0).await;
    let told = place.last_told();
    assert!(matches!(told, Outcome::Failing { traps: 5.., .. }), "{told}");
    assert_eq!(told.reason(), "PluginFailing");
    assert!(told.to_string().contains("0.1.0-next") && told.to_string().contains("it has made, changed"), "{told}");
    for _ in 0..20 {
        assert_eq!(place.plugin.get_pods().await.unwrap_err().code, Code::Internal);
    }
    let outcome = place.reload().await;
    assert!(matches!(outcome, Outcome::Unchanged { .. }), "{outcome}");
    place.configure("");
    assert_eq!(place.plugin.get_pods().await.unwrap().len(), 2, "none is lost");
    assert!(place.version().ends_with("-next"));
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, failing: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_answers_some_and_traps_on_others_stays() {
    let place = Place::new().await;
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    create(&place.plugin, "p", &[]).await.unwrap();
    for _ in 0..20 {
        let error = create(&place.plugin, "t", &[("create-fault", "trap")]).await.unwrap_err();
        assert_eq!(error.code, Code::Internal);
    }
    let outcome = place.reload().await;
    assert!(matches!(outcome, Outcome::Unchanged { .. }), "{outcome}");
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, ..Counts::default() });
}

/// Traps often enough to be taken back while a call is under way that ends before it is; returns that call's answer.
async fn taken_back_late<T: Send + 'static>(place: &Place, late: impl AsyncFnOnce(Arc<Plugin>) -> T) -> T {
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    place.configure("[faults]\nget-pods = \"trap\"\n");
    let plugin = Arc::clone(&place.plugin);
    let traps = async {
        until("it runs", || async { place.plugin.running_calls() == 1 }).await;
        for _ in 0..5 {
            assert_eq!(place.plugin.get_pods().await.unwrap_err().code, Code::Internal);
        }
        place.configure("");
    };
    tokio::join!(late(plugin), traps).0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_deletes_a_pod_while_it_is_being_taken_back_stays() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[("delete-fault", "late deaf for=2s")]).await.unwrap();
    let id = pod("p", &[]).id;
    let delete = async |plugin: Arc<Plugin>| {
        plugin.delete_pod(Call::uncancelled(), &id, None, Some(Duration::ZERO)).await.unwrap()
    };
    assert_eq!(taken_back_late(&place, delete).await, Deletion::Gone);
    until("it is told of", || async { place.plugin.swaps().failing > 0 }).await;
    let told = place.last_told();
    assert!(told.to_string().contains("deleted pods"), "{told}");
    assert!(place.version().ends_with("-next"));
    assert_eq!(place.plugin.get_pods().await.unwrap(), [], "what is gone does not come back");
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, failing: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_answers_while_it_is_being_taken_back_stays_on_trial() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[("get-fault", "late deaf for=2s")]).await.unwrap();
    let id = pod("p", &[]).id;
    let look = async |plugin: Arc<Plugin>| plugin.get_pod(&id).await.unwrap();
    assert!(taken_back_late(&place, look).await.is_some());
    // One attempt comes after the other: had it been taken back, it would be by now.
    assert!(matches!(place.reload().await, Outcome::Unchanged { .. }));
    assert!(place.version().ends_with("-next"));
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, ..Counts::default() });
    place.configure("[faults]\nget-pods = \"trap\"\n");
    place.trap_until("it is taken back", || !place.version().ends_with("-next")).await;
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, rolled_back: 1, ..Counts::default() });
}
