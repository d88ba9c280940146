//! The control API's description (OpenAPI) as the command line needs it: of each operation its address, what can be
//! given, and what comes back. It is that of this release, and is read once, when the first verb is looked at.

use std::{collections::BTreeMap, sync::LazyLock};

use reqwest::Method;
use serde_json::{Map, Value};

/// Members that are long: they come from a file, too. What is secret is marked in the description (`format: password`).
const LONG: [&str; 3] = ["chain_pem", "certificate_pem", "ca"];

/// How deep a description is followed in search of secrets.
const DEEPEST: u8 = 8;

/// Flags that every verb may have of its own.
const RESERVED: [&str; 14] = [
    "server",
    "ca",
    "context",
    "as",
    "door",
    "password-file",
    "token-file",
    "output",
    "quiet",
    "limit",
    "body",
    "clear",
    "help",
    "version",
];

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) about: String,
    pub(super) method: Method,
    /// With its parameters in braces.
    pub(super) path: String,
    /// Those parameters, in order.
    pub(super) places: Vec<Place>,
    pub(super) fields: Vec<Field>,
    /// Whether it takes a body.
    pub(super) takes_body: bool,
    /// Whether it makes something: it may be asked again under one key.
    pub(super) makes: bool,
    /// Whether what it changes can be read at the same address, so that a part of it can be replaced.
    pub(super) readable: bool,
    pub(super) answers: Answers,
    /// Names of the members of what it answers, as far as they are described.
    pub(super) members: Vec<String>,
}

/// What an operation answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answers {
    Nothing,
    One,
    /// Pages of a list, or all of it.
    List {
        paged: bool,
    },
    /// A text, such as JSON Lines.
    Text,
}

/// A parameter of a path.
#[derive(Debug)]
pub(super) struct Place {
    /// The argument's id, and its name in the description.
    pub(super) key: String,
    pub(super) name: String,
    /// Its name in help.
    pub(super) shown: String,
}

/// Something that can be given.
#[derive(Debug)]
pub(super) struct Field {
    /// The argument's id.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) flag: String,
    pub(super) about: String,
    pub(super) shape: Shape,
    pub(super) in_query: bool,
    pub(super) in_body: bool,
    pub(super) required: bool,
    /// Whether its value is read from the file that is named.
    pub(super) from_file: bool,
}

/// What a value looks like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Text,
    Words(Vec<String>),
    Integer,
    Boolean,
    /// Texts, one each time that the flag is given.
    Texts,
    /// Anything else, as JSON.
    Json,
}

/// The operation of an id.
pub(super) fn operation(id: &str) -> Option<&'static Operation> {
    static CATALOG: LazyLock<BTreeMap<String, Operation>> = LazyLock::new(read);
    CATALOG.get(id)
}

fn read() -> BTreeMap<String, Operation> {
    let described = serde_json::to_value(control_api::router::openapi()).unwrap_or_default();
    let book = Book(&described);
    let mut found = BTreeMap::new();
    for (path, at) in members(described.get("paths")) {
        for (method, operation) in members(Some(at)) {
            let Ok(method) = method.to_ascii_uppercase().parse::<Method>() else { continue };
            if let Some(operation) = book.operation(path, at, method, operation) {
                found.insert(operation.id.clone(), operation);
            }
        }
    }
    found
}

/// A description, for following its references.
struct Book<'a>(&'a Value);

