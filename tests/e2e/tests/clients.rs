//! Programs that nobody here wrote find and reach services in other regions.

use anyhow::{Result, ensure};
use weft_test_support::{Cases, Dev, SOON, command, eventually, isolated, run, use_resolver};

/// A name that means the same in every cluster.
const CHECKOUT: &str = "checkout.shop.svc.clusterset.local";
const PAYMENTS: &str = "payments.shop.svc.clusterset.local";

#[test]
fn programs_find_and_reach_services_everywhere() -> Result<()> {
    isolated("programs_find_and_reach_services_everywhere", || {
        Dev::with(&["--dns-port", "53"], |dev| {
            use_resolver("127.1.0.1")?;
            let mut cases = Cases::default();
            cases.run("dig finds a service's virtual IP", dig_finds_an_address);
            cases.run("dig finds a service's port", dig_finds_a_port);
            cases.run(
                "what is not there is denied, what has no such type is empty",
                dig_tells_why,
            );
            cases.run("glibc finds what dig finds", glibc_agrees);
            cases.run(
                "a gateway in another region has an address of its own",
                dig_elsewhere,
            );
            cases.run("curl by name, without a sidecar", curl_by_name);
            cases.run("curl through a sidecar crosses regions", || {
                curl_crosses(dev)
            });
            cases.run("a ceiling bounds what the nearest cluster draws", || {
                ceiling_holds(dev)
            });
            cases.run("a request crosses the whole shop in every region", || {
                shop_works(dev)
            });
            cases.run("the planted fault is found", || fault_is_found(dev));
            cases.run("route explain names the clusters that serve", || {
                route_is_explained(dev)
            });
            cases.run("dns explain gives the answer that dig gets", || {
                dns_is_explained(dev)
            });
            cases.run("every process reports health and metrics", || {
                all_report(dev)
            });
            cases.verdict()
        })
    })
}

fn dig(args: &[&str]) -> Result<String> {
    run(command(["dig", "+tries=3", "+time=5"]).args(args))?.ok()
}

fn dig_finds_an_address() -> Result<()> {
    let found = dig(&["+short", CHECKOUT])?;
    ensure!(
        found.starts_with("127.64."),
        "{found:?} is not in us-east-1's range"
    );
    ensure!(found.lines().count() == 1, "{found}");
    Ok(())
}

fn dig_finds_a_port() -> Result<()> {
    let found = dig(&["+short", "SRV", &format!("_http._tcp.{CHECKOUT}")])?;
    ensure!(found.contains(&format!(" 80 {CHECKOUT}.")), "{found:?}");
    Ok(())
}

fn dig_tells_why() -> Result<()> {
    let absent = dig(&["nothing.shop.svc.clusterset.local"])?;
    ensure!(
        absent.contains("status: NXDOMAIN") && absent.contains("SOA"),
        "{absent}"
    );
    let empty = dig(&["AAAA", CHECKOUT])?;
    ensure!(
        empty.contains("status: NOERROR") && empty.contains("ANSWER: 0"),
        "{empty}"
    );
    let tcp = dig(&["+tcp", "+short", CHECKOUT])?;
    ensure!(tcp == dig(&["+short", CHECKOUT])?, "over TCP: {tcp}");
    Ok(())
}

fn glibc_agrees() -> Result<()> {
    let found = run(&mut command(["getent", "ahostsv4", CHECKOUT]))?.ok()?;
    let expected = dig(&["+short", CHECKOUT])?;
    ensure!(
        found.lines().all(|line| line.starts_with(&expected)),
        "{found} is not {expected}"
    );
    Ok(())
}

fn dig_elsewhere() -> Result<()> {
    let found = dig(&["@127.3.0.1", "+short", PAYMENTS])?;
    ensure!(
        found.starts_with("127.66."),
        "{found:?} is not in ap-south-1's range"
    );
    Ok(())
}

