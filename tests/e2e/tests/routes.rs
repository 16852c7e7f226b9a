//! Routes and traffic policies, applied and followed.

use anyhow::{Context, Result, ensure};
use weft_test_support::{Cases, Dev, SOON, Workload, command, eventually, isolated, run};

const ROUTE: &str = "\
apiVersion: weft.dev/v1
kind: Route
metadata: { namespace: shop, name: checkout }
spec:
  parentRefs: [{ name: checkout }]
  rules:
    - matches: [{ path: { value: /pay } }]
      filters:
        - type: URLRewrite
          urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: / } }
        - type: ResponseHeaderModifier
          responseHeaderModifier: { set: [{ name: x-routed, value: pay }] }
      backendRefs: [{ name: payments }]
    - matches: [{ path: { type: Exact, value: /old } }]
      filters:
        - type: RequestRedirect
          requestRedirect: { path: { type: ReplaceFullPath, replaceFullPath: /new }, statusCode: 301 }
    - matches: [{ headers: [{ name: x-only, value: here }] }]
      backendRefs: [{ name: checkout }]
";

const POLICY: &str = "\
apiVersion: weft.dev/v1
kind: TrafficPolicy
metadata: { namespace: shop, name: checkout }
spec:
  targetRef: { name: checkout }
  outlierDetection: { consecutive5xxErrors: 3 }
";

#[test]
fn a_route_is_followed_within_seconds() -> Result<()> {
    isolated("a_route_is_followed_within_seconds", || {
        Dev::with(&["--wan", "off"], |dev| {
            let web = dev.workload("us-east-1", "shop/web")?;
            eventually("the format level is in force", SOON, || {
                dev.apply("us-east-1", ROUTE)
            })?;
            let mut cases = Cases::default();
            cases.run("a rule sends requests to another service", || {
                another_service(dev, &web)
            });
            cases.run("a rule redirects", || redirect(&web));
            cases.run(
                "what no rule matches is answered 404 with its reason",
                || no_rule(&web),
            );
            cases.run("route explain says what curl sees", || explained(dev));
            cases.run("diff, get and delete", || managed(dev, &web));
            cases.run("a policy is taken", || policy(dev));
            cases.verdict()
        })
    })
}

/// An answer's head and body by curl through a sidecar.
fn curl(web: &Workload, path: &str, more: &[&str]) -> Result<String> {
    let proxy = format!("http://{}", web.outbound);
    let url = format!("http://checkout.shop{path}");
    let args = [
        "curl",
        "--silent",
        "--show-error",
        "--include",
        "--max-time",
        "20",
    ];
    run(command(args).args(["--proxy", &proxy]).args(more).arg(url))?.ok()
}

fn another_service(_: &Dev, web: &Workload) -> Result<()> {
    eventually("payments answers for checkout", SOON, || {
        let answer = curl(web, "/pay/42", &[])?;
        // The checkout's own answer tells of payments too, as of what it called.
        for part in [r#""service":"payments""#, "x-routed: pay"] {
            ensure!(answer.contains(part), "{part}: {answer}");
        }
        ensure!(!answer.contains(r#""service":"checkout""#), "{answer}");
        Ok(())
    })
}

fn redirect(web: &Workload) -> Result<()> {
    let answer = curl(web, "/old?q=1", &[])?;
    ensure!(answer.contains(" 301 "), "{answer}");
    ensure!(
        answer.contains("location: http://checkout.shop/new?q=1"),
        "{answer}"
    );
    Ok(())
}

fn no_rule(web: &Workload) -> Result<()> {
    let answer = curl(web, "/elsewhere", &[])?;
    for part in [
        " 404 ",
        "x-weft-reason: no_rule",
        "x-weft-response-flags: NR",
        "WEFT-4020",
    ] {
        ensure!(answer.contains(part), "{part}: {answer}");
    }
    let matched = curl(web, "/elsewhere", &["-H", "x-only: here"])?;
    ensure!(matched.contains(r#""service":"checkout""#), "{matched}");
    Ok(())
}

fn explained(dev: &Dev) -> Result<()> {
    let explain = |path: &str, more: &[&str]| {
        let url = format!("http://checkout.shop{path}");
        dev.weft(["route", "explain", "GET", &url].iter().chain(more))
    };
    let pay = explain("/pay/42", &[])?.ok()?;
    ensure!(
        pay.contains("shop/checkout rule 0: 100.0 % to shop/payments"),
        "{pay}"
    );
    let none = explain("/elsewhere", &[])?;
    ensure!(none.status.code() == Some(1), "{none:?}");
    ensure!(
        none.stdout
            .contains("header x-only does not have the value"),
        "{none:?}"
    );
    let only = explain("/elsewhere", &["-H", "x-only: here"])?.ok()?;
    ensure!(only.contains("shop/checkout rule 2"), "{only}");
    Ok(())
}

fn managed(dev: &Dev, web: &Workload) -> Result<()> {
    let got = dev
        .weft(["-n", "shop", "get", "routes", "checkout", "-o", "json"])?
        .ok()?;
    let got: serde_json::Value = serde_json::from_str(&got)?;
    let parent = got.pointer("/spec/parentRefs/0/name").context("a parent")?;
    ensure!(parent == "checkout", "{got}");
    let file = dev.scratch().join("route.yaml");
    std::fs::write(&file, ROUTE)?;
    let same = dev.weft(["diff", "-f", &file.display().to_string()])?;
    ensure!(same.status.code() == Some(0), "{same:?}");
    dev.weft(["-n", "shop", "delete", "route", "checkout"])?
        .ok()?;
    eventually("checkout answers itself again", SOON, || {
        let answer = curl(web, "/elsewhere", &[])?;
        ensure!(answer.contains(r#""service":"checkout""#), "{answer}");
        Ok(())
    })
}

fn policy(dev: &Dev) -> Result<()> {
    dev.apply("us-east-1", POLICY)?;
    let second = POLICY.replace("name: checkout }\nspec", "name: other }\nspec");
    let refused = dev
        .apply("us-east-1", &second)
        .expect_err("a second policy");
    ensure!(
        format!("{refused:#}").contains("has the policy"),
        "{refused:#}"
    );
    Ok(())
}