impl<'a> Book<'a> {
    fn operation(&self, path: &str, at: &'a Value, method: Method, it: &'a Value) -> Option<Operation> {
        let id = it.get("operationId")?.as_str()?.to_owned();
        let (mut places, mut fields, mut paged) = (Vec::new(), Vec::<Field>::new(), false);
        for parameter in it.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            let name = text(parameter, "name");
            match (&*text(parameter, "in"), &*name) {
                ("path", _) => {
                    let shown = if name == "id" { owner(path) } else { name.to_uppercase() };
                    places.push(Place { key: format!("place:{name}"), name, shown });
                }
                ("query", "limit" | "cursor") => paged = true,
                ("query", _) => {
                    let required = parameter.get("required") == Some(&Value::Bool(true));
                    let schema = self.follow(parameter.get("schema")?);
                    let about = parameter.get("description").and_then(Value::as_str).unwrap_or_default();
                    fields.push(self.field(name, about, schema, (true, false), required));
                }
                _ => {}
            }
        }
        let body = it.pointer("/requestBody/content/application~1json/schema").map(|schema| self.follow(schema));
        let needed = body.and_then(|schema| schema.get("required")).and_then(Value::as_array);
        for (name, schema) in members(body.and_then(|schema| schema.get("properties"))) {
            if places.iter().any(|place| place.name == *name) {
                continue;
            }
            let required = needed.is_some_and(|names| names.iter().any(|it| it == name));
            // One flag for what is asked for in both places.
            if let Some(same) = fields.iter_mut().find(|field| field.name == *name) {
                same.in_body = true;
                continue;
            }
            let schema = self.follow(schema);
            let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            fields.push(self.field(name.clone(), about, schema, (false, true), required));
        }
        let (answers, members) = self.answers(it, paged);
        let beside = at.get("get").map(|read| self.answers(read, false).0);
        Some(Operation {
            about: one_line(it.get("summary").and_then(Value::as_str).unwrap_or_default()),
            readable: method == Method::PUT && beside == Some(Answers::One),
            makes: method == Method::POST && it.pointer("/responses/201").is_some(),
            takes_body: body.is_some(),
            path: path.to_owned(),
            id,
            method,
            places,
            fields,
            answers,
            members,
        })
    }

    fn answers(&self, it: &'a Value, paged: bool) -> (Answers, Vec<String>) {
        let response = ["200", "201"].iter().find_map(|status| it.get("responses")?.get(*status));
        let Some((_, content)) = response.and_then(|response| members(response.get("content")).next()) else {
            return (Answers::Nothing, Vec::new());
        };
        let Some(schema) = content.get("schema").map(|schema| self.follow(schema)) else {
            return (Answers::One, Vec::new());
        };
        let properties = |schema: &'a Value| -> Vec<String> {
            members(schema.get("properties")).map(|(name, _)| name.clone()).collect()
        };
        if schema.get("type").is_some_and(|it| it == "string") {
            return (Answers::Text, Vec::new());
        }
        let items =
            schema.pointer("/properties/items/items").filter(|_| schema.pointer("/properties/next_cursor").is_some());
        match items {
            Some(item) => (Answers::List { paged }, properties(self.follow(item))),
            None => (Answers::One, properties(schema)),
        }
    }

    fn field(
        &self,
        name: String,
        about: &str,
        schema: &Value,
        (in_query, in_body): (bool, bool),
        required: bool,
    ) -> Field {
        let shape = shape(schema);
        let from_file = in_body && (LONG.contains(&&*name) || self.is_secret(schema, DEEPEST));
        let mut flag = name.replace('_', "-");
        if from_file {
            flag.push_str("-from");
        } else if RESERVED.contains(&&*flag) {
            flag.insert_str(0, "its-");
        }
        Field {
            key: format!("field:{name}"),
            about: one_line(about),
            name,
            flag,
            shape,
            in_query,
            in_body,
            required,
            from_file,
        }
    }

    /// Whether a value of it is a secret, or holds one. What is described too deep to be looked at counts as one.
    fn is_secret(&self, schema: &Value, deepest: u8) -> bool {
        let schema = self.reference(schema).unwrap_or(schema);
        if schema.get("format").is_some_and(|it| it == "password") {
            return true;
        }
        let parts = ["items", "additionalProperties"].iter().filter_map(|name| schema.get(*name));
        let choices = ["anyOf", "oneOf", "allOf"].iter().filter_map(|name| schema.get(*name)?.as_array()).flatten();
        let mut inner = parts.chain(choices).chain(members(schema.get("properties")).map(|(_, it)| it)).peekable();
        match deepest.checked_sub(1) {
            Some(deepest) => inner.any(|inner| self.is_secret(inner, deepest)),
            None => inner.peek().is_some(),
        }
    }

    fn reference(&self, schema: &Value) -> Option<&'a Value> {
        schema.get("$ref").and_then(Value::as_str).and_then(|it| self.0.pointer(it.strip_prefix('#')?))
    }

    /// What a schema refers to.
    fn follow(&self, schema: &'a Value) -> &'a Value {
        self.reference(schema).unwrap_or(schema)
    }
}

fn shape(schema: &Value) -> Shape {
    let null = |schema: &&Value| schema.get("type").is_some_and(|it| it == "null");
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let mut real = choices.iter().filter(|choice| !null(choice));
        return match (real.next(), real.next()) {
            (Some(only), None) => shape(only),
            _ => Shape::Json,
        };
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Shape::Words(words.iter().filter_map(Value::as_str).map(Into::into).collect());
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().find(|kind| *kind != "null").and_then(Value::as_str),
        kind => kind.and_then(Value::as_str),
    };
    match kind {
        Some("string") => Shape::Text,
        Some("integer") => Shape::Integer,
        Some("boolean") => Shape::Boolean,
        Some("array") => match schema.get("items").map(shape) {
            Some(Shape::Text | Shape::Words(_)) => Shape::Texts,
            _ => Shape::Json,
        },
        _ => Shape::Json,
    }
}

