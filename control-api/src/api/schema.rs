//! Wire types describe themselves once, by `schemars`; here that description becomes the one `utoipa` mounts.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;
use utoipa::openapi::{Object, RefOr, Schema};

/// Makes types with a `JsonSchema` known to `utoipa`, under their own names.
macro_rules! wire {
    ($($type:ty),* $(,)?) => {$(
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::api::schema::of::<$type>()
            }
        }
        impl utoipa::ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                <$type as schemars::JsonSchema>::schema_name()
            }
        }
    )*};
}
pub(crate) use wire;

/// The schema of `T`, without references to others.
pub(crate) fn of<T: JsonSchema>() -> RefOr<Schema> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut value = settings.into_generator().into_root_schema_for::<T>().to_value();
    plain(&mut value);
    // What `utoipa` cannot express is described as "anything" rather than not at all.
    RefOr::T(serde_json::from_value(value).unwrap_or_else(|_| Schema::Object(Object::new())))
}

/// Rewrites what `utoipa` has no words for: `const` to `enum`, a choice of constants to one `enum`, `true` to `{}`.
fn plain(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(map) => {
            map.remove("$schema");
            map.remove("$defs");
            if let Some(constant) = map.remove("const") {
                map.insert("enum".into(), Value::Array(vec![constant]));
            }
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                for property in properties.values_mut().filter(|property| property.is_boolean()) {
                    *property = Value::Object(serde_json::Map::new());
                }
            }
            map.values_mut().for_each(plain);
            if let Some(words) = map.get("oneOf").and_then(words) {
                map.remove("oneOf");
                map.insert("type".into(), "string".into());
                map.insert("enum".into(), words);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The words of a choice in which every branch is a word.
fn words(choice: &Value) -> Option<Value> {
    let branch = |branch: &Value| match branch.get("enum")? {
        Value::Array(words) if branch.get("type")? == "string" => Some(words.clone()),
        _ => None,
    };
    let words: Option<Vec<Vec<Value>>> = choice.as_array()?.iter().map(branch).collect();
    Some(Value::Array(words?.into_iter().flatten().collect()))
}

#[test]
fn a_closed_choice_is_one_enum() {
    let schema = serde_json::to_value(of::<domain::snapshot::KycStatus>()).unwrap();
    assert_eq!(schema["enum"], serde_json::json!(["none", "pending", "partial", "completed", "due_rekyc"]));
}
