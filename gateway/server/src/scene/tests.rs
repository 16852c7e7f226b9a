use std::time::Duration;

use weft_model::fixture::{Log, export, federation, name};
use weft_model::{AppProtocol, Author, Command, ExportTo, NodeId};
use weft_plan::Moment;
use weft_plan::catalog::{Catalog, Epoch, Interest, SessionId, Timing};

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::sync::Arc;

use weft_decide::{EndpointView, Locality, PathState, Place, ServiceTable};
use weft_model::{Endpoint, Federation, ServiceType, WorkloadEntrySpec};
use weft_plan::catalog::CatalogView;

use super::*;

const US: &str = "us-east-1";
const EU: &str = "eu-west-1";

fn place() -> Place {
    Place {
        cluster: name(US),
        region: name("us-east"),
        zone: None,
    }
}

/// A catalog of us-east-1 with an endpoint of shop/checkout there and one in eu-west-1.
fn catalog(federation: &Federation) -> Arc<CatalogView> {
    let now = Moment::default();
    let mut catalog = Catalog::new(name(US), name("gw"), Epoch([1; 16]), Timing::default(), now);
    let local = endpoint(US, 1);
    let session = SessionId([1; 16]);
    catalog.open_session(session, local.identity.clone(), now);
    catalog.put(session, local, federation, now).unwrap();
    catalog.open_peer(&name(EU), &name("gw"), Epoch([2; 16]), false, now);
    catalog.peer_snapshot(&name(EU), Epoch([2; 16]), Interest::Everything);
    assert!(catalog.peer_attests(&name(EU), Epoch([2; 16]), endpoint(EU, 2)));
    catalog.refresh().0
}

fn endpoint(cluster: &str, n: u8) -> Endpoint {
    let mut endpoint = crate::standin::fixture::endpoint(n, weft_model::Health::Ready);
    endpoint.cluster = name(cluster);
    endpoint.identity = name(&format!(
        "spiffe://{cluster}.{}/ns/shop/sa/checkout",
        weft_model::fixture::DOMAIN
    ));
    endpoint.sequence = 1;
    endpoint
}

fn reach() -> Reach {
    let mut reach = Reach::default();
    reach.add(name(EU), Duration::from_millis(80));
    reach
}

fn table(federation: &Federation, reach: &Reach, previous: Option<&ServiceTable>) -> ServiceTable {
    let (catalog, place) = (catalog(federation), place());
    let scene = Scene {
        federation,
        catalog: &catalog,
        reach,
        silence: Duration::ZERO,
        clamps: &[],
        place: &place,
    };
    service_table(&scene, previous)
}

/// Each endpoint's path, or none if it is local.
fn paths(table: &ServiceTable) -> Vec<(u8, Option<PathState>)> {
    let service = table.service(&name("shop/checkout")).unwrap();
    let path = |view: &Arc<EndpointView>| match view.locality {
        Locality::Local => None,
        Locality::Remote { path, .. } => Some(path),
    };
    let endpoints = service.endpoints().iter();
    endpoints
        .map(|view| (view.endpoint.id.0[0], path(view)))
        .collect()
}

fn state(commands: impl IntoIterator<Item = (bool, Command)>) -> Federation {
    let mut log = Log::founded();
    log.join(2, EU);
    let http = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
    log.export(1, "shop/checkout", &http);
    log.export(2, "shop/checkout", &http);
    for (by_admin, command) in commands {
        let author: Author = if by_admin {
            log.admin()
        } else {
            log.gateway(2)
        };
        log.accept(author, command);
    }
    log.state
}

#[test]
fn services_have_their_addresses_and_identities() {
    let federation = state([(false, entry_of_checkout())]);
    let table = table(&federation, &reach(), None);
    let checkout = table.service(&name("shop/checkout")).unwrap();
    assert_eq!(checkout.virtual_ips()[0].to_string(), "240.0.0.1");
    let identities: Vec<String> = checkout
        .identities()
        .iter()
        .map(ToString::to_string)
        .collect();
    // Only eu-west-1 has an entry: nowhere else may a gateway stand in.
    let account = "ns/shop/sa/checkout";
    assert_eq!(
        identities,
        [
            format!("spiffe://{EU}.fed.example.org/{account}"),
            format!("spiffe://{EU}.fed.example.org/gateway/gw/for/{account}"),
            format!("spiffe://{US}.fed.example.org/{account}"),
        ]
    );
}

#[test]
fn a_headless_service_has_no_address() {
    let table = table(&federation(), &reach(), None);
    let orders = table.service(&name("data/orders")).unwrap();
    assert!(orders.spec().headless && orders.virtual_ips().is_empty());
}

fn entry_of_checkout() -> Command {
    let spec = WorkloadEntrySpec {
        service: name("checkout"),
        address: Ipv4Addr::LOCALHOST.into(),
        ports: [(name("http"), NonZeroU16::MIN)].into(),
        service_account: None,
        version: None,
        zone: None,
        weight: 100,
        checks: Vec::new(),
    };
    Command::PutWorkloadEntry(name(EU), name("shop"), name("checkout-1"), Box::new(spec))
}

#[test]
fn a_path_is_what_routing_may_use() {
    let check = |commands: Vec<(bool, Command)>, reach: &Reach, expect| {
        let federation = state(commands);
        assert_eq!(paths(&table(&federation, reach, None)), expect);
    };
    let remote = |path| vec![(1, None), (2, Some(path))];
    check(vec![], &reach(), remote(PathState::Up));
    check(vec![], &Reach::default(), remote(PathState::Down));
    let mut drained = weft_model::fixture::cluster_spec("eu-west");
    drained.drain = true;
    let drain = Command::PutCluster(name(EU), Box::new(drained));
    check(vec![(true, drain)], &reach(), remote(PathState::Draining));
    let mut hidden = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
    hidden.export_to = ExportTo::Clusters([name("ap-south-1")].into());
    let hide = Command::PutExport(name(EU), name("shop/checkout"), Box::new(hidden));
    check(vec![(false, hide)], &reach(), vec![(1, None)]);
    assert!(federation().node(NodeId(2)).is_some());
}

#[test]
fn what_did_not_change_is_shared() {
    let federation = federation();
    let before = table(&federation, &reach(), None);
    let same = table(&federation, &reach(), Some(&before));
    let down = table(&federation, &Reach::default(), Some(&before));
    let shared = |a: &ServiceTable, b: &ServiceTable, key: &str| {
        let of = |table: &ServiceTable| Arc::clone(table.service(&name(key)).unwrap());
        Arc::ptr_eq(&of(a), &of(b))
    };
    assert!(shared(&before, &same, "shop/checkout"));
    assert!(!shared(&before, &down, "shop/checkout"));
    assert!(shared(&before, &down, "shop/payments"));
}
