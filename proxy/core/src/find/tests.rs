use weft_model::{Health, Index};

use super::*;
use crate::fixture::{endpoint, id, place, remote, routes};

fn table() -> ServiceTable {
    let routes = routes([
        endpoint(1),
        endpoint(2).health(Health::NotReady),
        remote(endpoint(3), "us-east-1", "us-east", 80),
    ]);
    ServiceTable::new(place(), Index(1), [Arc::new(routes)])
}

fn head(authority: &str) -> RequestHead<'_> {
    RequestHead {
        method: "GET",
        authority,
        path: "/",
        port_default: NonZeroU16::new(80).unwrap(),
        headers: NO_HEADERS,
    }
}

#[test]
fn a_request_finds_its_service_and_port() {
    let table = table();
    let route = find(&table, &head("checkout.shop.svc.clusterset.local:8080")).unwrap();
    assert_eq!(route.service.key().to_string(), "shop/checkout");
    assert_eq!(route.number().get(), 8080);
    assert_eq!(
        find(&table, &head("checkout.shop")).unwrap_err(),
        Reason::NoSuchPort
    );
    assert_eq!(
        find(&table, &head("basket.shop:8080")).unwrap_err(),
        Reason::NoRoute
    );
    assert!(find(&table, &head("240.0.0.7:8080")).is_ok());
}

#[test]
fn each_candidate_says_why_it_is_refused() {
    let table = table();
    let explain = |host: &str, ejected: Option<EndpointId>| -> Vec<_> {
        let route = find(&table, &head(host)).unwrap();
        let backend = route.backend(&table, &mut Rng::seeded(1)).unwrap();
        backend
            .candidates(&table, Lane::Any, |id| Some(id) == ejected)
            .map(|(_, verdict)| verdict.map(|level| matches!(level, Level::SameZone)))
            .collect()
    };
    assert_eq!(
        explain("checkout.shop:8080", None),
        [Ok(true), Err(EndpointRefusal::NotReady), Ok(false)]
    );
    assert_eq!(
        explain(
            "checkout.shop.svc.us-east.region.weft.internal:8080",
            Some(id(3))
        ),
        [
            Err(EndpointRefusal::OutOfScope),
            Err(EndpointRefusal::NotReady),
            Err(EndpointRefusal::Ejected)
        ]
    );
}
