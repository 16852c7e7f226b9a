//! What a sidecar makes of a release.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use weft_decide::{EndpointView, ReleaseView};
use weft_model::{BasisPoints, Health, Index, Percent, spec_from_json};

use crate::app;
use crate::client::{HOST, call, get, head, header, request, text};
use crate::world::{PORT, Side, World, closed_port, local, route, unique, until, within};

const BETA: &str = r#"{"match":[{"headers":[{"name":"x-beta","value":"1"}]}]}"#;
const STICKY: &str = r#"{"stickiness":{"by":"Header","name":"x-user-id"}}"#;

/// A release of v2 that gives it so much.
fn release(audience: &str, percent: u8) -> ReleaseView {
    ReleaseView {
        key: "shop/checkout-v2".parse().unwrap(),
        run: Index(7),
        generation: Index(9),
        stable: "v1".parse().unwrap(),
        canary: "v2".parse().unwrap(),
        weight: BasisPoints::from(Percent::new(percent).unwrap()),
        audience: Arc::new(spec_from_json(audience.as_bytes()).unwrap()),
    }
}

/// Its only endpoint under this version label.
fn labelled(side: &Side, version: &str) -> EndpointView {
    let mut endpoint = side.endpoint();
    endpoint.version = Some(version.parse().unwrap());
    local(endpoint)
}

/// The same where nothing listens.
fn gone(view: &EndpointView) -> EndpointView {
    let mut view = view.clone();
    view.endpoint.address = Some(closed_port());
    view.endpoint.id.0 = unique();
    view
}

/// A client, and servers of v1, v2 and v3.
struct Three {
    client: Side,
    servers: Vec<Side>,
}

impl Three {
    fn of(world: &World, apps: [SocketAddr; 3], protocol: &str) -> Self {
        Self {
            client: world.client(),
            servers: apps.map(|app| world.server(app, protocol)).into(),
        }
    }

    /// Each answers with its version.
    async fn answering() -> Self {
        let apps = [
            app::constant(200, "v1").await,
            app::constant(200, "v2").await,
            app::constant(200, "v3").await,
        ];
        Self::of(&World::new(), apps, "http")
    }

    /// Each says its version's number, then echoes.
    async fn speaking() -> Self {
        let apps = [speaker(1).await, speaker(2).await, speaker(3).await];
        Self::of(&World::new(), apps, "tcp")
    }

    fn endpoints(&self) -> Vec<EndpointView> {
        let sides = self.servers.iter().zip(["v1", "v2", "v3"]);
        sides
            .map(|(side, version)| labelled(side, version))
            .collect()
    }

    fn sees(&self, release: ReleaseView) {
        self.sees_of(self.endpoints(), release);
    }

    fn sees_of(&self, endpoints: Vec<EndpointView>, release: ReleaseView) {
        self.client
            .sees_as(endpoints, |spec| spec.release = Some(release));
    }

