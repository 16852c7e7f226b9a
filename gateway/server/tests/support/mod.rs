//! What tests with whole gateways in one process share.

use std::path::Path;
use std::time::SystemTime;

use weft_gateway::config::GatewayConfigFile;
use weft_model::WallTime;

/// Gateway `cluster/gateway` at addresses of its own, 127.NET.NUMBER.1.
pub(crate) fn config(
    dir: &Path,
    [net, number]: [u8; 2],
    cluster: &str,
    gateway: &str,
    more: &str,
) -> GatewayConfigFile {
    let at = format!("127.{net}.{number}.1");
    let state = dir.join(format!("{number}"));
    let text = format!(
        r#"{{"apiVersion":"weft.dev/v1","kind":"GatewayConfig","metadata":{{"name":"{gateway}"}},
        "spec":{{"cluster":"{cluster}","region":"r","stateDir":"{}","drain":"1s","workers":1,
        "tunnel":{{"bind":"{at}:7443"}},"api":{{"bind":"{at}:7444"}},
        "relay":{{"bind":"{at}:7445"}},"dns":{{"bind":"{at}:8653"}},
        "console":{{"bind":"{at}:7480"}},"virtualIPs":{{"ipv4":"240.{number}.0.0/16"}},
        "standIn":{{"clients":false,"inbound":{{"bind":"{at}:7446"}}}}{more}}}}}"#,
        state.display()
    );
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn now() -> WallTime {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    WallTime(u64::try_from(since.as_millis()).unwrap())
}
