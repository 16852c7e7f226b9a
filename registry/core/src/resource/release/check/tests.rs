use super::*;

fn check(spec: &str, expect: Result<(), &str>) {
    let parsed: Result<ReleaseSpec, String> =
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

/// A release of checkout with these waves and other fields.
fn release(waves: &str, more: &str) -> String {
    format!(r#"{{"service":"checkout","stable":"v1","canary":"v2","waves":[{waves}]{more}}}"#)
}

/// A wave for everybody with these steps.
fn steps(steps: &str) -> String {
    release(
        &format!(r#"{{"name":"a","regions":["*"],"steps":[{steps}]}}"#),
        "",
    )
}

const WAVE: &str = r#"{"name":"a","clusters":["eu-west-1"],"steps":[{"setWeight":5}]}"#;

#[test]
fn what_is_enforced_is_taken() {
    check(&release(WAVE, ""), Ok(()));
    check(&release(WAVE, r#","onPartition":"Hold""#), Ok(()));
    check(
        &steps(r#"{"setWeight":0},{"pause":{}},{"setWeight":50},{"pause":{}},{"setWeight":100}"#),
        Ok(()),
    );
    check(
        &release(
            WAVE,
            r#","audience":{"match":[{"headers":[{"name":"x-beta","value":"1"}]}],
                "stickiness":{"by":"Header","name":"x-user-id","missing":"Stable"}}"#,
        ),
        Ok(()),
    );
}

#[test]
fn what_acts_by_itself_is_refused_by_name() {
    for later in ReleaseSpec::NOT_YET {
        let spec = match later {
            "duration" => steps(r#"{"setWeight":5},{"pause":{"duration":"10m"}}"#),
            "bake" => release(&WAVE.replace("\"name\"", r#""bake":"1h","name""#), ""),
            other => release(WAVE, &format!(r#","{other}":{{}}"#)),
        };
        check(&spec, Err(&format!("unknown field `{later}`")));
    }
    check(
        &release(WAVE, r#","onPartition":"Advance""#),
        Err("Advance"),
    );
}

#[test]
fn wrong_values_are_refused_with_what_would_be_right() {
    let cases = [
        (
            release(WAVE, "").replace("v2", "v1"),
            "stable and canary are both v1",
        ),
        (release("", ""), "waves is empty"),
        (
            release(&format!("{WAVE},{WAVE}"), ""),
            "two waves are called a",
        ),
        (
            release(r#"{"name":"a","steps":[{"setWeight":5}]}"#, ""),
            "wave a: names no caller",
        ),
        (
            release(r#"{"name":"a","regions":["*","eu-west"],"steps":[]}"#, ""),
            "stands alone",
        ),
        (steps(""), "has no setWeight"),
        (steps(r#"{"pause":{}}"#), "has no setWeight"),
        (steps(r#"{"setWeight":101}"#), "above 100 percent"),
        (
            steps(r#"{"setWeight":5},{"setWeight":5}"#),
            "setWeight 5 comes after 5",
        ),
        (
            steps(r#"{"setWeight":9},{"setWeight":5}"#),
            "setWeight 5 comes after 9",
        ),
        (steps(r#"{"setHeader":5}"#), "setHeader"),
        (
            release(
                WAVE,
                r#","audience":{"stickiness":{"by":"Header","name":"x y"}}"#,
            ),
            "no name of a header field",
        ),
        (
            release(
                WAVE,
                r#","audience":{"stickiness":{"by":"Cookie","name":"x"}}"#,
            ),
            "Cookie",
        ),
        (
            release(WAVE, r#","audience":{"match":[{"path":{"value":"a"}}]}"#),
            "must begin with '/'",
        ),
    ];
    for (spec, text) in cases {
        check(&spec, Err(text));
    }
}

#[test]
fn a_place_is_in_the_first_wave_that_names_it() {
    let spec = crate::fixture::release("checkout");
    let wave = |cluster: &str, region: &str| {
        let wave = spec.wave_of(&cluster.parse().unwrap(), &region.parse().unwrap());
        wave.map(|wave| wave.name.to_string())
    };
    assert_eq!(wave("eu-west-1", "eu-west").as_deref(), Some("west-europe"));
    assert_eq!(wave("us-east-1", "us-east").as_deref(), Some("world"));
    let stages: Vec<_> = spec
        .stages()
        .map(|(stage, wave, weight)| (stage.0, wave.name.to_string(), weight.value()))
        .collect();
    let expected = [
        (1, "west-europe", 5),
        (2, "west-europe", 50),
        (3, "west-europe", 100),
        (4, "world", 25),
        (5, "world", 100),
    ];
    assert_eq!(
        stages,
        expected.map(|(at, wave, weight)| (at, wave.to_owned(), weight))
    );
}
