//! Sidecars and their gateway decide by the same facts.

use std::sync::Arc;
use std::time::Duration;

use weft_decide::{Place, ServiceRoutes, ServiceTable};
use weft_model::fixture::{self, cluster_spec, export, name};
use weft_model::{
    Advance, AppProtocol, BasisPoints, Clamp, ClampId, Command, Federation, FormatLevel, Health,
    Index, OnStale, Percent, ReleaseEnd, ServiceType, Stage, WallTime,
};

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
        clamps: &surroundings.clamps,
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

/// The format level of releases, a route, a policy and a release.
fn routed() -> Vec<(u64, Command)> {
    let understood = |node: u8| {
        let mut record = fixture::gateway(node);
        record.format = FormatLevel::RELEASES;
        (node.into(), Command::PutGateway(record))
    };
    let mut commands: Vec<_> = (1..=3).map(understood).collect();
    commands.push((1, Command::RaiseFormat(FormatLevel::RELEASES)));
    let release = Box::new(fixture::release("checkout"));
    commands.push((0, Command::PutRelease(name("shop/v2"), release)));
    let (route, policy) = (
        fixture::route("checkout"),
        fixture::traffic_policy("checkout"),
    );
    let (shop, called) = (name("shop"), name("checkout"));
    commands.push((0, Command::PutRoute(shop, called, Box::new(route))));
    let (shop, called) = (name("shop"), name("checkout"));
    commands.push((0, Command::PutTrafficPolicy(shop, called, Box::new(policy))));
    commands
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
        ("takes work", surroundings(after(routed()))),
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
    let table = here.table().load_full();
    let checkout = table.service(&super::checkout()).unwrap();
    assert!(checkout.ports()[0].rules.is_some() && checkout.spec().policy.is_some());
    let release = checkout.spec().release.as_ref().unwrap();
    assert_eq!(
        (&release.key, release.weight),
        (&name("shop/v2"), BasisPoints::NONE)
    );
}

/// A clamp for callers of us-east.
fn clamp(federation: &Federation, percent: u8) -> Clamp {
    Clamp {
        id: ClampId([1; 16]),
        release: name("shop/v2"),
        run: federation.release(&name("shop/v2")).unwrap().created,
        region: name("us-east"),
        cluster: name(US),
        gateway: name("gw"),
        weight: Percent::new(percent).unwrap(),
        made: WallTime(1),
        by: name(fixture::ADMIN),
    }
}

/// Of two gateways the one that knows more of the log counts, of one log position the one with the
/// clamp; and what was lowered stays so when that one goes away.
#[tokio::test]
async fn a_weight_rises_only_by_the_log() {
    let first = gateway(US, "gw", None, None).await;
    let second = gateway(US, "gw-2", None, None).await;
    let here = sidecar(US, &[&first, &second], None);
    here.register(endpoint(US, 1));
    let advance = |run: Index, to: u16| {
        let (from, to) = (Stage::FIRST, Stage(to));
        Command::AdvanceRelease(name("shop/v2"), Advance { run, from, to })
    };
    let started = after(routed());
    let run = started.release(&name("shop/v2")).unwrap().created;
    let mut commands = routed();
    commands.push((0, advance(run, 4)));
    let quarter = after(commands.clone());
    let weighs = async |percent: Option<u8>| {
        let expect = percent.map(|percent| BasisPoints::from(Percent::new(percent).unwrap()));
        until(&format!("{expect:?}"), || {
            let table = here.table().load_full();
            let service = table.service(&super::checkout())?;
            let release = service.spec().release.as_ref();
            (release.map(|release| release.weight) == expect).then_some(())
        })
        .await;
    };
    let tell = |gateway: &super::Gateway, federation: &Federation, clamps: &[Clamp]| {
        let mut surroundings = surroundings(federation.clone());
        surroundings.clamps = clamps.into();
        gateway.handle.set_surroundings(surroundings);
    };
    weighs(None).await;
    tell(&first, &started, &[]);
    weighs(Some(0)).await;
    tell(&second, &quarter, &[]);
    weighs(Some(25)).await;
    tell(&first, &quarter, &[clamp(&quarter, 10)]);
    weighs(Some(10)).await;
    // Without its clamp it says more again, and nobody has committed that.
    let marker = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
    let marker = Command::PutExport(name(US), name("shop/marker"), Box::new(marker));
    commands.push((1, marker));
    for gateway in [&first, &second] {
        tell(gateway, &after(commands.clone()), &[]);
    }
    until("the marker", || {
        let table = here.table().load_full();
        table.service(&name("shop/marker")).map(|_| ())
    })
    .await;
    weighs(Some(10)).await;
    let lift = Command::ResumeRelease(name("shop/v2"), vec![ClampId([1; 16])]);
    commands.push((0, lift));
    tell(&second, &after(commands.clone()), &[]);
    weighs(Some(25)).await;
    let abort = Command::EndRelease(name("shop/v2"), ReleaseEnd::Abort);
    let delete = Command::DeleteRelease(name("shop/v2"));
    commands.extend([(0, abort), (0, delete)]);
    tell(&first, &after(commands), &[]);
    weighs(None).await;
}
