use std::num::NonZeroU16;

use proptest::prelude::*;
use weft_model::{ExactMatch, HeaderMatch, PathMatch, QueryParamMatch, spec_from_json};

use super::*;
use crate::{HeaderList, NO_HEADERS, Rng};

const PORT: NonZeroU16 = NonZeroU16::new(80).unwrap();

fn key(text: &str) -> ServiceKey {
    text.parse().unwrap()
}

fn head<'a>(path: &'a str, method: &'a str, headers: &'a HeaderList<'a>) -> RequestHead<'a> {
    RequestHead {
        method,
        authority: "checkout.shop",
        path,
        port_default: PORT,
        headers,
    }
}

fn source(name: &str, created: u64, rules: Vec<RouteRule>) -> RouteSource {
    let parents = r#"{"parentRefs":[{"name":"checkout"}],"rules":[]}"#;
    let mut spec: RouteSpec = spec_from_json(parents.as_bytes()).unwrap();
    spec.rules = rules;
    RouteSource {
        name: key(&format!("shop/{name}")),
        created: Index(created),
        spec: Arc::new(spec),
    }
}

fn table(routes: &[RouteSource]) -> RuleTable {
    RuleTable::compile(&key("shop/checkout"), PORT, routes).unwrap()
}

fn matching(path: Option<(PathMatchType, &str)>, method: Option<&str>) -> RouteMatch {
    RouteMatch {
        path: path.map(|(kind, value)| PathMatch {
            kind,
            value: value.into(),
        }),
        method: method.map(Into::into),
        ..RouteMatch::default()
    }
}

fn rule(matches: Vec<RouteMatch>) -> RouteRule {
    RouteRule {
        matches,
        ..RouteRule::default()
    }
}

#[test]
fn prefixes_are_whole_segments() {
    let prefix = |value: &str| {
        rule(vec![matching(
            Some((PathMatchType::PathPrefix, value)),
            None,
        )])
    };
    let check = |value: &str, path: &str, expect: bool| {
        let table = table(&[source("a", 1, vec![prefix(value)])]);
        let list = HeaderList(&[]);
        let found = table.find(&head(path, "GET", &list)).is_some();
        assert_eq!(found, expect, "{value} {path}");
    };
    for value in ["/abc", "/abc/"] {
        check(value, "/abc", true);
        check(value, "/abc/", true);
        check(value, "/abc/def", true);
        check(value, "/abc/def?x=/", true);
        check(value, "/abcd", false);
        check(value, "/ABC", false);
        check(value, "/%61bc", false);
    }
    check("/", "/", true);
    check("/", "/x/y", true);
    check("/a/b", "/a", false);
}

#[test]
fn a_route_of_another_port_or_service_is_no_rule() {
    let mut of_port = source("a", 1, vec![rule(vec![])]);
    Arc::make_mut(&mut of_port.spec).parent_refs[0].port = NonZeroU16::new(81);
    assert_eq!(
        RuleTable::compile(&key("shop/checkout"), PORT, &[of_port]),
        None
    );
    let other = source("a", 1, vec![rule(vec![])]);
    assert_eq!(RuleTable::compile(&key("shop/cart"), PORT, &[other]), None);
}

#[test]
fn backends_are_drawn_by_weight_and_0_is_none() {
    let backends = |weights: &[u32]| {
        let mut rule = rule(vec![]);
        for (n, weight) in weights.iter().enumerate() {
            let text = format!(r#"{{"name":"b{n}","weight":{weight}}}"#);
            rule.backend_refs
                .push(spec_from_json(text.as_bytes()).unwrap());
        }
        table(&[source("a", 1, vec![rule])])
    };
    let mut rng = Rng::seeded(7);
    let list = HeaderList(&[]);
    let some = backends(&[9, 0, 1]);
    let rule = some.find(&head("/", "GET", &list)).unwrap().rule;
    let mut drawn = BTreeMap::<String, u32>::new();
    for _ in 0..10_000 {
        let name = rule.draw_backend(&mut rng).unwrap().name.to_string();
        *drawn.entry(name).or_default() += 1;
    }
    assert!((8_800..9_200).contains(&drawn["b0"]), "{drawn:?}");
    assert!(!drawn.contains_key("b1"));
    let none = backends(&[0, 0]);
    let rule = none.find(&head("/", "GET", &list)).unwrap().rule;
    assert_eq!(rule.draw_backend(&mut rng), None);
}

/// What the specification says, word by word and without an index.
fn reference<'r>(
    routes: &'r [RouteSource],
    head: &RequestHead<'_>,
) -> Option<(&'r ServiceKey, usize)> {
    let mut best: Option<(Vec<i64>, String, (&ServiceKey, usize))> = None;
    for route in routes {
        for (number, rule) in route.spec.rules.iter().enumerate() {
            let every = [RouteMatch::default()];
            let matches = if rule.matches.is_empty() {
                &every[..]
            } else {
                &rule.matches
            };
            for m in matches.iter().filter(|m| satisfied(m, head)) {
                let prefix = m
                    .path
                    .as_ref()
                    .filter(|p| p.kind == PathMatchType::PathPrefix);
                let exact = m.path.is_some() && prefix.is_none();
                let length = prefix.map_or(0, |p| p.value.trim_end_matches('/').len());
                let rank = vec![
                    i64::from(!exact),
                    -i64::try_from(length).unwrap(),
                    -i64::from(m.method.is_some()),
                    -i64::try_from(m.headers.len()).unwrap(),
                    -i64::try_from(m.query_params.len()).unwrap(),
                    i64::try_from(route.created.0).unwrap(),
                ];
                let name = route.name.to_string();
                let here = (&route.name, number);
                let better = best
                    .as_ref()
                    .is_none_or(|(known, by, (_, at))| (&rank, &name, &number) < (known, by, at));
                if better {
                    best = Some((rank, name, here));
                }
            }
        }
    }
    best.map(|(_, _, found)| found)
}