fn curl_by_name() -> Result<()> {
    let url = format!("http://{CHECKOUT}/");
    let body = eventually("an answer on the virtual IP", SOON, || {
        run(&mut command([
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "20",
            &url,
        ]))?
        .ok()
    })?;
    ensure!(body.contains(r#""service":"checkout""#), "{body}");
    Ok(())
}

fn curl_crosses(dev: &Dev) -> Result<()> {
    let web = dev.workload("ap-south-1", "shop/web")?;
    for url in ["http://payments.shop/", &format!("http://{PAYMENTS}/")] {
        let body = dev.curl(&web, url)?;
        ensure!(body.contains(r#""service":"payments""#), "{body}");
        // There is none in its own cluster.
        ensure!(!body.contains(r#""region":"ap-south""#), "{body}");
    }
    Ok(())
}

/// Of what ap-south-1, which has none, asks of payments, the nearest cluster serves everything, or as
/// much as an administrator allows.
fn ceiling_holds(dev: &Dev) -> Result<()> {
    const REQUESTS: usize = 60;
    let web = dev.workload("ap-south-1", "shop/web")?;
    let answered = |region: &str| -> Result<usize> {
        let mut curl = command(["curl", "--silent", "--fail-with-body", "--max-time", "20"]);
        curl.args(["--parallel", "--proxy"]);
        curl.arg(format!("http://{}", web.outbound));
        let asked = format!("http://payments.shop/?[1-{REQUESTS}]");
        let bodies = run(curl.arg(asked))?.ok()?;
        let all = bodies.matches(r#""service":"payments""#).count();
        ensure!(all == REQUESTS, "{all} answers: {bodies}");
        let region = format!(r#""region":"{region}""#);
        Ok(bodies.matches(&region).count())
    };
    let others = [("us-east-1", "us-east"), ("eu-west-1", "eu-west")];
    let far = answered(others[0].1)?;
    let (cluster, region) = others[usize::from(far == 0)];
    ensure!(far == 0 || far == REQUESTS, "{far} of us-east");
    let ceiling =
        |percent: Option<u8>| dev.change_cluster(cluster, |spec| spec["maxShare"] = percent.into());
    // Four standard deviations from 12 of 60.
    for (percent, drawn) in [(20, 1..=25), (0, 0..=0)] {
        ceiling(Some(percent))?;
        let explain = ["--cluster", "ap-south-1", "route", "explain", "GET"];
        let explained = format!("at most {percent} %");
        eventually("the ceiling is told", SOON, || {
            let asked = explain.iter().chain(&["http://payments.shop/"]);
            dev.weft(asked)?.exits(0)?.says(&explained)?;
            let there = answered(region)?;
            ensure!(drawn.contains(&there), "at most {percent} %: {there}");
            Ok(())
        })?;
    }
    ceiling(None)?;
    eventually("it is lifted", SOON, || {
        let there = answered(region)?;
        ensure!(there == REQUESTS, "{there}");
        Ok(())
    })
}

fn shop_works(dev: &Dev) -> Result<()> {
    for cluster in ["us-east-1", "eu-west-1", "ap-south-1"] {
        let web = dev.workload(cluster, "shop/web")?;
        let url = format!("http://{}/", web.address);
        let body = run(&mut command([
            "curl",
            "--silent",
            "--fail",
            "--max-time",
            "20",
            &url,
        ]))?
        .ok()?;
        for service in ["web", "checkout", "payments", "catalog"] {
            ensure!(
                body.contains(&format!(r#""service":"{service}""#)),
                "{cluster}: {body}"
            );
        }
    }
    Ok(())
}

/// The service has endpoints elsewhere, so that its loss in one cluster is a warning.
fn fault_is_found(dev: &Dev) -> Result<()> {
    let check = ["check", "--fail-on", "warn"];
    let checked = eventually("weft check finds it", SOON, || dev.weft(check)?.exits(4))?;
    checked
        .says("shop/catalog")?
        .says("ap-south-1")?
        .says("http port 8081: cannot connect")?
        .says("next")?;
    Ok(())
}

fn route_is_explained(dev: &Dev) -> Result<()> {
    let args = [
        "--cluster",
        "ap-south-1",
        "route",
        "explain",
        "GET",
        "http://payments.shop/",
    ];
    let explained = dev.weft(args)?.exits(0)?;
    explained
        .says("us-east-1")?
        .says("eu-west-1")?
        .says("this gateway stands in")?;
    dev.weft(["route", "explain", "GET", "http://nothing.shop/"])?
        .exits(1)?
        .says("WEFT-4001")?;
    Ok(())
}

fn dns_is_explained(dev: &Dev) -> Result<()> {
    dev.weft(["dns", "explain", CHECKOUT])?
        .exits(0)?
        .says(&dig(&["+short", CHECKOUT])?)?;
    Ok(())
}

fn all_report(dev: &Dev) -> Result<()> {
    let gateway = dev.gateway("us-east-1", "gw-2")?.console;
    let sidecar = dev.workload("eu-west-1", "shop/checkout")?.admin;
    for (address, metric) in [
        (gateway, "weft_registry_applied_index"),
        (sidecar, "weft_requests_total"),
    ] {
        for path in ["healthz", "readyz", "metrics"] {
            let url = format!("http://{address}/{path}");
            let body = run(&mut command([
                "curl",
                "--silent",
                "--show-error",
                "--fail",
                &url,
            ]))?
            .ok()?;
            ensure!(
                path != "metrics" || body.contains(metric),
                "{url} has no {metric}"
            );
        }
    }
    Ok(())
}
