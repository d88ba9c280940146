//! A file's values together with the lines they stand on.

use std::{collections::HashMap, fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use super::{KeyPath, Mistake, Mistakes};

/// Largest file that is read, in bytes. Bounds what a wrong path (a log, a disk image) costs.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// Values that any file may have. A longer one may have one for each of its bytes, as JSON has at most: more come of aliases only.
const FEW_NODES: usize = 250_000;

/// A parsed YAML or JSON file.
#[derive(Clone, Debug)]
pub struct Document {
    name: String,
    value: Value,
    /// Line of each key (or list element), by JSON pointer.
    lines: HashMap<String, u64>,
    /// Keys that were set from outside, by JSON pointer, with what set them.
    overridden: HashMap<String, String>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// That it cannot be read, is too large, or is no YAML.
    pub fn open(path: &Path) -> Result<Self, Mistakes> {
        let name = path.display().to_string();
        let fail = |message: String| {
            Mistakes::from(Mistake {
                source: name.clone(),
                line: None,
                key_path: KeyPath::default(),
                message,
                hint: None,
            })
        };
        let bytes = std::fs::metadata(path).map_err(|error| fail(format!("cannot be read: {error}")))?.len();
        if bytes > MAX_BYTES {
            return Err(fail(format!("is {bytes} bytes long; at most {MAX_BYTES} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        Self::parse(&name, &text)
    }

    /// Parses YAML 1.2, of which JSON is a part. An empty text is an empty mapping.
    ///
    /// # Errors
    /// The first place where it is neither.
    pub fn parse(name: &str, text: &str) -> Result<Self, Mistakes> {
        // `off`, `yes` and `no` are words in YAML 1.2; a key that stands twice is an error.
        let nodes = text.len().max(FEW_NODES);
        let options = serde_saphyr::options! {
            strict_booleans: true,
            with_snippet: false,
            budget: serde_saphyr::budget! { max_nodes: nodes, max_events: nodes.saturating_mul(4) },
        };
        let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            Mistakes::from(Mistake {
                source: name.into(),
                line: error.location().map(|at| at.line()),
                key_path: KeyPath::default(),
                message: one_line(&error.to_string()),
                hint: None,
            })
        })?;
        let mut lines = HashMap::new();
        let value = match root.value.into_value("", &mut lines) {
            Value::Null => Value::Object(Map::new()),
            value => value,
        };
        Ok(Self { name: name.into(), value, lines, overridden: HashMap::new() })
    }

    /// The file's name as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its values.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The line of a key, or of the nearest thing around it that the file says.
    pub fn line(&self, at: &KeyPath) -> Option<u64> {
        let mut place = Some(at.clone());
        while let Some(path) = place {
            if let Some(line) = self.lines.get(&path.pointer()) {
                return Some(*line);
            }
            place = path.parent();
        }
        None
    }

    /// A mistake at a place of this document.
    pub fn mistake(&self, at: KeyPath, message: impl Into<String>, hint: Option<String>) -> Mistake {
        match self.overridden.get(&at.pointer()) {
            Some(variable) => {
                Mistake { source: variable.clone(), line: None, key_path: at, message: message.into(), hint }
            }
            None => {
                Mistake { source: self.name.clone(), line: self.line(&at), key_path: at, message: message.into(), hint }
            }
        }
    }

    /// Sets a key from outside; mappings on the way are made. False when something else than a mapping is in the way.
    pub(super) fn set(&mut self, at: &KeyPath, value: Value, by: &str) -> bool {
        let mut here = &mut self.value;
        for key in at.keys() {
            let Value::Object(map) = here else { return false };
            here = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
        }
        *here = value;
        self.overridden.insert(at.pointer(), by.into());
        true
    }
}

/// A value whose parts know their lines.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Node {
    fn into_value(self, at: &str, lines: &mut HashMap<String, u64>) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    let place = format!("{at}/{index}");
                    lines.insert(place.clone(), item.referenced.line());
                    item.value.into_value(&place, lines)
                });
                Value::Array(items.collect())
            }
            Self::Mapping(entries) => {
                let entries = entries.into_iter().map(|(key, item)| {
                    let place = format!("{at}/{}", key.value.replace('~', "~0").replace('/', "~1"));
                    lines.insert(place.clone(), key.referenced.line());
                    let value = item.value.into_value(&place, lines);
                    (key.value, value)
                });
                Value::Object(entries.collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Bool(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Mapping(entries))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
