use serde::Serialize;

use super::*;

/// How a test listens.
#[derive(Debug, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// What it is called.
    name: String,
    /// Where it listens.
    listen: Listen,
    /// Who may call.
    peers: Vec<Peer>,
    /// In which life it runs.
    environment: Environment,
}

/// Where it listens.
#[derive(Debug, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Listen {
    /// Port; 0 picks one.
    port: u16,
    /// How long a connection may idle.
    idle: domain::HumanDuration,
    /// Only for tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<SecretRef>,
}

#[derive(Debug, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Peer {
    /// Its name.
    name: String,
    /// Its weight.
    #[schemars(range(min = 1, max = 10))]
    weight: u8,
}

#[derive(Debug, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Environment {
    Dev,
    Prod,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: "test".into(), listen: Listen::default(), peers: Vec::new(), environment: Environment::Dev }
    }
}
impl Default for Listen {
    fn default() -> Self {
        Self { port: 8080, idle: domain::HumanDuration::from_secs(60), tls: None }
    }
}

fn read(text: &str) -> Result<Config, Mistakes> {
    read_with(text, &Overrides::none())
}

fn read_with(text: &str, overrides: &Overrides) -> Result<Config, Mistakes> {
    load::<Config>(Document::parse("test.yaml", text)?, overrides)?.sound()
}

#[test]
fn an_empty_file_is_all_defaults() {
    assert_eq!(read("").unwrap(), Config::default());
    assert_eq!(read("# nothing\n").unwrap(), Config::default());
}

#[test]
fn yaml_and_json_are_read_alike() {
    let yaml = "name: edge\nlisten: { port: 0, idle: 5m }\npeers:\n  - { name: a, weight: 3 }\n";
    let json = r#"{"name": "edge", "listen": {"port": 0, "idle": "5m"}, "peers": [{"name": "a", "weight": 3}]}"#;
    assert_eq!(read(yaml).unwrap(), read(json).unwrap());
}

#[test]
fn all_mistakes_are_named_at_once_with_their_lines() {
    let text = "\
name: 5
listn: {}
listen:
  port: high
  idle: 5
peers:
  - name: a
    weight: 11
  - wieght: 1
environment: stage
";
    let said = read(text).unwrap_err().to_string();
    assert_eq!(
        said,
        "\
test.yaml:1: name: `5` is not a string
test.yaml:2: listn: unknown key; did you mean `listen`?
test.yaml:4: listen.port: `high` is not a whole number
test.yaml:5: listen.idle: `5` is not a string
test.yaml:8: peers[0].weight: `11` is more than 10
test.yaml:9: peers[1]: `name` is missing
test.yaml:9: peers[1]: `weight` is missing
test.yaml:9: peers[1].wieght: unknown key; did you mean `weight`?
test.yaml:10: environment: `stage` is none of `dev`, `prod`"
    );
}

#[test]
fn a_syntax_error_and_a_key_that_stands_twice_are_named_by_line() {
    for (text, line) in [("name: a\n  b: [\n", 2), ("name: a\nname: b\n", 2)] {
        let mistakes = read(text).unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert_eq!(mistakes.iter().next().unwrap().line, Some(line), "{mistakes}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_a_prefixed_name_over_an_alias() {
    let set = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Overrides::new(pairs, &[("TEST_NAME", "/name")])
    };
    let text = "name: file\nlisten: { port: 1 }\n";
    let config = read_with(text, &set(&[("PORTCULLIS_LISTEN__PORT", "9"), ("TEST_NAME", "5"), ("PATH", "x")])).unwrap();
    assert_eq!((config.listen.port, config.name.as_str()), (9, "5"));
    let both = set(&[("PORTCULLIS_NAME", "prefixed"), ("TEST_NAME", "alias")]);
    assert_eq!(read_with(text, &both).unwrap().name, "prefixed");
    assert_eq!(read_with("name: 1", &both).unwrap().name, "prefixed");
    let wrong = set(&[("PORTCULLIS_LISTEN__PORT", "high"), ("PORTCULLIS_LISTEN__PROT", "1")]);
    assert_eq!(
        read_with(text, &wrong).unwrap_err().to_string(),
        "environment variable PORTCULLIS_LISTEN__PORT: listen.port: `high` is not a whole number\n\
         environment variable PORTCULLIS_LISTEN__PROT: listen.prot: there is no such key"
    );
}

#[test]
fn what_serde_alone_refuses_has_its_line_too() {
    let said = read("listen:\n  idle: 99999999999999999999d\n").unwrap_err().to_string();
    assert!(said.starts_with("test.yaml:2: listen.idle: `99999999999999999999d` is not a duration"), "{said}");
}

#[test]
fn a_long_file_may_say_as_much_as_stands_in_it_and_aliases_may_not() {
    let long = format!("many: [{}]\n", vec!["1"; 260_000].join(","));
    assert_eq!(Document::parse("test.yaml", &long).unwrap().value()["many"].as_array().unwrap().len(), 260_000);

    // Each line says the one before it ten times: a billion values in two hundred bytes.
    let mut bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for n in 1..9 {
        let before = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{before}]\n"));
    }
    let said = Document::parse("test.yaml", &bomb).unwrap_err().to_string();
    assert!(said.starts_with("test.yaml:") && said.contains("budget"), "{said}");
}

