//! Sidecars and their gateway decide by the same facts.

use std::sync::Arc;
use std::time::Duration;

use weft_decide::{Place, ServiceRoutes, ServiceTable};
use weft_model::fixture::{cluster_spec, export, name};
use weft_model::{AppProtocol, Command, Federation, Health, OnStale, ServiceType};

use super::{EU, US, endpoint, gateway, join, sidecar, surroundings, until, writable};
use crate::catalog::{CatalogHandle, Surroundings};
use crate::scene::{Reach, Scene, service_table};

/// The gateway's own table, for the same place as the sidecar's.
fn own_table(gateway: &CatalogHandle, place: &Place) -> ServiceTable {
    let (surroundings, view) = (gateway.surroundings(), gateway.view());
    let scene = Scene {
        federation: &surroundings.federation,
        catalog: &view,
        reach: &surroundings.reach,
        silence: surroundings.silence,
        place,
    };
    service_table(&scene, None)
}

fn services(table: &ServiceTable) -> Vec<Arc<ServiceRoutes>> {
    table.services().cloned().collect()
}

/// Every endpoint of shop/checkout and what stands against it, if anything.
fn told(table: &ServiceTable) -> String {
    let Some(routes) = table.service(&super::checkout()) else {
        return "no such service".into();
    };
    let port = routes.ports()[0].port.port;
    let verdict = |view: &Arc<weft_decide::EndpointView>| {
        let refused = view.admit(port, routes.identities()).err();
        let refused = refused.map_or("takes work".to_owned(), |why| why.to_string());
        format!("{}: {refused}", view.endpoint.id.0[0])
    };
    let endpoints: Vec<_> = routes.endpoints().iter().map(verdict).collect();
    endpoints.join(", ")
}

/// The fixture's federation after `commands` of eu-west-1, us-east-1 or an administrator.
fn after(commands: Vec<(u64, Command)>) -> Federation {
    let mut log = writable();
    for (author, command) in commands {
        let author = match author {
            0 => log.admin(),
            node => log.gateway(node),
        };
        log.accept(author, command);
    }
    log.state
}

fn offered(on_stale: OnStale) -> Command {
    let mut spec = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
    spec.on_stale = on_stale;
    Command::PutExport(name(EU), super::checkout(), Box::new(spec))
}

#[tokio::test]
async fn a_sidecar_and_its_gateway_have_one_table() {
    let (us, eu) = (
        gateway(US, "gw", None, None).await,
        gateway(EU, "gw", None, None).await,
    );
    let there = sidecar(EU, &[&eu], None);
    there.register(endpoint(EU, 3));
    let here = sidecar(US, &[&us], None);
    let _linked = join(&us.handle, &eu.handle);
    here.register(endpoint(US, 1));
    let mut sick = endpoint(US, 2);
    sick.health = Health::NotReady;
    here.register(sick);
    let mut cart = endpoint(US, 4);
    cart.service = name("shop/cart");
    here.register(cart);
    let place = here.table().load().place().clone();
    let mut drained = cluster_spec("eu-west");
    drained.drain = true;
    let lapse = || (1, Command::LapseLease(name(EU)));
    let mut unreached = surroundings(after(vec![]));
    unreached.reach = Reach::default();
    let mut silent = surroundings(after(vec![(2, offered(OnStale::Fail)), lapse()]));
    silent.silence = Duration::from_secs(11);
    let cases: Vec<(&str, Surroundings)> = vec![
        ("takes work", surroundings(after(vec![]))),
        ("no tunnel to its cluster is up", unreached),
        (
            "its cluster is drained",
            surroundings(after(vec![(
                0,
                Command::PutCluster(name(EU), Box::new(drained)),
            )])),
        ),
        (
            "its cluster's lease lapsed",
            surroundings(after(vec![(2, offered(OnStale::Drain)), lapse()])),
        ),
        (
            "takes work",
            surroundings(after(vec![(2, offered(OnStale::Serve)), lapse()])),
        ),
        ("takes work", silent),
    ];
    for (expect, surroundings) in cases {
        us.handle.set_surroundings(surroundings);
        let expect = format!("1: takes work, 2: its health checks fail, 3: {expect}");
        until(&expect, || {
            let (sidecars, own) = (here.table().load_full(), own_table(&us.handle, &place));
            (told(&own) == expect && services(&sidecars) == services(&own)).then_some(())
        })
        .await;
        let table = here.table().load_full();
        assert!(table.service(&name("shop/cart")).is_some());
        assert!(services(&table).len() > 2);
    }
}
