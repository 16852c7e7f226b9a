//! Databases in another region, which have no sidecar, by clients that have none.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use weft_test_support::{
    Cases, Dev, PostgreSql, SOON, command, eventually, isolated, redis, run, use_resolver,
};

/// Rows written in one transaction.
const ROWS: u32 = 10_000;

/// A server in eu-west-1 that its gateway fronts.
const ORDERS: &str = include_str!("../../../cli/samples/orders-db.yaml");

const SESSIONS: &str = include_str!("../../../cli/samples/sessions.yaml");

#[test]
fn databases_are_reached_by_name_across_regions() -> Result<()> {
    isolated("databases_are_reached_by_name_across_regions", || {
        Dev::with(&["--dns-port", "53"], |dev| {
            // Nothing but the federation's DNS, as us-east-1 sees it.
            use_resolver("127.1.0.1")?;
            let mut cases = Cases::default();
            cases.run("psql writes and reads ten thousand rows", || {
                postgresql(dev)
            });
            cases.run("redis-cli writes and reads ten thousand keys", || {
                key_values(dev)
            });
            cases.verdict()
        })
    })
}

fn postgresql(dev: &Dev) -> Result<()> {
    let _server = PostgreSql::start("127.2.9.1")?;
    dev.apply("eu-west-1", ORDERS)?;
    eventually("psql connects by name", SOON, || psql(&["-c", "select 1"]))?;
    let script = dev.scratch().join("orders.sql");
    fs::write(&script, one_transaction()?)?;
    let path = script.display().to_string();
    psql(&["-v", "ON_ERROR_STOP=1", "-q", "-f", &path])?;
    let read = psql(&[
        "-c",
        "select count(*), sum(id), max(length(item)) from orders",
    ])?;
    let sum = u64::from(ROWS) * u64::from(ROWS + 1) / 2;
    ensure!(read == format!("{ROWS}|{sum}|2000"), "{read}");
    Ok(())
}

fn psql(args: &[&str]) -> Result<String> {
    let mut psql = command(["psql", "--no-psqlrc", "--no-align", "--tuples-only"]);
    psql.args([
        "-h",
        "orders-db.shop.svc.clusterset.local",
        "-U",
        "postgres",
    ])
    .args(args);
    run(psql.env("PGCONNECT_TIMEOUT", "10"))?.ok()
}

/// Schema and rows. `\;` makes psql gather statements and send them at once, so that
/// the whole transaction crosses the regions in one flight.
fn one_transaction() -> Result<String> {
    let mut script =
        String::from("begin \\;\ncreate table orders (id int primary key, item text) \\;\n");
    for id in 1..=ROWS {
        // One long value now and then, so that rows straddle packets and buffers.
        let item = "x".repeat(if id % 100 == 0 { 2000 } else { 20 });
        writeln!(script, "insert into orders values ({id}, '{item}') \\;")?;
    }
    script.push_str("commit;\n");
    Ok(script)
}

fn key_values(dev: &Dev) -> Result<()> {
    let _server = redis("127.2.9.2", dev.scratch())?;
    dev.apply("eu-west-1", SESSIONS)?;
    eventually("redis-cli connects by name", SOON, || {
        redis_cli(&["ping"])?.says("PONG")
    })?;
    let input = dev.scratch().join("sets");
    fs::write(
        &input,
        (1..=ROWS)
            .map(|id| format!("set key:{id} value:{id}\r\n"))
            .collect::<String>(),
    )?;
    pipe(&input)?.says("errors: 0")?;
    ensure!(redis_cli(&["dbsize"])?.ok()? == ROWS.to_string());
    ensure!(redis_cli(&["get", "key:9999"])?.ok()? == "value:9999");
    Ok(())
}

const REDIS_CLI: &str = "redis-cli -h sessions.shop.svc.clusterset.local";

fn redis_cli(args: &[&str]) -> Result<weft_test_support::Ran> {
    run(command(REDIS_CLI.split(' ')).args(args))
}

fn pipe(input: &Path) -> Result<weft_test_support::Ran> {
    run(&mut command([
        "sh",
        "-c",
        &format!("{REDIS_CLI} --pipe < \"$0\""),
        &input.display().to_string(),
    ]))
}
