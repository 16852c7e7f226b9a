//! What stays when a process dies or starts alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpListener;
use weft_model::fixture::name;
use weft_plan::catalog::{Freshness, Knowledge};
use weft_proxy::catalog as client;

use super::{
    EU, Gateway, PATIENCE, US, checkout, endpoint, gateway, join, ready, removed, sidecar, start,
    start_among, until, until_ready,
};
use crate::catalog::CatalogHandle;

#[tokio::test]
async fn a_restarted_gateway_keeps_the_set() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("catalog");
    let us = start(US, "gw", None).0;
    let first = gateway(EU, "gw", None, Some(state.clone())).await;
    let sidecars: Vec<_> = (1..=4).map(|_| sidecar(EU, &[&first], None)).collect();
    for (n, sidecar) in (1..).zip(&sidecars) {
        sidecar.register(endpoint(EU, n));
    }
    let linked = join(&first.handle, &us);
    let abroad = |us: &CatalogHandle| {
        let view = us.view();
        let service = view.service(&checkout()).cloned().unwrap_or_default();
        service.ready().map(|e| e.id.0[0]).collect::<Vec<_>>()
    };
    until("all abroad", || (abroad(&us) == [1, 2, 3, 4]).then_some(())).await;
    until_ready(&sidecars[0], &[1, 2, 3, 4]).await;
    let view = us.view();
    assert_eq!(view.knowledge(&name(EU), &checkout()), Knowledge::Current);
    assert!(
        view.service(&checkout())
            .unwrap()
            .endpoints
            .iter()
            .all(|e| e.address.is_none())
    );
    until("on disk", || state.exists().then_some(())).await;
    let digest = until("a digest", || {
        let view = us.view();
        let liveness = view.liveness(&name(EU))?.digest.ready(&checkout());
        (liveness == 4).then_some(liveness)
    });
    assert_eq!(digest.await, 4);

    // It dies as by SIGKILL: no word to anybody.
    linked.abort();
    let address = first.address.clone();
    let sessions = |s: &client::CatalogClient| s.status()[&address].sessions;
    drop(first);
    let second = until_bound(EU, &address, state).await;
    let relinked = join(&second.handle, &us);
    until("everybody back", || {
        assert_eq!(ready(&sidecars[0]), [1, 2, 3, 4]);
        assert_eq!(abroad(&us), [1, 2, 3, 4]);
        let back = second.handle.session_count() == 4;
        let settled = !second.handle.inner.state().catalog.is_recovering();
        (back && settled && sidecars.iter().all(|s| sessions(s) >= 2)).then_some(())
    })
    .await;
    let settled = tokio::time::Instant::now();
    until("past every grace", || {
        assert_eq!(ready(&sidecars[0]), [1, 2, 3, 4]);
        assert_eq!(abroad(&us), [1, 2, 3, 4]);
        (settled.elapsed() > Duration::from_millis(1500)).then_some(())
    })
    .await;
    relinked.abort();
}

/// A gateway at the address of one that just died.
async fn until_bound(cluster: &str, address: &str, state: PathBuf) -> Gateway {
    let began = tokio::time::Instant::now();
    loop {
        if let Ok(listener) = TcpListener::bind(address).await {
            drop(listener);
            return gateway(cluster, "gw", Some(address), Some(state)).await;
        }
        assert!(began.elapsed() < PATIENCE, "{address} stays in use");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_gateway_and_a_sidecar_that_start_alone_serve_the_last_known() {
    let folder = tempfile::tempdir().unwrap();
    let (of_gateway, of_sidecar) = (folder.path().join("gateway"), folder.path().join("sidecar"));
    {
        let us = start(US, "gw", Some(of_gateway.clone())).0;
        let eu = gateway(EU, "gw", None, None).await;
        let sidecar = sidecar(EU, &[&eu], Some(of_sidecar.clone()));
        sidecar.register(endpoint(EU, 1));
        let linked = join(&eu.handle, &us);
        until("on disk", || {
            let known = us.shown().view.service(&checkout()).is_some();
            (known && of_sidecar.exists()).then_some(())
        })
        .await;
        linked.abort();
    }
    let us = start(US, "gw", Some(of_gateway)).0;
    let view = us.view();
    assert_eq!(view.service(&checkout()).unwrap().ready().count(), 1);
    assert!(matches!(
        view.liveness(&name(EU)).unwrap().freshness,
        Freshness::Stale(_)
    ));
    let alone = sidecar(EU, &[], Some(of_sidecar));
    assert_eq!(ready(&alone), [1]);
}

/// The view on disk is from before the entry that removed a cluster; no entry follows.
#[tokio::test]
async fn a_gateway_that_starts_alone_shows_nothing_of_who_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("catalog");
    {
        let us = start(US, "gw", Some(state.clone())).0;
        let eu = gateway(EU, "gw", None, None).await;
        let sidecar = sidecar(EU, &[&eu], None);
        sidecar.register(endpoint(EU, 1));
        let linked = join(&eu.handle, &us);
        until("on disk", || us.shown().view.service(&checkout()).map(drop)).await;
        linked.abort();
    }
    let us = start_among(removed(EU), US, "gw", Some(state)).0;
    let view = us.view();
    assert!(view.liveness(&name(EU)).is_none());
    let service = view.service(&checkout());
    assert!(service.is_none_or(|service| service.endpoints.is_empty()));
}

/// The files as a crash would leave them now. The view last: it may be replaced meanwhile.
fn crash(folder: &Path) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    for file in ["catalog-changes.pb", "catalog.pb"] {
        fs::copy(folder.join(file), image.path().join(file)).unwrap();
    }
    image
}

#[tokio::test]
async fn what_names_were_told_is_found_after_a_crash_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("catalog.pb");
    let eu = gateway(EU, "gw", None, Some(state)).await;
    let sidecars: Vec<_> = (1..=8).map(|_| sidecar(EU, &[&eu], None)).collect();
    let shown = |handle: &CatalogHandle| {
        let view = handle.shown().view;
        let service = view.service(&checkout()).cloned().unwrap_or_default();
        service.ready().map(|e| e.id.0[0]).collect::<Vec<_>>()
    };
    let check = async |expect: Vec<u8>| {
        until(&format!("{expect:?}"), || {
            (shown(&eu.handle) == expect).then_some(())
        })
        .await;
        let image = crash(folder.path());
        let restarted = start(EU, "gw", Some(image.path().join("catalog.pb"))).0;
        assert_eq!(shown(&restarted), expect);
        assert!(!restarted.shown().ahead);
    };
    for (n, sidecar) in (1..).zip(&sidecars) {
        sidecar.register(endpoint(EU, n));
        check((1..=n).collect()).await;
    }
    for (n, sidecar) in (1..).zip(&sidecars) {
        sidecar.withdraw(PATIENCE).await;
        check((n + 1..=8).collect()).await;
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_holds_no_name_up() {
    let (handle, _) = start(EU, "gw", Some("/dev/null/catalog.pb".into()));
    let eu = gateway(EU, "gw-2", None, None).await;
    let sidecar = sidecar(EU, &[&eu], None);
    let linked = join(&eu.handle, &handle);
    sidecar.register(endpoint(EU, 1));
    until("shown", || {
        handle.shown().view.service(&checkout()).map(drop)
    })
    .await;
    assert!(handle.shown().ahead, "and it is said");
    assert!(
        !eu.handle.shown().ahead,
        "without a disk nothing is missing there"
    );
    linked.abort();
}