/// What `{id}` is of, by the segment before it: `TENANT` in `/v1/tenants/{id}`.
fn owner(path: &str) -> String {
    let before = path.split("/{id}").next().and_then(|before| before.rsplit('/').next()).unwrap_or("id");
    before.strip_suffix("ies").map_or_else(
        || before.strip_suffix('s').unwrap_or(before).to_uppercase().replace('-', "_"),
        |stem| format!("{}Y", stem.to_uppercase()),
    )
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Its first paragraph on one line.
fn one_line(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_named_after_what_it_is_of() {
        assert_eq!(owner("/v1/tenants/{id}/users/{uid}"), "TENANT");
        assert_eq!(owner("/v1/api-keys/{id}"), "API_KEY");
        assert_eq!(owner("/v1/entities/{id}"), "ENTITY");
    }

    #[test]
    fn an_operation_is_read_as_it_is_described() {
        let create = operation("create_api_key").unwrap();
        assert!(create.makes && create.takes_body && create.places.is_empty());
        let by_name = |name: &str| create.fields.iter().find(|field| field.name == name).unwrap();
        assert_eq!(by_name("scheme").shape, Shape::Words(vec!["bearer".into(), "hmac".into()]));
        assert_eq!(by_name("scopes").shape, Shape::Texts);
        assert_eq!((by_name("owner_id").flag.as_str(), by_name("name").required), ("owner-id", true));
        assert_eq!(by_name("rate_limit").shape, Shape::Json);

        let list = operation("list_tenants").unwrap();
        assert_eq!(list.answers, Answers::List { paged: true });
        assert!(list.members.contains(&"slug".to_owned()));
        assert_eq!(operation("export_audit").unwrap().answers, Answers::Text);
        assert_eq!(operation("delete_tenant").unwrap().answers, Answers::Nothing);
        assert!(operation("replace_role").unwrap().readable);
        assert!(!operation("put_entitlement").unwrap().readable, "what is there is a list");
        assert!(operation("create_user").unwrap().fields.iter().any(|field| field.flag == "password-from"));
    }

    /// By names as well as by marks: a secret that somebody forgot to mark is found here.
    #[test]
    fn no_secret_is_an_argument() {
        const NAMES: [&str; 9] =
            ["password", "secret", "token", "private", "key_pem", "recovery_code", "challenge", "otp", "hash"];
        let described = serde_json::to_value(control_api::router::openapi()).unwrap();
        let book = Book(&described);
        let mut secrets = Vec::new();
        for (path, at) in members(described.get("paths")) {
            for (method, it) in members(Some(at)) {
                let Ok(method) = method.to_ascii_uppercase().parse::<Method>() else { continue };
                let Some(operation) = book.operation(path, at, method, it) else { continue };
                for place in &operation.places {
                    let named = NAMES.iter().any(|name| place.name.contains(name));
                    assert!(!named, "{}: {} is in an address", operation.id, place.name);
                }
                for field in &operation.fields {
                    let is_text = matches!(field.shape, Shape::Text | Shape::Texts | Shape::Json);
                    let named = is_text && NAMES.iter().any(|name| field.name.contains(name));
                    assert!(field.from_file || !named, "{}: --{} is an argument", operation.id, field.flag);
                    assert!(!field.in_query || !field.from_file, "{}: {} is in an address", operation.id, field.name);
                    secrets.extend(field.from_file.then(|| format!("{} {}", operation.id, field.name)));
                }
            }
        }
        for known in
            ["create_user password", "import_users users", "upload_certificate key_pem", "accept_invitation token"]
        {
            assert!(secrets.iter().any(|it| it == known), "{known}: {secrets:?}");
        }
    }

    #[test]
    fn a_secret_is_found_wherever_it_lies() {
        let described = serde_json::json!({"components": {"schemas": {
            "Inner": {"properties": {"key": {"type": ["string", "null"], "format": "password"}}},
            "Round": {"properties": {"next": {"$ref": "#/components/schemas/Round"}}},
        }}});
        let book = Book(&described);
        let is_secret = |text: &str| book.is_secret(&serde_json::from_str(text).unwrap(), DEEPEST);
        assert!(is_secret(r#"{"type": "string", "format": "password"}"#));
        assert!(is_secret(r##"{"type": "array", "items": {"$ref": "#/components/schemas/Inner"}}"##));
        assert!(is_secret(r##"{"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Inner"}]}"##));
        assert!(!is_secret(r#"{"type": "object", "properties": {"a": {"type": "string", "format": "uuid"}}}"#));
        assert!(is_secret(r##"{"$ref": "#/components/schemas/Round"}"##), "nobody has looked at all of it");
    }
}