fn satisfied(m: &RouteMatch, head: &RequestHead<'_>) -> bool {
    let (path, query) = head.path.split_once('?').unwrap_or((head.path, ""));
    let segments = |text: &str| -> Vec<String> {
        let text = text.trim_end_matches('/');
        text.split('/').skip(1).map(Into::into).collect()
    };
    let path_fits = m.path.as_ref().is_none_or(|p| match p.kind {
        PathMatchType::Exact => p.value == path,
        PathMatchType::PathPrefix => segments(path).starts_with(&segments(&p.value)),
    });
    let headers = m.headers.iter().all(|h| {
        head.headers
            .any(&h.name, &mut |value| value == h.value.as_bytes())
    });
    let params = m.query_params.iter().all(|p| {
        let first = query
            .split('&')
            .find(|pair| pair.split('=').next() == Some(&p.name));
        first == Some(&format!("{}={}", p.name, p.value))
    });
    path_fits && m.method.as_ref().is_none_or(|method| method == head.method) && headers && params
}

const PATHS: [&str; 9] = [
    "/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/a/c", "/a/b/",
];
const METHODS: [&str; 2] = ["GET", "POST"];
const NAMES: [&str; 2] = ["x-a", "x-b"];
const VALUES: [&str; 2] = ["1", "2"];

fn of<T: Copy + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(values)
}

fn matches() -> impl Strategy<Value = RouteMatch> {
    let path = (any::<bool>(), of(&PATHS)).prop_map(|(exact, value)| PathMatch {
        kind: if exact {
            PathMatchType::Exact
        } else {
            PathMatchType::PathPrefix
        },
        value: value.into(),
    });
    let pairs = || prop::collection::vec((of(&NAMES), of(&VALUES)), 0..3);
    (
        prop::option::of(path),
        prop::option::of(of(&METHODS)),
        pairs(),
        pairs(),
    )
        .prop_map(|(path, method, headers, params)| RouteMatch {
            path,
            method: method.map(Into::into),
            headers: headers
                .into_iter()
                .map(|(name, value)| HeaderMatch {
                    kind: ExactMatch::Exact,
                    name: name.into(),
                    value: value.into(),
                })
                .collect(),
            query_params: params
                .into_iter()
                .map(|(name, value)| QueryParamMatch {
                    kind: ExactMatch::Exact,
                    name: name.into(),
                    value: value.into(),
                })
                .collect(),
        })
}

fn routes() -> impl Strategy<Value = Vec<RouteSource>> {
    let rules = prop::collection::vec(prop::collection::vec(matches(), 0..4).prop_map(rule), 1..4);
    let ages = prop::collection::vec((0u64..3, rules), 1..5);
    ages.prop_map(|ages| {
        let numbered = ages.into_iter().enumerate();
        numbered
            .map(|(n, (created, rules))| source(&format!("r{n}"), created, rules))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// Ten requests for each of 10,000 tables: the compiled lookup is the specification's, and
    /// the explanation is the lookup.
    #[test]
    fn a_lookup_is_what_the_specification_says(
        routes in routes(),
        requests in prop::collection::vec(
            (of(&PATHS), of(&METHODS), prop::collection::vec((of(&NAMES), of(&VALUES)), 0..3),
                prop::collection::vec((of(&NAMES), of(&VALUES)), 0..3)), 10),
    ) {
        let table = table(&routes);
        for (path, method, headers, params) in &requests {
            let query: Vec<String> = params.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let path = match query.is_empty() {
                true => (*path).to_owned(),
                false => format!("{path}?{}", query.join("&")),
            };
            let list = HeaderList(headers);
            let head = head(&path, method, &list);
            let found = table.find(&head).map(|matched| matched.rule);
            let expected = reference(&routes, &head);
            prop_assert_eq!(found.map(|rule| (&rule.route, rule.number)), expected, "{:?}", head);
            let mut explained = table.explain(&head);
            let explained = explained.find(|(_, _, verdict)| verdict.is_ok());
            prop_assert_eq!(explained.map(|(rule, _, _)| rule), found);
        }
    }

    #[test]
    fn no_path_panics(path in "/[/a?&=%.]{0,12}") {
        let table = table(&[source("a", 1, vec![rule(vec![matching(Some((PathMatchType::PathPrefix, "/a")), None)])])]);
        let head = RequestHead { headers: NO_HEADERS, ..head(&path, "GET", &HeaderList(&[])) };
        let _ = table.find(&head);
    }
}
