//! What operators ask and order, with any field changed to what nobody would write: an answer or a
//! refusal that says why, and no panic.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

mod support;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::{config, now};
use tempfile::tempdir;
use tonic::{Code, Request, Response, Status};
use weft_gateway::Gateway;
use weft_gateway::admin::AdminService;
use weft_gateway::api::Caller;
use weft_gateway::membership::found;
use weft_model::fixture::{name, release, route};
use weft_model::{Author, Command, Generation, RequestId, ServiceKey, SignerEpoch};
use weft_mutants::mutate;
use weft_proto::api::admin_server::Admin;
use weft_proto::api::{AskRequest, IssueWorkloadTokenRequest, PutRequest, TapRequest};
use weft_registry::{Draft, Proposal};

/// How many of each.
const MUTANTS: u64 = 60;

/// Each question, with arguments that read.
fn questions() -> Vec<(&'static str, Value)> {
    let past = json!({ "index": 3 });
    let then = json!({ "timeMs": now().0 });
    let key = ServiceKey::new(name("shop"), name("web"));
    let spec = json!(release("web"));
    vec![
        ("status", json!({ "asOf": past })),
        ("services", json!({ "asOf": then })),
        (
            "route-explain",
            json!({ "method": "GET", "url": "http://web.shop/cart?x=1", "headers": ["a: b"] }),
        ),
        (
            "route-explain",
            json!({ "method": "GET", "url": "http://web.shop/", "headers": [], "asOf": past }),
        ),
        (
            "dns-explain",
            json!({ "name": "web.shop.svc.clusterset.local.", "type": "A" }),
        ),
        ("endpoints", json!({ "service": "shop/web" })),
        (
            "top-services",
            json!({ "service": "shop/web", "from": "r", "windowMs": 60_000 }),
        ),
        (
            "top-regions",
            json!({ "service": "shop/web", "windowMs": 60_000 }),
        ),
        ("edges", json!({ "from": "eu", "windowMs": 60_000 })),
        (
            "versions",
            json!({ "service": "shop/web", "windowMs": 60_000 }),
        ),
        ("netcheck", json!({ "peer": null })),
        ("ping", json!({ "service": "shop/web", "port": 80 })),
        ("events", json!({ "after": 2 })),
        ("events", json!({ "sinceMs": 1, "asOf": past })),
        ("events", json!({ "agoMs": 1_000, "asOf": then })),
        (
            "history",
            json!({ "kind": "ServiceExport", "namespace": "shop", "name": "web", "cluster": "eu" }),
        ),
        ("revert", json!({ "index": 4 })),
        ("releases", json!({ "namespace": "shop" })),
        (
            "release",
            json!({ "name": "web", "namespace": "shop", "from": "r", "windowMs": 60_000 }),
        ),
        ("release-plan", json!({ "release": key, "spec": spec })),
        (
            "release-explain",
            json!({ "name": "web", "namespace": "shop", "from": "r", "client": "ana" }),
        ),
        (
            "release-who",
            json!({ "name": "web", "namespace": "shop", "client": "ana" }),
        ),
        (
            "release-clamp",
            json!({ "name": "web", "namespace": "shop", "from": "r" }),
        ),
        ("tokens", json!({ "asOf": past })),
    ]
}

