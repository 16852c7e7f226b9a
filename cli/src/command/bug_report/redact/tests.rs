use super::*;

/// What no report may have in it, whatever stands around it.
const CANARY: &str = "canary7Qx9";

fn check(text: &str, expect: &str) {
    assert_eq!(redact(text).0, expect, "{text}");
}

#[test]
fn no_canary_gets_through() {
    let hex = "c0ffee00".repeat(8);
    let hidden = [
        format!("joined with wj1.{CANARY}_-abc.def"),
        format!("\"token\":\"we1.{CANARY}\""),
        format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"),
        format!(
            "{{\"key\":\"-----BEGIN PRIVATE KEY-----\\n{CANARY}\\n-----END PRIVATE KEY-----\\n\"}}"
        ),
        format!("-----BEGIN EC PRIVATE KEY-----\n{CANARY} and then the log was cut"),
        format!("passphrase: {CANARY}"),
        format!("  password = \"two words {CANARY}\""),
        format!("{{\"signingSeed\": \"{CANARY}\", \"a\": 1}}"),
        format!("Authorization: Bearer {CANARY}"),
        format!("authorization=\"Basic {CANARY}\" status=200"),
        format!("cookie: session={CANARY}; more={CANARY}"),
        format!("{{\"set-cookie\":\"id={CANARY}; Path=/\"}}"),
        format!("{{\\\"x-api-key\\\": \\\"{CANARY}\\\"}}"),
        format!("api_key={CANARY} took=3ms"),
        format!("GET http://ana:{CANARY}@shop/ 200"),
        format!("url=https://shop.example/pay?card={CANARY}&x=1 status=200"),
        format!("{{\"set\":[{{\"name\":\"x-secret-thing\",\"value\":\"{CANARY}\"}}]}}"),
        format!("keyFile: /home/{CANARY}/gw.key"),
        format!("{{\"passphraseFile\":\"/etc/{CANARY}/phrase\"}}"),
    ];
    for text in hidden {
        let (kept, counts) = redact(&text);
        assert!(!kept.contains(CANARY), "{text}\n{kept}");
        assert!(counts.total() > 0, "{text}");
    }
    let (kept, counts) = redact(&format!("seed {hex}"));
    assert_eq!((kept.as_str(), counts.keys), ("seed [REDACTED]", 1));
}

#[test]
fn what_helps_stays() {
    for text in [
        "weft_tunnel_up{cluster=\"eu-west-1\",gateway=\"gw-1\"} 1\n",
        "2026-03-01T14:02:11Z INFO a health check turned address=127.1.0.10 ready=false\n",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "name: checkout\nspec: { exportTo: ['*'] }\n",
        "{\"items\":[{\"name\":\"a\",\"ready\":3}]}",
        "spiffe://eu-west-1.fed.example.org/ns/shop/sa/checkout",
        "http://checkout.shop/path",
        "",
    ] {
        check(text, text);
        assert_eq!(redact(text).1, Counts::default(), "{text}");
    }
}

#[test]
fn what_is_taken_out_leaves_its_place() {
    check("token wj1.abc end", "token wj1.[REDACTED] end");
    check("keyFile: /home/ana/gw.key", "keyFile: gw.key");
    check("passphrase: a, port: 1", "passphrase: [REDACTED], port: 1");
    check("http://a:b@h/p?q", "http://[REDACTED]@h/p?[REDACTED]");
    check("http://h/p?to=a@b", "http://h/p?[REDACTED]");
    let (_, counts) = redact("wj1.a we1.b passphrase: c");
    assert_eq!(counts.to_string(), "2 tokens, 1 secrets");
}

#[test]
fn redacting_twice_changes_nothing_more() {
    let once = redact("token=wj1.abc cookie: a=b; c=d").0;
    assert_eq!(redact(&once).0, once);
}
