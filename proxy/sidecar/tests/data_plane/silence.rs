//! What requests do when the gateways between go away: by and by, at once, or without a word.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use weft_model::EndpointId;
use weft_proto::peer::{RelayStream, relay_stream};
use weft_proxy::{RelaySession, SessionId};

use crate::app;
use crate::client::{call, get, request, text};
use crate::world::{Side, World, remote, unique, until, within};

/// What a gateway does with what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Carries,
    /// It says that it has connected, and keeps everything that follows.
    Deaf,
    /// It keeps everything, and says nothing.
    Silent,
    /// Every connection breaks.
    Cut,
}

/// A gateway as its sidecar sees it.
struct Gateway {
    session: Arc<RelaySession>,
    path: watch::Sender<Path>,
    /// Connections accepted so far.
    accepted: Arc<AtomicUsize>,
    /// Those that are open.
    open: Arc<AtomicUsize>,
    /// How often their clients said something.
    said: Arc<AtomicUsize>,
}

impl Gateway {
    /// Carries connections to the endpoints of `servers`.
    async fn to(servers: &[&Side]) -> Self {
        let known: BTreeMap<EndpointId, SocketAddr> = servers
            .iter()
            .map(|server| (server.endpoint().id, server.addresses.inbound))
            .collect();
        let path = watch::Sender::new(Path::Carries);
        let [accepted, open, said] = [(); 3].map(|()| Arc::<AtomicUsize>::default());
        let counts = [&accepted, &open, &said].map(Arc::clone);
        let watched = path.clone();
        let address = app::tcp(move |mut stream| {
            let [accepted, open, said] = counts.clone();
            accepted.fetch_add(1, Ordering::SeqCst);
            open.fetch_add(1, Ordering::SeqCst);
            let (known, watched) = (known.clone(), watched.subscribe());
            async move {
                let _ = relay(&mut stream, &known, watched, &said).await;
                open.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await;
        let session = RelaySession::new(address, SessionId(unique()), &[7; 32]);
        Self {
            session: Arc::new(session),
            path,
            accepted,
            open,
            said,
        }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn relay(
    stream: &mut TcpStream,
    known: &BTreeMap<EndpointId, SocketAddr>,
    mut path: watch::Receiver<Path>,
    said: &AtomicUsize,
) -> std::io::Result<()> {
    let length = stream.read_u16().await?;
    let mut frame = vec![0; usize::from(length)];
    stream.read_exact(&mut frame).await?;
    let _ = path.wait_for(|path| *path != Path::Silent).await;
    let header = RelayStream::decode(&frame[24..frame.len() - 32]).unwrap();
    let Some(relay_stream::Target::Endpoint(id)) = header.target else {
        panic!("{header:?}");
    };
    let to = known[&EndpointId::from_slice(&id).unwrap()];
    let mut onward = TcpStream::connect(to).await?;
    stream.write_u8(0).await?;
    let (from_client, to_client) = stream.split();
    let (from_server, to_server) = onward.split();
    let answered = AtomicUsize::new(0);
    let both = async {
        tokio::join!(
            pass(from_client, to_server, path.clone(), said),
            pass(from_server, to_client, path.clone(), &answered)
        )
    };
    let mut cut = path.clone();
    tokio::select! {
        _ = both => {}
        _ = cut.wait_for(|path| *path == Path::Cut) => {}
    }
    Ok(())
}

fn carries(path: &Path) -> bool {
    !matches!(path, Path::Deaf | Path::Silent)
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut path: watch::Receiver<Path>,
    pieces: &AtomicUsize,
) -> std::io::Result<()> {
    let mut piece = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut piece).await?;
        pieces.fetch_add(1, Ordering::SeqCst);
        let _ = path.wait_for(carries).await;
        match read {
            0 => return to.shutdown().await,
            read => to.write_all(&piece[..read]).await?,
        }
    }
}

/// An app that holds what it is asked first until it is let go, and counts.
#[derive(Clone, Default)]
struct Holding {
    asked: Arc<AtomicUsize>,
    arrived: Arc<Notify>,
    go: Arc<Notify>,
}

impl Holding {
    async fn start(&self) -> SocketAddr {
        let app = self.clone();
        app::http(move |_| {
            let first = app.asked.fetch_add(1, Ordering::SeqCst) == 0;
            let app = app.clone();
            async move {
                if first {
                    app.arrived.notify_one();
                    app.go.notified().await;
                }
                let text = if first { "first" } else { "later" };
                http::Response::new(app::full(text))
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_session_ends_is_left_and_nothing_is_cut() {
    let world = World::new();
    let app = Holding::default();
    let server = world.remote_server(app.start().await, "http");
    let client = world.client();
    client.sees([remote(server.endpoint())]);
    let (leaving, staying) = (Gateway::to(&[&server]).await, Gateway::to(&[&server]).await);
    client.relays.store(vec![Arc::clone(&leaving.session)]);
    let outbound = client.addresses.outbound;
    let held = tokio::spawn(call(outbound, request("POST", "/", "")));
    within("the request's arrival", app.arrived.notified()).await;

    // While there is no other gateway, the connection is all there is.
    client.relays.store(Vec::new());
    assert_eq!(text(get(outbound).await).await, "later");
    assert_eq!(leaving.open(), 1);

    client.relays.store(vec![Arc::clone(&staying.session)]);
    within("what is new goes by the other", async {
        while staying.accepted() == 0 {
            assert_eq!(text(get(outbound).await).await, "later");
        }
    })
    .await;
    assert_eq!((leaving.accepted(), staying.accepted()), (1, 1));
    assert_eq!(leaving.open(), 1, "the first request is under way still");
    app.go.notify_one();
    let answer = within("the first answer", held).await.unwrap();
    assert_eq!(text(answer).await, "first");
    until("the connection has ended by itself", || leaving.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_left_when_its_gateway_says_so() {
    let world = World::new();
    let server = world.remote_server(app::constant(200, "from afar").await, "http");
    let client = world.client();
    client.sees([remote(server.endpoint())]);
    let gateway = Gateway::to(&[&server]).await;
    client.relays.store(vec![Arc::clone(&gateway.session)]);
    let outbound = client.addresses.outbound;
    assert_eq!(get(outbound).await.status(), 200);
    gateway.session.leave(1);
    until("it has ended", || gateway.open() == 0).await;
    assert_eq!(get(outbound).await.status(), 200);
    assert_eq!(gateway.accepted(), 2);
}

/// Two endpoints behind one gateway that breaks: the connection of the first breaks
/// under a request, that of the second breaks the moment it is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_goes_by_no_connection_that_the_same_gateway_carried() {
    let world = World::new();
    let holding = Holding::default();
    let app = holding.start().await;
    let (one, two) = (
        world.remote_server(app, "http"),
        world.remote_server(app::constant(200, "later").await, "http"),
    );
    let client = world.client();
    let (dying, other) = (
        Gateway::to(&[&one, &two]).await,
        Gateway::to(&[&one, &two]).await,
    );
    client.relays.store(vec![Arc::clone(&dying.session)]);
    let outbound = client.addresses.outbound;
    client.sees([remote(two.endpoint())]);
    assert_eq!(get(outbound).await.status(), 200);
    client.sees([remote(one.endpoint())]);
    let held = tokio::spawn(get(outbound));
    within("the request's arrival", holding.arrived.notified()).await;
    assert_eq!(dying.open(), 2);

    client.sees([remote(one.endpoint()), remote(two.endpoint())]);
    client
        .relays
        .store(vec![Arc::clone(&dying.session), Arc::clone(&other.session)]);
    dying.path.send_replace(Path::Cut);
    let answer = within("the answer", held).await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// What becomes of a request under way when its gateway goes silent, with another one
/// there; and how often the app was asked.
async fn silenced(method: &str) -> (String, usize) {
    let world = World::new();
    let app = Holding::default();
    let server = world.remote_server(app.start().await, "http");
    let client = world.client();
    client.sees([remote(server.endpoint())]);
    let (silent, other) = (Gateway::to(&[&server]).await, Gateway::to(&[&server]).await);
    client.relays.store(vec![Arc::clone(&silent.session)]);
    let outbound = client.addresses.outbound;
    let held = tokio::spawn(call(outbound, request(method, "/", "")));
    within("the request's arrival", app.arrived.notified()).await;
    silent.path.send_replace(Path::Silent);
    client.relays.store(vec![
        Arc::clone(&silent.session),
        Arc::clone(&other.session),
    ]);
    // The session is still there, so nothing but the silence speaks against it.
    let answered = |client: &Side| {
        let text = client.metrics.text().unwrap();
        text.lines().any(|line| line == "weft_hedges_total 1")
    };
    if method == "GET" {
        until("it is asked elsewhere", || answered(&client)).await;
    } else {
        // What follows goes by the other gateway; what was sent stays where it is.
        for _ in 0..3 {
            assert_eq!(text(get(outbound).await).await, "later");
        }
        app.go.notify_one();
        silent.path.send_replace(Path::Carries);
    }
    let answer = within("the answer", held).await.unwrap();
    (text(answer).await, app.asked.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_asked_elsewhere_when_its_path_goes_silent() {
    assert_eq!(silenced("GET").await, ("later".to_owned(), 2));
}

/// Its far gateway was killed after it had connected, before the handshake was over.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_goes_silent_is_done_by_another_gateway() {
    let world = World::new();
    let server = world.remote_server(app::constant(200, "from afar").await, "http");
    let client = world.client();
    client.sees([remote(server.endpoint())]);
    let (deaf, other) = (Gateway::to(&[&server]).await, Gateway::to(&[&server]).await);
    deaf.path.send_replace(Path::Deaf);
    client
        .relays
        .store(vec![Arc::clone(&deaf.session), Arc::clone(&other.session)]);
    // Nothing was sent yet, so it may be asked elsewhere, whatever it is.
    let asked = call(client.addresses.outbound, request("POST", "/", "body"));
    let answer = timeout(SOON, asked).await.expect("an answer in time");
    assert_eq!(answer.status(), 200);
    assert_eq!((deaf.accepted(), other.accepted()), (1, 1));
}

/// Before all the time for a connection is over.
const SOON: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_repeated_waits_and_what_follows_goes_elsewhere() {
    let (answer, _) = silenced("POST").await;
    assert_eq!(answer, "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_takes_its_time_is_asked_once() {
    let world = World::new();
    let app = Holding::default();
    let server = world.remote_server(app.start().await, "http");
    let client = world.client();
    client.sees([remote(server.endpoint())]);
    let gateway = Gateway::to(&[&server]).await;
    client.relays.store(vec![Arc::clone(&gateway.session)]);
    let held = tokio::spawn(get(client.addresses.outbound));
    within("the request's arrival", app.arrived.notified()).await;
    // Each time the far sidecar answers the question whether it lives.
    let said = gateway.said.load(Ordering::SeqCst);
    let asked = || gateway.said.load(Ordering::SeqCst) >= said + 4;
    until("it was asked for signs of life", asked).await;
    app.go.notify_one();
    let answer = within("the answer", held).await.unwrap();
    assert_eq!(text(answer).await, "first");
    assert_eq!(app.asked.load(Ordering::SeqCst), 1);
    assert_eq!(gateway.accepted(), 1);
}
