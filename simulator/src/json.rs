//! Setting members of JSON values that are objects.

use serde_json::Value;

/// Sets a member of an object; what is none stays as it is.
pub(crate) fn put(value: &mut Value, name: &str, member: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(name.to_owned(), member);
    }
}

/// Sets a member of the object that is a member of an object.
pub(crate) fn put_within(value: &mut Value, outer: &str, name: &str, member: Value) {
    if let Some(inner) = value.get_mut(outer) {
        put(inner, name, member);
    }
}

/// A member; null when there is none.
pub(crate) fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}
