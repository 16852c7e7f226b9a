//! Gateways among themselves.

use std::sync::Arc;

use weft_model::ServiceKey;
use weft_model::fixture::name;
use weft_plan::catalog::Knowledge;

use super::{EU, US, checkout, endpoint, gateway, join, sidecar, start, until};
use crate::catalog::CatalogHandle;

#[tokio::test]
async fn a_link_that_breaks_resumes_by_its_hash() {
    let us = start(US, "gw", None).0;
    let eu = gateway(EU, "gw", None, None).await;
    let sidecar = sidecar(EU, &[&eu], None);
    sidecar.register(endpoint(EU, 1));
    let current = |us: &CatalogHandle| {
        let view = us.view();
        let current = view.knowledge(&name(EU), &checkout()) == Knowledge::Current;
        let service = view.service(&checkout());
        (current && service.is_some_and(|s| s.ready().count() == 1)).then_some(())
    };
    for _ in 0..3 {
        let linked = join(&eu.handle, &us);
        until("current", || current(&us)).await;
        linked.abort();
        until("stale", || {
            let view = us.view();
            matches!(view.knowledge(&name(EU), &checkout()), Knowledge::Stale(_)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_not_exported_does_not_leave_its_cluster() {
    let us = start(US, "gw", None).0;
    let eu = gateway(EU, "gw", None, None).await;
    let second = start(EU, "gw-2", None).0;
    let here = sidecar(EU, &[&eu], None);
    let mut cart = endpoint(EU, 1);
    cart.service = name("shop/cart");
    here.register(cart);
    here.register(endpoint(EU, 2));
    let _links = [join(&eu.handle, &us), join(&eu.handle, &second)];
    let cart: ServiceKey = name("shop/cart");
    until("its own cluster knows", || {
        second.view().service(&cart).map(|_| ())
    })
    .await;
    until("others know what is exported", || {
        us.view().service(&checkout()).map(|_| ())
    })
    .await;
    assert!(us.view().service(&cart).is_none());
    let digest = until("a digest", || {
        let view = us.view();
        let digest = Arc::clone(&view.liveness(&name(EU))?.digest);
        (digest.ready(&checkout()) == 1).then_some(digest)
    })
    .await;
    assert_eq!(digest.ready(&cart), 0);
    until("a local service", || {
        here.table().load().service(&cart).map(|_| ())
    })
    .await;
}