#[test]
fn checks_of_the_caller_collect() {
    let loaded = load::<Config>(Document::parse("test.yaml", "\nlisten:\n  port: 80\n").unwrap(), &Overrides::none());
    let error = loaded
        .unwrap()
        .checked(|config, checks| {
            if config.listen.port == 80 {
                checks.refuse("/listen/port", "80 is taken");
            }
            if config.peers.is_empty() {
                checks.refuse("/peers", "nobody may call");
            }
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "test.yaml: peers: nobody may call\ntest.yaml:3: listen.port: 80 is taken");
}

#[test]
fn mistakes_of_form_do_not_hide_those_of_meaning() {
    let text = "listen:\n  port: 80\n  idle: 5\npeers:\n  - wieght: 1\n  - { name: b, weight: 2 }\nnam: x\n";
    let loaded = load::<Config>(Document::parse("test.yaml", text).unwrap(), &Overrides::none()).unwrap();
    let error = loaded.checked(|config, checks| {
        checks.refuse("/listen/port", format!("{} is taken", config.listen.port));
        checks.refuse("/peers/0/name", format!("`{}` may not call", config.peers[0].name));
        for follows in ["/listen/idle", "/listen", "/name", ""] {
            checks.refuse(follows, "follows from what was named");
        }
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "\
test.yaml:2: listen.port: 80 is taken
test.yaml:3: listen.idle: `5` is not a string
test.yaml:5: peers[0]: `name` is missing
test.yaml:5: peers[0]: `weight` is missing
test.yaml:5: peers[0].wieght: unknown key; did you mean `weight`?
test.yaml:6: peers[1].name: `b` may not call
test.yaml:7: nam: unknown key; did you mean `name`?"
    );
}

#[test]
fn words_that_other_yaml_versions_take_for_booleans_are_words() {
    assert_eq!(read("name: off\n").unwrap().name, "off");
    assert_eq!(read("name: no\n").unwrap().name, "no");
}

#[test]
fn the_reference_lists_every_key_with_type_default_and_meaning() {
    assert_same(
        &reference_markdown::<Config>("Test"),
        "\
# Test

<!-- Generated from the doc comments. Run `make bless` after a change. -->

How a test listens.

| Key | Type | Default | Meaning |
|---|---|---|---|
| `environment` | `dev` or `prod` | `dev` | In which life it runs. |
| `name` | string | `test` | What it is called. |
| `peers` | list of mapping with `name`, `weight` | `[]` | Who may call. |

## `listen`

Where it listens.

| Key | Type | Default | Meaning |
|---|---|---|---|
| `listen.idle` | string | `1m` | How long a connection may idle. |
| `listen.port` | integer | `8080` | Port; 0 picks one. |
| `listen.tls` | such as `file:master.key`, `env:MASTER_KEY` | none | Only for tests. |
",
    );
}

/// Equal texts, shown whole when they are not.
fn assert_same(found: &str, expected: &str) {
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}");
}
