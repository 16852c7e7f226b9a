use super::*;

fn check(spec: &str, expect: Result<(), &str>) {
    let parsed: Result<RouteSpec, String> =
        serde_json::from_str(spec).map_err(|error| error.to_string());
    let checked = parsed.and_then(|spec| spec.check());
    match expect {
        Ok(()) => assert_eq!(checked, Ok(()), "{spec}"),
        Err(part) => {
            let problem = checked.expect_err(spec);
            assert!(problem.contains(part), "{spec}: {problem}");
        }
    }
}

/// A route with one rule.
fn rule(rule: &str) -> String {
    format!(r#"{{"parentRefs":[{{"name":"checkout"}}],"rules":[{rule}]}}"#)
}

const TO_ITSELF: &str = r#""backendRefs":[{"name":"checkout"}]"#;

#[test]
fn what_is_enforced_is_taken() {
    check(&rule(&format!("{{{TO_ITSELF}}}")), Ok(()));
    check(
        &rule(&format!(
            r#"{{"matches":[{{"path":{{"type":"Exact","value":"/a"}},"method":"GET",
                "headers":[{{"name":"x-beta","value":"1"}}],
                "queryParams":[{{"name":"q","value":"1"}}]}}],
               "filters":[{{"type":"RequestHeaderModifier","requestHeaderModifier":
                {{"set":[{{"name":"x-a","value":"1"}}],"remove":["x-b"]}}}}],
               "timeouts":{{"request":"2s","backendRequest":"500ms"}},
               "retry":{{"codes":[503],"attempts":2,"backoff":"50ms"}},{TO_ITSELF}}}"#
        )),
        Ok(()),
    );
    check(
        &rule(
            r#"{"filters":[{"type":"RequestRedirect","requestRedirect":
              {"path":{"type":"ReplacePrefixMatch","replacePrefixMatch":"/new"},"statusCode":301}}]}"#,
        ),
        Ok(()),
    );
}

#[test]
fn what_is_not_enforced_is_refused_by_name() {
    let matching = |part: &str| rule(&format!(r#"{{"matches":[{part}],{TO_ITSELF}}}"#));
    check(
        &matching(r#"{"path":{"type":"RegularExpression","value":"/a.*"}}"#),
        Err("RegularExpression"),
    );
    check(
        &matching(r#"{"headers":[{"type":"RegularExpression","name":"a","value":"b"}]}"#),
        Err("RegularExpression"),
    );
    check(
        &rule(&format!(r#"{{"sessionPersistence":{{}},{TO_ITSELF}}}"#)),
        Err("sessionPersistence"),
    );
    check(
        r#"{"parentRefs":[{"kind":"Gateway","name":"edge"}],"rules":[]}"#,
        Err("Gateway"),
    );
    check(
        &rule(&format!(r#"{{"filters":[{{"type":"CORS"}}],{TO_ITSELF}}}"#)),
        Err("CORS"),
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    check(
        r#"{"parentRefs":[],"rules":[]}"#,
        Err("parentRefs is empty"),
    );
    check(
        r#"{"parentRefs":[{"name":"a"}],"rules":[]}"#,
        Err("rules is empty"),
    );
    check(&rule("{}"), Err("backendRefs is empty"));
    let path = |path: &str| {
        rule(&format!(
            r#"{{"matches":[{{"path":{{"value":"{path}"}}}}],{TO_ITSELF}}}"#
        ))
    };
    for odd in ["a", "/a//b", "/a/../b", "/a/.", "/a%2Fb", "/a?b", "/a b"] {
        check(&path(odd), Err("rules[0]: path"));
    }
    for name in [
        "host",
        "Content-Length",
        "weft-service",
        "x_forwarded_for",
        "transfer-encoding",
    ] {
        let filter = format!(
            r#"{{"filters":[{{"type":"RequestHeaderModifier","requestHeaderModifier":
               {{"set":[{{"name":"{name}","value":"1"}}]}}}}],{TO_ITSELF}}}"#
        );
        check(&rule(&filter), Err("cannot be modified"));
    }
    check(
        &rule(&format!(
            r#"{{"timeouts":{{"request":"1s","backendRequest":"2s"}},{TO_ITSELF}}}"#
        )),
        Err("longer than timeouts.request"),
    );
    check(
        &rule(&format!(r#"{{"retry":{{"codes":[200]}},{TO_ITSELF}}}"#)),
        Err("400 to 599"),
    );
    check(
        &rule(&format!(
            r#"{{"matches":[{{"path":{{"type":"Exact","value":"/a"}}}}],
               "filters":[{{"type":"URLRewrite","urlRewrite":{{"path":
               {{"type":"ReplacePrefixMatch","replacePrefixMatch":"/b"}}}}}}],{TO_ITSELF}}}"#
        )),
        Err("PathPrefix"),
    );
}

#[test]
fn a_route_is_written_as_it_was_read() {
    let text = rule(
        r#"{"filters":[{"type":"URLRewrite","urlRewrite":{"path":{"type":"ReplaceFullPath","replaceFullPath":"/b"}}}],"backendRefs":[{"kind":"Service","name":"checkout","weight":1}]}"#,
    );
    let spec: RouteSpec = serde_json::from_str(&text).unwrap();
    let written = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<RouteSpec>(&written).unwrap(), spec);
    assert!(written.contains(r#""type":"URLRewrite""#), "{written}");
}