/// What a gateway signs itself, as it is put.
fn resources() -> [(&'static str, Value); 2] {
    let resource = |kind: &str, name: &str, spec: Value| {
        let metadata = json!({ "namespace": "shop", "name": name });
        json!({ "apiVersion": "weft.dev/v1", "kind": kind, "metadata": metadata, "spec": spec })
    };
    let ports = json!([{ "name": "http", "port": 80, "appProtocol": "http" }]);
    let export = json!({ "ports": ports, "exportTo": ["*"] });
    let entry = json!({
        "service": "web", "version": "v1", "serviceAccount": "web", "address": "10.0.0.7",
        "ports": { "http": 8080 },
    });
    [
        ("ServiceExport", resource("ServiceExport", "web", export)),
        ("WorkloadEntry", resource("WorkloadEntry", "web-1", entry)),
    ]
}

/// Orders that the administrator signs, so that there is something to ask about.
fn orders() -> [Command; 2] {
    [
        Command::PutRoute(name("shop"), name("web"), Box::new(route("web"))),
        Command::PutRelease(
            ServiceKey::new(name("shop"), name("web")),
            Box::new(release("web")),
        ),
    ]
}

/// What nobody would write.
fn odd(rng: &mut SmallRng) -> Value {
    let deep = (0..100).fold(json!(0), |inner, _| json!([inner]));
    [
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(1e308),
        json!(""),
        json!("*"),
        json!("../../x"),
        json!("a\u{0}b\r\nc: d"),
        json!("é\u{202e}\u{1f980}"),
        json!("x".repeat(70_000)),
        json!("http://[::1]:99999/%zz"),
        json!("584542046y"),
        json!([]),
        json!({}),
        json!([{ "": null }]),
        deep,
    ]
    .choose(rng)
    .unwrap()
    .clone()
}

/// Changes a field somewhere within, more often than not to a value of its own kind.
fn alter(rng: &mut SmallRng, value: &mut Value) {
    let inner: Vec<&mut Value> = match value {
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    if !inner.is_empty() && rng.random_bool(0.9) {
        let at = rng.random_range(0..inner.len());
        return alter(rng, inner.into_iter().nth(at).unwrap());
    }
    let kind = std::mem::discriminant(&*value);
    let alike = rng.random_bool(0.7);
    *value = loop {
        let odd = odd(rng);
        if !alike || std::mem::discriminant(&odd) == kind {
            break odd;
        }
    };
}

/// The bytes of a document with a field changed, and now and then the bytes themselves.
fn mutant(rng: &mut SmallRng, sample: &Value) -> Vec<u8> {
    let mut value = sample.clone();
    alter(rng, &mut value);
    let mut bytes = value.to_string().into_bytes();
    if rng.random_bool(0.1) {
        mutate(rng, &mut bytes, b"{}");
    }
    bytes
}

struct Asker {
    service: Arc<AdminService>,
    caller: Caller,
}

impl Asker {
    /// Whether it is answered. A panic, silence and a refusal without a reason fail.
    async fn call<Q, A, F>(
        &self,
        what: &str,
        request: Q,
        call: impl FnOnce(Arc<AdminService>, Request<Q>) -> F,
    ) -> bool
    where
        Q: Debug,
        A: Send + 'static,
        F: Future<Output = Result<Response<A>, Status>> + Send + 'static,
    {
        let said = format!("{what} {request:?}");
        let said = said.get(..2_000).unwrap_or(&said);
        let mut request = Request::new(request);
        request.extensions_mut().insert(self.caller.clone());
        let call = tokio::spawn(call(self.service.clone(), request));
        let answered = tokio::time::timeout(Duration::from_secs(60), call).await;
        let answered = answered.unwrap_or_else(|_| panic!("no answer to {said}"));
        match answered.unwrap_or_else(|panic| panic!("{panic}: {said}")) {
            Ok(_) => true,
            Err(status) => {
                let reasoned = !matches!(status.code(), Code::Internal | Code::Unknown);
                assert!(reasoned, "{status:?}: {said}");
                false
            }
        }
    }

    async fn ask(&self, question: &str, json: Vec<u8>) -> bool {
        let request = AskRequest {
            question: question.to_owned(),
            json: json.into(),
        };
        let ask = |service: Arc<AdminService>, it| async move { service.ask(it).await };
        self.call(question, request, ask).await
    }

    async fn tap(&self, json: Vec<u8>) -> bool {
        let request = TapRequest { json: json.into() };
        let tap = |service: Arc<AdminService>, it| async move { service.tap(it).await };
        self.call("tap", request, tap).await
    }

    async fn issue(&self, word: &str, ttl_ms: u64) -> bool {
        let request = IssueWorkloadTokenRequest {
            namespace: word.to_owned(),
            account: word.to_owned(),
            ttl_ms,
        };
        let issue =
            |service: Arc<AdminService>, it| async move { service.issue_workload_token(it).await };
        self.call("a token", request, issue).await
    }

    async fn put(&self, kind: &str, json: Vec<u8>, dry_run: bool) -> bool {
        let request = PutRequest {
            kind: kind.to_owned(),
            resource_json: json.into(),
            dry_run,
            ..PutRequest::default()
        };
        let put = |service: Arc<AdminService>, it| async move { service.put(it).await };
        self.call(kind, request, put).await
    }
}

/// Has a document taken as it is, and then changed.
async fn check<F: Future<Output = bool>>(what: &str, sample: &Value, say: impl Fn(Vec<u8>) -> F) {
    assert!(
        say(sample.to_string().into_bytes()).await,
        "{what} as it is: {sample}"
    );
    let mut taken = 0;
    for seed in 0..MUTANTS {
        let mut rng = SmallRng::seed_from_u64(seed);
        taken += u64::from(say(mutant(&mut rng, sample)).await);
    }
    assert!(taken < MUTANTS, "{what}: is anything checked?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mutant_of_a_question_or_an_order_panics_a_gateway() {
    let dir = tempdir().unwrap();
    let config = config(dir.path(), [78, 1], "eu", "gw-1", "");
    let (_, admin) = found(&config, name("fed.example.org"), name("ana"), now()).unwrap();
    let gateway = Gateway::start(config).await.unwrap();
    let asker = Asker {
        service: Arc::new(AdminService::new(gateway.hub().clone())),
        caller: Caller(Some(Arc::new(admin.svid.id().clone()))),
    };
    for (kind, sample) in resources() {
        assert!(
            asker
                .put(kind, sample.to_string().into_bytes(), false)
                .await
        );
        check(kind, &sample, |json| asker.put(kind, json, true)).await;
    }
    for (order, command) in (1..).zip(orders()) {
        let draft = Draft {
            request: RequestId(u128::to_be_bytes(order)),
            author: Author::Operator(admin.user.clone(), SignerEpoch::FIRST),
            by_order_of: None,
            generation: Generation(u64::try_from(order).unwrap()),
            command,
        };
        let proposal = Proposal::sign(&admin.signing, &draft);
        gateway.hub().propose(proposal).await.unwrap();
    }
    for (question, sample) in questions() {
        check(question, &sample, |json| asker.ask(question, json)).await;
    }
    let tap = json!({
        "service": "shop/web", "from": "eu", "region": "r", "status": "5xx", "method": "GET",
        "path": "/cart*", "forMs": 1, "max": 1,
    });
    check("tap", &tap, |json| asker.tap(json)).await;
    for ttl_ms in [0, 1, u64::MAX] {
        for word in ["shop", "", "a/b", "\u{0}"] {
            asker.issue(word, ttl_ms).await;
        }
    }
    gateway.shutdown().await;
}
