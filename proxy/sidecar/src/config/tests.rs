use serde_json::json;

use super::*;

fn file() -> serde_json::Value {
    json!({
        "apiVersion": "weft.dev/v1",
        "kind": "SidecarConfig",
        "spec": {
            "workload": { "namespace": "shop", "serviceAccount": "checkout" },
            "gateways": ["127.0.0.1:7444"],
            "enrolment": { "token": "secret-token" },
            "stateDir": "/var/lib/weft",
            "inbound": { "bind": "127.0.0.1:15006" },
            "upstreams": [{ "service": "shop/db", "port": 5432, "bind": "127.0.0.1:5432" }],
            "services": [{
                "name": "checkout",
                "version": "v1",
                "ports": [{ "name": "http", "port": 80, "appPort": 8080, "protocol": "http" }],
                "checks": [{ "http": { "port": 8080, "path": "/healthz" } }],
            }],
        },
    })
}

fn read(edit: impl FnOnce(&mut serde_json::Value)) -> Result<Config, ConfigError> {
    let mut value = file();
    edit(&mut value["spec"]);
    Config::try_from(serde_json::from_value::<SidecarConfig>(value).unwrap())
}

#[test]
fn a_file_becomes_a_config_with_defaults() {
    let config = read(|_| {}).unwrap();
    assert_eq!(config.outbound.to_string(), "127.0.0.1:15001");
    assert_eq!(config.advertised.to_string(), "127.0.0.1:15006");
    assert_eq!(config.services[0].key.to_string(), "shop/checkout");
    assert_eq!(config.services[0].ports[0].app_port.get(), 8080);
    assert_eq!(config.services[0].weight, 100);
    assert_eq!(config.http, Timeouts::default());
}

#[test]
fn times_are_written_as_durations_and_never_nothing() {
    let set = |value: &'static str| {
        read(move |spec| spec["http"] = json!({ "bodyTimeout": value })).map(|c| c.http)
    };
    let http = set("90s").unwrap();
    assert_eq!(http.body, Duration::from_secs(90));
    assert_eq!(http.answer, Timeouts::default().answer);
    assert_eq!(set("0s"), Err(ConfigError::Timeout("bodyTimeout")));
}

#[test]
fn an_unknown_field_is_an_error() {
    let mut value = file();
    value["spec"]["services"][0]["port"] = json!(1);
    let error = serde_json::from_value::<SidecarConfig>(value).unwrap_err();
    assert!(error.to_string().contains("unknown field `port`"));
}

#[test]
fn each_mistake_names_its_field() {
    let check = |edit: fn(&mut serde_json::Value), expect: &str| {
        let error = read(edit).unwrap_err().to_string();
        assert!(error.contains(expect), "{error:?} lacks {expect:?}");
    };
    check(
        |spec| spec["inbound"] = json!({ "bind": "0.0.0.0:15006" }),
        "spec.inbound.advertised",
    );
    check(|spec| spec["gateways"][0] = json!("gw"), "spec.gateways[0]");
    check(|spec| spec["enrolment"] = json!({}), "exactly one of token");
    check(
        |spec| spec["services"][0]["ports"] = json!([]),
        "shop/checkout has no ports",
    );
    check(
        |spec| {
            let service = spec["services"][0].clone();
            spec["services"].as_array_mut().unwrap().push(service);
        },
        "listed twice",
    );
    check(
        |spec| spec["services"][0]["checks"] = json!([{}]),
        "exactly one of http, grpc and tcp",
    );
    check(
        |spec| spec["admin"] = json!("127.0.0.1:15001"),
        "127.0.0.1:15001 is bound twice",
    );
}

#[test]
fn a_config_never_shows_its_token() {
    let shown = format!("{:?}", read(|_| {}).unwrap());
    assert!(!shown.contains("secret-token"));
}