    /// Who answers a request with these fields.
    async fn answers(&self, fields: &[(&'static str, &str)]) -> String {
        let mut asked = request("GET", "/", "");
        for (name, value) in fields {
            asked.headers_mut().insert(*name, value.parse().unwrap());
        }
        let answer = call(self.client.addresses.outbound, asked).await;
        assert_eq!(answer.status(), 200);
        text(answer).await
    }
}

async fn speaker(version: u8) -> SocketAddr {
    app::tcp(move |mut stream| async move {
        let _ = stream.write_u8(version).await;
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audience_alone_meets_the_canary() {
    let three = Three::answering().await;
    three.sees(release(BETA, 100));
    for _ in 0..20 {
        assert_eq!(three.answers(&[("x-beta", "1")]).await, "v2");
        assert_eq!(three.answers(&[("x-beta", "0")]).await, "v1");
        assert_eq!(three.answers(&[]).await, "v1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_keep_their_version_as_the_weight_grows() {
    let three = Three::answering().await;
    let mut met: Vec<bool> = vec![false; 40];
    for percent in [0, 10, 50, 100] {
        three.sees(release(STICKY, percent));
        for (number, met) in met.iter_mut().enumerate() {
            let user = format!("user-{number}");
            let first = three.answers(&[("x-user-id", &user)]).await;
            assert_eq!(three.answers(&[("x-user-id", &user)]).await, first);
            assert!(
                !*met || first == "v2",
                "{user} left the cohort at {percent}"
            );
            *met = first == "v2";
        }
        let count = met.iter().filter(|met| **met).count();
        assert!(percent != 0 || count == 0);
        assert!(percent != 100 || count == met.len());
        assert_eq!(three.answers(&[]).await, "v1", "no key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_drawn_by_the_weight_until_an_abort() {
    let three = Three::answering().await;
    three.sees(release("{}", 50));
    let mut met = 0;
    for _ in 0..400 {
        let by = three.answers(&[]).await;
        assert_ne!(by, "v3");
        met += u32::from(by == "v2");
    }
    // Six standard deviations.
    assert!((140..=260).contains(&met), "{met} of 400");
    three.sees(release("{}", 0));
    for _ in 0..100 {
        assert_eq!(three.answers(&[]).await, "v1");
    }
    // Without a release every version serves.
    three.client.sees(three.endpoints());
    let mut seen = BTreeSet::new();
    // One that was slow is not asked again for a while.
    within("an answer of each", async {
        while seen.len() < 3 {
            seen.insert(three.answers(&[]).await);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canary_falls_back_and_the_stable_version_never_does() {
    let three = Three::answering().await;
    let endpoints = three.endpoints();
    // The canary cannot be reached: its requests go to the stable version.
    let unreached = vec![endpoints[0].clone(), gone(&endpoints[1])];
    three.sees_of(unreached, release("{}", 100));
    assert_eq!(three.answers(&[]).await, "v1");
    let mut ill = endpoints[1].clone();
    ill.endpoint.health = Health::NotReady;
    three.sees_of(vec![endpoints[0].clone(), ill], release("{}", 100));
    assert_eq!(three.answers(&[]).await, "v1");
    // The stable version cannot be reached, or has nobody.
    let unreached = vec![gone(&endpoints[0]), endpoints[1].clone()];
    three.sees_of(unreached, release("{}", 0));
    let answer = get(three.client.addresses.outbound).await;
    assert_eq!(answer.status(), 503);
    three.sees_of(endpoints[1..].to_vec(), release("{}", 0));
    let answer = get(three.client.addresses.outbound).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(header(&answer, "x-weft-reason"), "no_endpoints");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_to_the_canary_finishes_after_an_abort() {
    let (arrived, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = {
        let (arrived, finish) = (Arc::clone(&arrived), Arc::clone(&finish));
        app::http(move |_| {
            let (arrived, finish) = (Arc::clone(&arrived), Arc::clone(&finish));
            async move {
                arrived.notify_one();
                finish.notified().await;
                http::Response::new(app::full("v2"))
            }
        })
        .await
    };
    let v1 = app::constant(200, "v1").await;
    let three = Three::of(&World::new(), [v1, held, v1], "http");
    three.sees(release("{}", 100));
    let outbound = three.client.addresses.outbound;
    let under_way = tokio::spawn(async move { text(get(outbound).await).await });
    within("the request", arrived.notified()).await;
    three.sees(release("{}", 0));
    assert_eq!(three.answers(&[]).await, "v1");
    finish.notify_one();
    assert_eq!(within("the answer", under_way).await.unwrap(), "v2");
}

/// An app that counts its requests.
async fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let app = app::http(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { http::Response::new(app::full("counted")) }
    });
    (app.await, hits)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_a_route_and_a_mirror_keep_to_the_lane() {
    let ((stable, at_stable), (canary, at_canary)) = (counting().await, counting().await);
    let three = Three::of(&World::new(), [stable, canary, stable], "http");
    let rule = r#"[{"filters":[{"type":"RequestMirror","requestMirror":
        {"backendRef":{"name":"checkout"}}}],"backendRefs":[{"name":"checkout"}]}]"#;
    let ruled = three.endpoints()[..2].to_vec();
    three.client.sees_as(ruled, |spec| {
        spec.routes.extend(route(rule));
        spec.release = Some(release(BETA, 100));
    });
    three.answers(&[]).await;
    until("the copy", || at_stable.load(Ordering::SeqCst) == 2).await;
    assert_eq!(at_canary.load(Ordering::SeqCst), 0);
    three.answers(&[("x-beta", "1")]).await;
    until("the copy", || at_canary.load(Ordering::SeqCst) == 2).await;
    assert_eq!(at_stable.load(Ordering::SeqCst), 2);
}

/// Opens a connection to the local port of the service; says who answered.
async fn opened(client: &Side) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(client.addresses.upstreams[0])
        .await
        .unwrap();
    let by = within("the app's word", stream.read_u8()).await.unwrap();
    (stream, by)
}

async fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"x").await.unwrap();
    assert_eq!(within("the echo", stream.read_u8()).await.unwrap(), b'x');
}

async fn is_cut(stream: &mut TcpStream) {
    let error = within("the cut", stream.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_cuts_the_canarys_connections_and_no_others() {
    let three = Three::speaking().await;
    three.sees(release("{}", 0));
    let (mut stable, by) = opened(&three.client).await;
    assert_eq!(by, 1);
    three.sees(release("{}", 100));
    let (mut canary, by) = opened(&three.client).await;
    assert_eq!(by, 2);
    // Raised or lowered, it goes on while anybody here may meet the canary.
    for percent in [5, 50] {
        three.sees(release("{}", percent));
        echoes(&mut canary).await;
    }
    three.sees(release("{}", 0));
    is_cut(&mut canary).await;
    echoes(&mut stable).await;
    let (mut next, by) = opened(&three.client).await;
    assert_eq!(by, 1);
    // A later rise gives the canary connections again, which last.
    three.sees(release("{}", 100));
    let (mut canary, by) = opened(&three.client).await;
    assert_eq!(by, 2);
    for stream in [&mut canary, &mut stable, &mut next] {
        echoes(stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_stable_where_the_audience_is_told_by_requests() {
    for audience in [BETA, STICKY] {
        let three = Three::speaking().await;
        three.sees(release(audience, 100));
        for _ in 0..5 {
            assert_eq!(opened(&three.client).await.1, 1, "{audience}");
        }
    }
}

/// Opens a tunnel by CONNECT; says who answered.
async fn tunnelled(client: &Side) -> (TcpStream, u8) {
    let ask = format!("CONNECT {HOST}:{PORT} HTTP/1.1\r\nhost: {HOST}:{PORT}\r\n\r\n");
    asked(client, &ask, "HTTP/1.1 200").await
}

async fn asked(client: &Side, ask: &str, granted: &str) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    stream.write_all(ask.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    assert!(answer.starts_with(granted), "{answer}");
    let by = within("the app's word", stream.read_u8()).await.unwrap();
    (stream, by)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_cuts_tunnels() {
    let three = Three::speaking().await;
    three.sees(release("{}", 100));
    let (mut canary, by) = tunnelled(&three.client).await;
    assert_eq!(by, 2);
    echoes(&mut canary).await;
    three.sees(release("{}", 0));
    is_cut(&mut canary).await;
    assert_eq!(tunnelled(&three.client).await.1, 1);
}

/// Grants every upgrade, says its version's number, then echoes.
async fn upgrading(version: u8) -> SocketAddr {
    app::tcp(move |stream| async move {
        let mut stream = BufReader::new(stream);
        let _head = head(&mut stream).await;
        let granted =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
        let _ = stream.write_all(granted.as_bytes()).await;
        let _ = stream.write_u8(version).await;
        let (mut read, mut write) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_cuts_upgrades() {
    let apps = [upgrading(1).await, upgrading(2).await, upgrading(3).await];
    let three = Three::of(&World::new(), apps, "http");
    three.sees(release(BETA, 100));
    let ask = format!(
        "GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: chat\r\nx-beta: 1\r\n\r\n"
    );
    let (mut stream, by) = asked(&three.client, &ask, "HTTP/1.1 101").await;
    assert_eq!(by, 2);
    echoes(&mut stream).await;
    three.sees(release(BETA, 0));
    is_cut(&mut stream).await;
}
